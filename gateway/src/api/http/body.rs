//! What callers send: bodies and queries, strict about what they do not know.
//!
//! A misspelt field would otherwise be a message without content. `content` and `data` are kept as the text they came in.

use std::fmt;

use axum::body::Body;
use axum::extract::{Path, Query, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::{Json, RequestExt};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::super::calls::object;
use super::super::fault::{Fault, FaultCode};
use super::super::service::ApiMessage;
use crate::protocol::Priority;

/// A message to users.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendBody {
    /// The recipients: a user id, or up to 1000 of them. A user named twice gets the message once.
    #[schema(value_type = RecipientsSchema)]
    pub(super) to: Recipients,
    /// The message's type, as its recipients see it; `text` if not given.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The sender's own id for the message; the gateway makes one if not given.
    id: Option<String>,
    /// Any JSON.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    content: Option<Box<RawValue>>,
    /// An object of the application's own.
    #[schema(value_type = Option<Object>)]
    data: Option<Box<RawValue>>,
    /// `normal` if not given.
    #[schema(value_type = Option<PrioritySchema>)]
    priority: Option<Priority>,
    /// The id of the message this one answers.
    reply_to: Option<String>,
    /// Who the message is said to come from; `system` if not given.
    from: Option<String>,
    /// Whether the message is stored. If not given: to users and groups it is, unless its type is transient; to everyone it
    /// is not.
    durable: Option<bool>,
    /// Whether its recipients are to acknowledge it. Only to users, and stored.
    require_ack: Option<bool>,
}

/// A message to everyone, or to a group.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BroadcastBody {
    /// The message's type, as its recipients see it; `text` if not given.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The sender's own id for the message; the gateway makes one if not given.
    id: Option<String>,
    /// Any JSON.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    content: Option<Box<RawValue>>,
    /// An object of the application's own.
    #[schema(value_type = Option<Object>)]
    data: Option<Box<RawValue>>,
    /// `normal` if not given.
    #[schema(value_type = Option<PrioritySchema>)]
    priority: Option<Priority>,
    /// The id of the message this one answers.
    reply_to: Option<String>,
    /// Who the message is said to come from; `system` if not given.
    from: Option<String>,
    /// Whether the message is stored. If not given: to users and groups it is, unless its type is transient; to everyone it
    /// is not.
    durable: Option<bool>,
    /// Whether its recipients are to acknowledge it. Only to users, and stored.
    require_ack: Option<bool>,
}

/// One recipient or several.
#[derive(ToSchema)]
#[schema(title = "Recipients")]
#[allow(dead_code)] // Only its schema is used.
#[serde(untagged)]
pub(super) enum RecipientsSchema {
    /// A user id, 1 to 128 bytes.
    One(String),
    /// User ids.
    Several(Vec<String>),
}

/// How urgent a message is.
#[derive(ToSchema)]
#[schema(title = "Priority", rename_all = "lowercase")]
#[allow(dead_code)] // Only its schema is used.
pub(super) enum PrioritySchema {
    /// After everything else.
    Low,
    /// As it comes.
    Normal,
    /// Before normal ones.
    High,
    /// Before everything else.
    Critical,
}

impl SendBody {
    pub(super) fn into_message(self) -> Result<ApiMessage, Fault> {
        Ok(ApiMessage {
            kind: self.kind.unwrap_or_default(),
            id: self.id,
            content: self.content,
            data: object("data", self.data)?,
            priority: self.priority.unwrap_or_default(),
            reply_to: self.reply_to,
            from: self.from,
            durable: self.durable,
            require_ack: self.require_ack.unwrap_or_default(),
        })
    }
}

impl BroadcastBody {
    pub(super) fn into_message(self) -> Result<ApiMessage, Fault> {
        Ok(ApiMessage {
            kind: self.kind.unwrap_or_default(),
            id: self.id,
            content: self.content,
            data: object("data", self.data)?,
            priority: self.priority.unwrap_or_default(),
            reply_to: self.reply_to,
            from: self.from,
            durable: self.durable,
            require_ack: self.require_ack.unwrap_or_default(),
        })
    }
}

/// The texts of `to`, unchecked.
pub(super) struct Recipients(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Recipients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RecipientsVisitor)
    }
}

struct RecipientsVisitor;

impl<'de> Visitor<'de> for RecipientsVisitor {
    type Value = Recipients;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("`to` to be a user id or a list of user ids")
    }

    fn visit_str<E: de::Error>(self, user: &str) -> Result<Recipients, E> {
        Ok(Recipients(vec![user.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut users: A) -> Result<Recipients, A::Error> {
        let mut all = Vec::new();
        while let Some(user) = users.next_element()? {
            all.push(user);
        }
        Ok(Recipients(all))
    }
}

/// `null` is content too; only an absent field is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// At most so many users, 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// The `next_cursor` of the page before; none for the first page.
    pub(super) cursor: Option<String>,
}

/// Which piece of a log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogParams {
    /// At most so many messages, 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// The place after which to begin, `EPOCH.OFFSET`; if not given, the oldest that is kept.
    pub(super) after: Option<String>,
    /// The time from which to begin, Unix milliseconds. Not together with `after`.
    pub(super) since: Option<u64>,
}

/// Whose messages, and which piece of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordsQuery {
    /// Who sent them: a user id, or what a backend called itself; `system` where it named nobody.
    pub(super) sender: String,
    /// The time from which to begin, Unix milliseconds; if not given, the oldest that is kept.
    #[serde(default)]
    pub(super) since: u64,
    /// At most so many records, 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// The `next_cursor` of the page before; none for the first page.
    pub(super) cursor: Option<String>,
}

/// Why sessions are ended.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KickQuery {
    /// Told to the client; at most 123 bytes are kept.
    pub(super) reason: Option<String>,
}

/// Reads a query.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Fault> {
    let Query(query) = Query::try_from_uri(uri).map_err(|error| named(&error.body_text()))?;
    Ok(query)
}

/// The one parameter of a path.
pub(super) async fn parameter(request: &mut Request) -> Result<String, Fault> {
    let parameter = request.extract_parts::<Path<String>>().await;
    let Path(text) =
        parameter.map_err(|error| Fault::new(FaultCode::BadRequest, error.body_text()))?;
    Ok(text)
}

/// The two parameters of a path, in order.
pub(super) async fn two_parameters(request: &mut Request) -> Result<(String, String), Fault> {
    let parameters = request.extract_parts::<Path<(String, String)>>().await;
    let Path(texts) =
        parameters.map_err(|error| Fault::new(FaultCode::BadRequest, error.body_text()))?;
    Ok(texts)
}

/// Reads a JSON body of at most `limit` bytes.
pub(super) async fn json<T: DeserializeOwned>(request: Request, limit: usize) -> Result<T, Fault> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let message = "send the body as `Content-Type: application/json`";
        return Err(Fault::new(FaultCode::UnsupportedMediaType, message));
    }
    let bytes = bounded(&parts.headers, body, limit).await?;
    let Json(body) = Json::from_bytes(&bytes).map_err(|error| named(&error.body_text()))?;
    Ok(body)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

async fn bounded(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Fault> {
    let too_large = || {
        Fault::new(
            FaultCode::TooLarge,
            format!("the body is larger than {limit} bytes"),
        )
    };
    let said = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if said
        .and_then(|said| said.parse().ok())
        .is_some_and(|said: usize| said > limit)
    {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Fault::new(FaultCode::BadRequest, "the body ended early")),
    }
}

/// An axum rejection, `Failed to deserialize WHAT: PATH: PROBLEM`, with its path as the field.
fn named(text: &str) -> Fault {
    let detail = text.split_once(": ").map_or(text, |(_, detail)| detail);
    let path = detail.split_once(": ").map(|(path, _)| path);
    Fault {
        code: FaultCode::BadRequest,
        message: detail.to_owned(),
        field: path.filter(|path| !path.contains(' ')).map(str::to_owned),
        retry_after: None,
    }
}
