//! The calls a backend can make, free of any wire form.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;

use crate::cluster::{ClusterError, NodeInfo, SessionRecord};
use crate::log::{Gap, Record, SentPage, SentQuery};
use crate::protocol::{ErrorCode, LogId, Position, Priority, SessionId, UserId};

/// Who a message, or what is done, is said to come from when the caller names nobody.
pub(crate) const SYSTEM: &str = "system";

/// A message from a backend. Empty `kind` means `text`; no `id`: the gateway makes one; no `from`: `system`.
#[derive(Clone, Debug, Default)]
pub struct ApiMessage {
    /// The message's type.
    pub kind: String,
    /// The sender's own id.
    pub id: Option<String>,
    /// Any JSON.
    pub content: Option<Box<RawValue>>,
    /// A JSON object.
    pub data: Option<Box<RawValue>>,
    /// How urgent.
    pub priority: Priority,
    /// The id of the message this one answers.
    pub reply_to: Option<String>,
    /// Who it is said to come from.
    pub from: Option<String>,
    /// Whether it is stored; `None`: as messages of its type and target usually are.
    pub durable: Option<bool>,
    /// Whether its recipients are to acknowledge it.
    pub require_ack: bool,
}

impl ApiMessage {
    /// A message whose content is this text.
    pub fn text(kind: &str, from: &str, content: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            from: Some(from.to_owned()),
            // A text is always JSON.
            content: serde_json::value::to_raw_value(content).ok(),
            ..Self::default()
        }
    }
}

/// What became of a message for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The recipient.
    pub user: UserId,
    /// Sessions here that took it.
    pub local_sessions: usize,
    /// Other nodes it was handed to.
    pub nodes: usize,
    /// Where it stands in the user's inbox, if it was stored.
    pub position: Option<Position>,
    /// Whether the same sender had sent this id before; nothing was done again.
    pub repeated: bool,
}

/// What became of a send.
#[derive(Clone, Debug)]
pub struct SendOutcome {
    /// The message's id.
    pub id: String,
    /// In the order asked for.
    pub recipients: Vec<Recipient>,
}

/// What became of a broadcast.
#[derive(Clone, Debug)]
pub struct BroadcastOutcome {
    /// The message's id.
    pub id: String,
    /// Sessions here that took it.
    pub local_sessions: usize,
    /// Other nodes it was handed to.
    pub nodes: usize,
}

/// A page of users online.
#[derive(Clone, Debug, Default)]
pub struct OnlineUsers {
    /// Ordered by id.
    pub users: Vec<UserId>,
    /// Where the next page starts.
    pub next_cursor: Option<String>,
    /// In all.
    pub total: u64,
}

/// Whom to kick.
#[derive(Clone, Debug)]
pub enum KickTarget {
    /// All sessions of a user.
    User(UserId),
    /// One session.
    Session(SessionId),
}

/// What became of a kick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KickOutcome {
    /// Sessions ended here.
    pub local_sessions: usize,
    /// Other nodes told.
    pub nodes: usize,
}

/// Which tokens to take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokeTarget {
    /// The one with this id (`jti`).
    Token(String),
    /// All of a user that were issued (`iat`) by then, Unix seconds; `None`: by now.
    User(UserId, Option<u64>),
}

/// What became of a revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevokeOutcome {
    /// Tokens of the user that were issued by then are over, Unix seconds; `None`: one token is.
    pub before: Option<u64>,
    /// How long this is remembered, Unix seconds: no token it is about is good for longer.
    pub until: u64,
}

/// Counts of this node and what it sees of the others.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// This node.
    pub node: String,
    /// Live connections here.
    pub connections: u64,
    /// Users with a session here.
    pub users: u64,
    /// Messages taken from clients and the API.
    pub messages_received: u64,
    /// Messages written to clients.
    pub messages_sent: u64,
    /// Mean size of received messages.
    pub average_message_bytes: f64,
    /// Errors told to clients.
    pub errors: u64,
    /// Live connections by user type.
    pub connections_by_user_type: BTreeMap<String, u64>,
    /// Live connections by transport.
    pub connections_by_transport: BTreeMap<String, u64>,
    /// Every live node, this one included.
    pub nodes: Vec<NodeInfo>,
}

/// Where in a log to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFrom {
    /// With the oldest message that is kept.
    Oldest,
    /// After this place.
    After(Position),
    /// With the first message stored at or after this time, Unix milliseconds.
    Since(u64),
}

/// Which piece of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Where to begin.
    pub from: LogFrom,
    /// At most so many messages.
    pub limit: usize,
}

/// A stored message and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedMessage {
    /// Where it stands.
    pub position: Position,
    /// Its id.
    pub id: String,
    /// When it was stored, Unix time in milliseconds.
    pub at: u64,
    /// The message as the JSON codec wrote it.
    pub json: String,
    /// The changes of its status; `None`: there is no record.
    pub record: Option<Record>,
}

/// A piece of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// In order.
    pub messages: Vec<LoggedMessage>,
    /// Where the next piece begins.
    pub next: Position,
    /// Whether there is more.
    pub more: bool,
    /// Why messages after the place named are missing.
    pub gap: Option<Gap>,
}

/// Why a call failed; nothing was done unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// What was asked for is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field's path in the request.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Other nodes were not reached; sessions of this node were.
    #[error("other nodes were not reached, {local_sessions} sessions of this node were")]
    Cluster {
        /// Sessions of this node that were reached all the same.
        local_sessions: usize,
        /// Why.
        #[source]
        source: ClusterError,
    },
}

impl ServiceError {
    /// What the caller may see.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } => ErrorCode::BadFrame,
            Self::Cluster {
                source: ClusterError::Busy,
                ..
            } => ErrorCode::Busy,
            Self::Cluster { .. } => ErrorCode::Unavailable,
        }
    }
}

/// The calls. Every one works on any node for the whole cluster.
pub trait MessageService: Send + Sync + 'static {
    /// To every session of each user, in order per user. At most 1000 users a call.
    fn send(
        &self,
        to: Vec<UserId>,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<SendOutcome, ServiceError>>;
    /// To every session.
    fn broadcast(
        &self,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<BroadcastOutcome, ServiceError>>;
    /// Users online, ordered by id, after `cursor`; `limit` 1 to 1000.
    fn online(
        &self,
        cursor: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<OnlineUsers, ServiceError>>;
    /// Sessions of one user, oldest first.
    fn sessions<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Vec<SessionRecord>, ServiceError>>;
    /// Ends sessions; each client is told why before its close frame.
    fn kick(
        &self,
        target: KickTarget,
        reason: String,
    ) -> BoxFuture<'_, Result<KickOutcome, ServiceError>>;
    /// Takes tokens back, on every node: their sessions end, and nobody comes in with them.
    fn revoke(&self, target: RevokeTarget) -> BoxFuture<'_, Result<RevokeOutcome, ServiceError>>;
    /// A piece of a durable log, with what became of each message.
    fn log<'a>(
        &'a self,
        log: &'a LogId,
        query: LogQuery,
    ) -> BoxFuture<'a, Result<LogPage, ServiceError>>;
    /// What became of what one sender has sent; `limit` 1 to 1000.
    fn sent<'a>(
        &'a self,
        sender: &'a UserId,
        query: SentQuery,
    ) -> BoxFuture<'a, Result<SentPage, ServiceError>>;
    /// Counts.
    fn stats(&self) -> BoxFuture<'_, Stats>;
}
