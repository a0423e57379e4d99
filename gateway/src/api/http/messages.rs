//! `POST /v1/messages` and `POST /v1/broadcasts`.

use axum::Json;
use axum::extract::{Request, State};

use super::super::calls::{ApiContext, recipients};
use super::super::fault::Fault;
use super::answer::{BroadcastAnswer, SendAnswer};
use super::body::{self, BroadcastBody, SendBody};
use super::error::{BodyRefused, ErrorBody, Refused};
use crate::telemetry::{ApiKind, ApiMethod};

/// Sends a message to every session of the given users, on whatever node they are.
///
/// A user without a session gets nothing and is reported with zeros.
#[utoipa::path(
    post, path = "/v1/messages", operation_id = "send", tag = "messages",
    request_body = SendBody,
    responses(
        (status = 200, description = "Handed to the sessions and nodes named", body = SendAnswer),
        Refused, BodyRefused,
        (status = 503, description = "Other nodes were not reached, or not in time", body = ErrorBody),
    )
)]
pub(super) async fn send(
    State(api): State<ApiContext>,
    request: Request,
) -> Result<Json<SendAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let mut body: SendBody = body::json(request, api.max_body.bytes()).await?;
        let to = recipients(&std::mem::take(&mut body.to.0))?;
        let outcome = api.service.send(to, body.into_message()?).await?;
        Ok(Json(outcome.into()))
    };
    api.run(ApiKind::Http, ApiMethod::Send, work).await
}

/// Sends a message to every session of the cluster.
#[utoipa::path(
    post, path = "/v1/broadcasts", operation_id = "broadcast", tag = "messages",
    request_body = BroadcastBody,
    responses(
        (status = 200, description = "Handed to the sessions and nodes named", body = BroadcastAnswer),
        Refused, BodyRefused,
        (status = 503, description = "Other nodes were not reached, or not in time", body = ErrorBody),
    )
)]
pub(super) async fn broadcast(
    State(api): State<ApiContext>,
    request: Request,
) -> Result<Json<BroadcastAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let body: BroadcastBody = body::json(request, api.max_body.bytes()).await?;
        let outcome = api.service.broadcast(body.into_message()?).await?;
        Ok(Json(outcome.into()))
    };
    api.run(ApiKind::Http, ApiMethod::Broadcast, work).await
}
