//! `POST /v1/revocations`.

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::calls::{ApiContext, revoke_target};
use super::super::fault::Fault;
use super::super::service::RevokeOutcome;
use super::body;
use super::error::{BodyRefused, ErrorBody, Refused};
use crate::telemetry::{ApiKind, ApiMethod};

/// Which tokens are over: one, by its id, or all of a user that were issued by a time.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeBody {
    /// The token's id, its claim `jti`.
    token_id: Option<String>,
    /// The user.
    user_id: Option<String>,
    /// Tokens of the user that were issued (`iat`) then or before, Unix seconds; now if not given. A token that does not
    /// say when it was issued is among them.
    before: Option<u64>,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct RevokeAnswer {
    /// Tokens of the user that were issued then or before are over, Unix seconds; absent for one token.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    /// How long this is remembered, Unix seconds: none of the tokens is good for longer.
    until: u64,
}

/// Takes tokens back: their sessions are closed with 4012 on every node, and nobody comes in with them.
#[utoipa::path(
    post, path = "/v1/revocations", operation_id = "revoke", tag = "sessions",
    request_body = RevokeBody,
    responses(
        (status = 200, description = "The tokens are over", body = RevokeAnswer),
        Refused, BodyRefused,
        (status = 503, description = "It could not be stored; nothing was revoked", body = ErrorBody),
    )
)]
pub(super) async fn revoke(
    State(api): State<ApiContext>,
    request: Request,
) -> Result<Json<RevokeAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let body: RevokeBody = body::json(request, api.max_body.bytes()).await?;
        let (token, user) = (body.token_id.as_deref(), body.user_id.as_deref());
        let target = revoke_target(token, user, body.before)?;
        let RevokeOutcome { before, until } = api.service.revoke(target).await?;
        Ok(Json(RevokeAnswer { before, until }))
    };
    api.run(ApiKind::Http, ApiMethod::Revoke, work).await
}
