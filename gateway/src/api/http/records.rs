//! What became of what a sender has sent, over all logs.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::calls::{ApiContext, sent_query, user};
use super::super::fault::Fault;
use super::body::{self, RecordsQuery};
use super::error::Refused;
use super::logs::RecordAnswer;
use crate::log::{SentPage, SentRecord};
use crate::protocol::Position;
use crate::telemetry::{ApiKind, ApiMethod};

/// A page of records.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordsAnswer {
    /// In the order in which the messages were sent; may be fewer than asked for, even if there is more.
    records: Vec<SentAnswer>,
    /// Give this as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A message and what became of it.
#[derive(Serialize, ToSchema)]
struct SentAnswer {
    /// Whom it was sent to, as its log: `inbox:USER`, `group:GROUP`, `ticket:TICKET` or `broadcast`.
    log: String,
    /// Its id.
    id: String,
    /// Where it stands in that log, `EPOCH.OFFSET`.
    #[schema(value_type = String)]
    pos: Position,
    /// What became of it.
    record: RecordAnswer,
}

impl From<SentRecord> for SentAnswer {
    fn from(SentRecord { log, id, record }: SentRecord) -> Self {
        Self {
            log: log.to_string(),
            id,
            pos: record.position,
            record: record.into(),
        }
    }
}

impl From<SentPage> for RecordsAnswer {
    fn from(SentPage { records, next }: SentPage) -> Self {
        Self {
            records: records.into_iter().map(SentAnswer::from).collect(),
            next_cursor: next.map(|next| next.to_string()),
        }
    }
}

/// Lists what became of the messages of one sender, for as long as `wsc.record.ttl` says.
#[utoipa::path(
    get, path = "/v1/records", operation_id = "listRecords", tag = "logs",
    params(RecordsQuery),
    responses(
        (status = 200, description = "A page of records", body = RecordsAnswer),
        Refused,
    )
)]
pub(super) async fn list(
    State(api): State<ApiContext>,
    parts: Parts,
) -> Result<Json<RecordsAnswer>, Fault> {
    let work = async {
        api.authenticate(&parts.headers)?;
        let params: RecordsQuery = body::query(&parts.uri)?;
        let sender = user("sender", &params.sender)?;
        let query = sent_query(params.limit, params.since, params.cursor.as_deref())?;
        Ok(Json(api.service.sent(&sender, query).await?.into()))
    };
    api.run(ApiKind::Http, ApiMethod::ListRecords, work).await
}
