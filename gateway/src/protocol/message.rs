//! A message on its way: where it goes, who sent it, and its payload as raw JSON that nobody here parses.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{GroupId, TicketId, UserId};

/// Where a message goes. Exactly one, or [`Target::Application`] when the frame names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every session of one user.
    User(UserId),
    /// Every member of a group.
    Group(GroupId),
    /// Everyone in a ticket.
    Ticket(TicketId),
    /// Every session of the cluster.
    Broadcast,
    /// The application's hooks alone.
    Application,
}

/// How urgent a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// After everything else.
    Low,
    /// As it comes.
    #[default]
    Normal,
    /// Before normal ones.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Valid JSON text, passed through as it came.
pub type RawJson = RawValue;

/// Who a message is from. Set by the server, never by a client.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The user's id; the API may name a service here.
    pub id: &'a str,
    /// The user type; `system` for the API.
    pub kind: &'a str,
    /// The number of this message among those its session sent, from 1.
    pub seq: u64,
}

/// What a client or the API asked to send, borrowed from the bytes it came in.
#[derive(Clone, Debug)]
pub struct MessageBody<'a> {
    /// The message's type; applications have their own.
    pub kind: &'a str,
    /// The sender's own id; `None`: the server makes one.
    pub id: Option<&'a str>,
    /// Any JSON.
    pub content: Option<&'a RawJson>,
    /// A JSON object.
    pub data: Option<&'a RawJson>,
    /// How urgent.
    pub priority: Priority,
    /// The id of the message this one answers.
    pub reply_to: Option<&'a str>,
    /// Whether it is to be stored; `None`: as its target and type usually are.
    pub durable: Option<bool>,
    /// Whether its recipient is to acknowledge it.
    pub require_ack: bool,
}

/// A message with everything the server adds, ready to be encoded.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Where it goes.
    pub target: &'a Target,
    /// Who sent it.
    pub sender: Sender<'a>,
    /// The id it is known by.
    pub id: &'a str,
    /// When the server took it, Unix time in milliseconds.
    pub create_at: u64,
    /// What it carries. Its own `id` is not written again.
    pub body: MessageBody<'a>,
}
