//! Who is online, their sessions, ending them, and counts.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;

use super::super::calls::{ApiContext, page, reason, user};
use super::super::fault::Fault;
use super::super::service::KickTarget;
use super::answer::{KickAnswer, OnlineAnswer, SessionsAnswer, StatsAnswer};
use super::body::{self, KickQuery, PageQuery};
use super::error::{ErrorBody, Refused};
use crate::protocol::SessionId;
use crate::telemetry::{ApiKind, ApiMethod};

/// Lists the users that have at least one session in the cluster, ordered by id.
#[utoipa::path(
    get, path = "/v1/users/online", operation_id = "listOnline", tag = "sessions",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of users", body = OnlineAnswer),
        Refused,
    )
)]
pub(super) async fn online(
    State(api): State<ApiContext>,
    parts: Parts,
) -> Result<Json<OnlineAnswer>, Fault> {
    let work = async {
        api.authenticate(&parts.headers)?;
        let PageQuery { limit, cursor } = body::query(&parts.uri)?;
        let users = api.service.online(cursor, page(limit)?).await?;
        Ok(Json(users.into()))
    };
    api.run(ApiKind::Http, ApiMethod::ListOnline, work).await
}

/// Lists the sessions of one user, on whatever node they are, oldest first.
#[utoipa::path(
    get, path = "/v1/users/{user}/sessions", operation_id = "listSessions", tag = "sessions",
    params(("user" = String, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The sessions; none: the user is offline", body = SessionsAnswer),
        Refused,
    )
)]
pub(super) async fn list(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<SessionsAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let user = user("user", &body::parameter(&mut request).await?)?;
        let sessions = api.service.sessions(&user).await?;
        Ok(Json(sessions.into()))
    };
    api.run(ApiKind::Http, ApiMethod::ListSessions, work).await
}

/// Ends all sessions of a user; each client is told why before its close frame.
#[utoipa::path(
    delete, path = "/v1/users/{user}/sessions", operation_id = "kickUser", tag = "sessions",
    params(("user" = String, Path, description = "The user's id"), KickQuery),
    responses(
        (status = 200, description = "Sessions ended, and nodes told", body = KickAnswer),
        Refused,
        (status = 503, description = "Other nodes were not reached", body = ErrorBody),
    )
)]
pub(super) async fn kick_user(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<KickAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let query: KickQuery = body::query(request.uri())?;
        let target = KickTarget::User(user("user", &body::parameter(&mut request).await?)?);
        let outcome = api
            .service
            .kick(target, reason(query.reason.as_deref()))
            .await?;
        Ok(Json(outcome.into()))
    };
    api.run(ApiKind::Http, ApiMethod::Kick, work).await
}

/// Ends one session, wherever it is; its client is told why before the close frame.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", operation_id = "kickSession", tag = "sessions",
    params(("id" = String, Path, description = "The session's id"), KickQuery),
    responses(
        (status = 200, description = "Sessions ended, and nodes told", body = KickAnswer),
        Refused,
        (status = 503, description = "Other nodes were not reached", body = ErrorBody),
    )
)]
pub(super) async fn kick_session(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<KickAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let query: KickQuery = body::query(request.uri())?;
        let id = SessionId::parse(&body::parameter(&mut request).await?);
        let id = id.ok_or_else(|| Fault::field("id", "is not a session id"))?;
        let target = KickTarget::Session(id);
        let outcome = api
            .service
            .kick(target, reason(query.reason.as_deref()))
            .await?;
        Ok(Json(outcome.into()))
    };
    api.run(ApiKind::Http, ApiMethod::Kick, work).await
}

/// Counts of the node that answers, and the nodes it sees.
#[utoipa::path(
    get, path = "/v1/stats", operation_id = "getStats", tag = "statistics",
    responses(
        (status = 200, description = "The counts", body = StatsAnswer),
        Refused,
    )
)]
pub(super) async fn stats(
    State(api): State<ApiContext>,
    parts: Parts,
) -> Result<Json<StatsAnswer>, Fault> {
    let work = async {
        api.authenticate(&parts.headers)?;
        Ok(Json(api.service.stats().await.into()))
    };
    api.run(ApiKind::Http, ApiMethod::Stats, work).await
}
