//! What callers get: the service's answers as JSON. Field names are the contract; the service's types may change.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::super::service::{
    BroadcastOutcome, KickOutcome, OnlineUsers, Recipient, SendOutcome, Stats,
};
use crate::cluster::{NodeInfo, SessionRecord};
use crate::protocol::{Position, UserId};

/// What became of a message.
#[derive(Serialize, ToSchema)]
pub(super) struct SendAnswer {
    /// The message's id.
    id: String,
    /// One entry per user, in the order of their first mention.
    recipients: Vec<RecipientAnswer>,
}

/// What became of a message for one user.
#[derive(Serialize, ToSchema)]
struct RecipientAnswer {
    /// The user.
    user_id: String,
    /// Sessions on the node that answered which took the message.
    local_sessions: usize,
    /// Other nodes the message was handed to.
    nodes: usize,
    /// Where it stands in the user's inbox, `EPOCH.OFFSET`; absent: it was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pos: Option<Position>,
    /// Whether the same sender had sent this id before; nothing was done again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

/// What became of a broadcast.
#[derive(Serialize, ToSchema)]
pub(super) struct BroadcastAnswer {
    /// The message's id.
    id: String,
    /// Sessions on the node that answered which took the message.
    local_sessions: usize,
    /// Other nodes the message was handed to.
    nodes: usize,
}

/// A page of users online.
#[derive(Serialize, ToSchema)]
pub(super) struct OnlineAnswer {
    /// Ordered by id.
    #[schema(value_type = Vec<String>)]
    users: Vec<UserId>,
    /// Give this as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Users online in all.
    total: u64,
}

/// The sessions of a user.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionsAnswer {
    /// Oldest first.
    sessions: Vec<SessionAnswer>,
}

/// One session.
#[derive(Serialize, ToSchema)]
struct SessionAnswer {
    /// The session.
    session_id: String,
    /// Whose.
    user_id: String,
    /// The user's type.
    user_type: String,
    /// The node that holds it.
    node: String,
    /// `ws`, `sse` or `grpc`.
    transport: String,
    /// The device the token names.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Unix time in milliseconds.
    connected_at: u64,
}

/// What became of a kick.
#[derive(Serialize, ToSchema)]
pub(super) struct KickAnswer {
    /// Sessions ended on the node that answered.
    local_sessions: usize,
    /// Other nodes that were told.
    nodes: usize,
}

/// Counts of the node that answered, and the nodes it sees.
#[derive(Serialize, ToSchema)]
pub(super) struct StatsAnswer {
    /// The node that answered.
    node: String,
    /// Its live connections.
    connections: u64,
    /// Users with a session there.
    users: u64,
    /// Messages taken from clients and the API.
    messages_received: u64,
    /// Messages written to clients.
    messages_sent: u64,
    /// Mean size of received messages.
    average_message_bytes: f64,
    /// Errors told to clients.
    errors: u64,
    /// Live connections by user type.
    connections_by_user_type: BTreeMap<String, u64>,
    /// Live connections by transport.
    connections_by_transport: BTreeMap<String, u64>,
    /// Every live node.
    nodes: Vec<NodeAnswer>,
}

/// A node.
#[derive(Serialize, ToSchema)]
struct NodeAnswer {
    /// Its name.
    name: String,
    /// Its incarnation.
    epoch: u64,
    /// The address it tells its peers.
    address: String,
    /// Its live connections, when it last said so.
    connections: u64,
}

impl From<SendOutcome> for SendAnswer {
    fn from(SendOutcome { id, recipients }: SendOutcome) -> Self {
        let recipients = recipients.into_iter().map(RecipientAnswer::from).collect();
        Self { id, recipients }
    }
}

impl From<Recipient> for RecipientAnswer {
    fn from(
        Recipient {
            user,
            local_sessions,
            nodes,
            position,
            repeated,
        }: Recipient,
    ) -> Self {
        Self {
            user_id: user.to_string(),
            local_sessions,
            nodes,
            pos: position,
            repeated,
        }
    }
}

impl From<BroadcastOutcome> for BroadcastAnswer {
    fn from(
        BroadcastOutcome {
            id,
            local_sessions,
            nodes,
        }: BroadcastOutcome,
    ) -> Self {
        Self {
            id,
            local_sessions,
            nodes,
        }
    }
}

impl From<OnlineUsers> for OnlineAnswer {
    fn from(
        OnlineUsers {
            users,
            next_cursor,
            total,
        }: OnlineUsers,
    ) -> Self {
        Self {
            users,
            next_cursor,
            total,
        }
    }
}

impl From<Vec<SessionRecord>> for SessionsAnswer {
    fn from(sessions: Vec<SessionRecord>) -> Self {
        Self {
            sessions: sessions.into_iter().map(SessionAnswer::from).collect(),
        }
    }
}

impl From<SessionRecord> for SessionAnswer {
    fn from(record: SessionRecord) -> Self {
        let SessionRecord {
            session,
            user,
            user_type,
            node,
            epoch: _,
            transport,
            device,
            connected_at,
        } = record;
        Self {
            session_id: session.to_string(),
            user_id: user.to_string(),
            user_type: user_type.to_string(),
            node: node.to_string(),
            transport: transport.into_owned(),
            device: device.as_deref().map(str::to_owned),
            connected_at,
        }
    }
}

impl From<KickOutcome> for KickAnswer {
    fn from(
        KickOutcome {
            local_sessions,
            nodes,
        }: KickOutcome,
    ) -> Self {
        Self {
            local_sessions,
            nodes,
        }
    }
}

impl From<Stats> for StatsAnswer {
    fn from(stats: Stats) -> Self {
        Self {
            node: stats.node,
            connections: stats.connections,
            users: stats.users,
            messages_received: stats.messages_received,
            messages_sent: stats.messages_sent,
            average_message_bytes: stats.average_message_bytes,
            errors: stats.errors,
            connections_by_user_type: stats.connections_by_user_type,
            connections_by_transport: stats.connections_by_transport,
            nodes: stats.nodes.into_iter().map(NodeAnswer::from).collect(),
        }
    }
}

impl From<NodeInfo> for NodeAnswer {
    fn from(
        NodeInfo {
            node,
            epoch,
            address,
            connections,
            synced: _,
            beat: _,
            leaving: _,
            door: _,
        }: NodeInfo,
    ) -> Self {
        Self {
            name: node.to_string(),
            epoch: epoch.0,
            address,
            connections,
        }
    }
}
