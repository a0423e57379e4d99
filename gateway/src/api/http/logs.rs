//! Reading durable logs: what was sent to a user, a group, a ticket or everyone, and what became of it.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::calls::{ApiContext, log_query};
use super::super::fault::Fault;
use super::super::service::{LogPage, LoggedMessage};
use super::body::{self, LogParams};
use super::error::Refused;
use crate::log::Record;
use crate::protocol::{LogId, Position};
use crate::telemetry::{ApiKind, ApiMethod};

/// A piece of a log.
#[derive(Serialize, ToSchema)]
pub(super) struct LogAnswer {
    /// In order.
    messages: Vec<LoggedAnswer>,
    /// Where the next piece begins: give it as `after`.
    #[schema(value_type = String)]
    next: Position,
    /// Whether there is more.
    more: bool,
    /// `trimmed` or `lost`, when messages since `after` are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<&'static str>,
}

/// A stored message.
#[derive(Serialize, ToSchema)]
struct LoggedAnswer {
    /// Where it stands, `EPOCH.OFFSET`.
    #[schema(value_type = String)]
    pos: Position,
    /// Its id.
    id: String,
    /// When it was stored, Unix time in milliseconds.
    at: u64,
    /// The message as its recipients see it.
    #[schema(value_type = Object)]
    message: Option<Box<RawValue>>,
    /// What became of it; absent when records are off or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordAnswer>,
}

/// The changes of a message's status, each in Unix milliseconds.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordAnswer {
    /// Who sent it.
    sender: String,
    /// When it was accepted.
    accepted_at: u64,
    /// When its recipient acknowledged that it had arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<u64>,
    /// When its recipient acknowledged that it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_at: Option<u64>,
    /// When its sender was told that nobody had acknowledged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_at: Option<u64>,
}

impl From<LogPage> for LogAnswer {
    fn from(page: LogPage) -> Self {
        Self {
            messages: page.messages.into_iter().map(LoggedAnswer::from).collect(),
            next: page.next,
            more: page.more,
            gap: page.gap.map(crate::log::Gap::as_str),
        }
    }
}

impl From<LoggedMessage> for LoggedAnswer {
    fn from(logged: LoggedMessage) -> Self {
        Self {
            pos: logged.position,
            id: logged.id,
            at: logged.at,
            message: RawValue::from_string(logged.json).ok(),
            record: logged.record.map(RecordAnswer::from),
        }
    }
}

impl From<Record> for RecordAnswer {
    fn from(record: Record) -> Self {
        Self {
            sender: record.sender,
            accepted_at: record.accepted_at,
            delivered_at: record.delivered_at,
            read_at: record.read_at,
            expired_at: record.expired_at,
        }
    }
}

/// Reads what was sent to a user, from a place or a time on, with what became of each message.
#[utoipa::path(
    get, path = "/v1/users/{user}/log", operation_id = "readInbox", tag = "logs",
    params(("user" = String, Path, description = "The user's id"), LogParams),
    responses(
        (status = 200, description = "A piece of the log", body = LogAnswer),
        Refused,
    )
)]
pub(super) async fn inbox(
    State(api): State<ApiContext>,
    request: Request,
) -> Result<Json<LogAnswer>, Fault> {
    read(api, request, "inbox", "user").await
}

/// Reads what was sent to a group, from a place or a time on.
#[utoipa::path(
    get, path = "/v1/groups/{group}/log", operation_id = "readGroup", tag = "logs",
    params(("group" = String, Path, description = "The group's id"), LogParams),
    responses(
        (status = 200, description = "A piece of the log", body = LogAnswer),
        Refused,
    )
)]
pub(super) async fn group(
    State(api): State<ApiContext>,
    request: Request,
) -> Result<Json<LogAnswer>, Fault> {
    read(api, request, "group", "group").await
}

/// Reads what was said in a ticket, from a place or a time on.
#[utoipa::path(
    get, path = "/v1/tickets/{ticket}/log", operation_id = "readTicket", tag = "logs",
    params(("ticket" = String, Path, description = "The ticket's id"), LogParams),
    responses(
        (status = 200, description = "A piece of the log", body = LogAnswer),
        Refused,
    )
)]
pub(super) async fn ticket(
    State(api): State<ApiContext>,
    request: Request,
) -> Result<Json<LogAnswer>, Fault> {
    read(api, request, "ticket", "ticket").await
}

/// Reads the broadcasts that were stored, from a place or a time on.
#[utoipa::path(
    get, path = "/v1/broadcasts/log", operation_id = "readBroadcasts", tag = "logs",
    params(LogParams),
    responses(
        (status = 200, description = "A piece of the log", body = LogAnswer),
        Refused,
    )
)]
pub(super) async fn broadcasts(
    State(api): State<ApiContext>,
    parts: Parts,
) -> Result<Json<LogAnswer>, Fault> {
    let work = async {
        api.authenticate(&parts.headers)?;
        let params: LogParams = body::query(&parts.uri)?;
        let query = log_query(params.limit, params.after.as_deref(), params.since)?;
        let page = api.service.log(&LogId::Broadcast, query).await?;
        Ok(Json(page.into()))
    };
    api.run(ApiKind::Http, ApiMethod::ReadLog, work).await
}

async fn read(
    api: ApiContext,
    mut request: Request,
    kind: &str,
    field: &str,
) -> Result<Json<LogAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let params: LogParams = body::query(request.uri())?;
        let query = log_query(params.limit, params.after.as_deref(), params.since)?;
        let name = body::parameter(&mut request).await?;
        let log = format!("{kind}:{name}").parse::<LogId>();
        let log = log.map_err(|error| Fault::field(field, error.to_string()))?;
        Ok(Json(api.service.log(&log, query).await?.into()))
    };
    api.run(ApiKind::Http, ApiMethod::ReadLog, work).await
}
