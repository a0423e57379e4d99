//! `Ticket`: one request of one customer, and where it stands.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Millis, Queue};
use crate::protocol::{Priority, TicketId, UserId};

/// Where a ticket stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum State {
    /// In its queue.
    Waiting,
    /// Given to an agent who has not reacted yet.
    #[serde(rename = "assigned")]
    Offered(Offer),
    /// An agent works on it.
    Active {
        /// Who.
        agent: UserId,
        /// When there was a sign of life last, as far as the desk knows; messages are noted elsewhere.
        heard: Millis,
    },
    /// Over.
    Closed {
        /// Who closed it; nothing: a timer did.
        by: Option<UserId>,
        /// Who had it last, if somebody had it then.
        agent: Option<UserId>,
        /// Why.
        because: ClosedBecause,
        /// When.
        at: Millis,
    },
}

impl State {
    /// The words, for queries and metrics.
    pub const WORDS: [&'static str; 4] = ["waiting", "assigned", "active", "closed"];

    /// The word on the wire.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Offered(_) => "assigned",
            Self::Active { .. } => "active",
            Self::Closed { .. } => "closed",
        }
    }
}

/// An agent's time to react.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Who has it.
    pub agent: UserId,
    /// Since when.
    pub since: Millis,
    /// When the agent's client was told last.
    pub told: Millis,
    /// How often it was told again.
    pub reminders: u32,
    /// Whether the client has said that it got the news.
    pub acknowledged: bool,
}

/// Why a ticket is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBecause {
    /// Its customer, its agent or an administrator said so.
    Asked,
    /// Nobody said anything for `ticketTimeout`.
    Idle,
    /// No agent was free for `queueTimeout`.
    QueueTimeout,
    /// No agent is left and tickets do not wait here.
    NoAgent,
}

impl ClosedBecause {
    /// Every reason, for metrics.
    pub const ALL: [Self; 4] = [Self::Asked, Self::Idle, Self::QueueTimeout, Self::NoAgent];

    /// The word on the wire and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Idle => "idle",
            Self::QueueTimeout => "queue_timeout",
            Self::NoAgent => "no_agent",
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// Who asks.
    pub customer: UserId,
    /// What it asks for.
    pub queue: Queue,
    /// How urgent.
    pub priority: Priority,
    /// What it is about, in a line.
    pub subject: Option<String>,
    /// When it was opened.
    pub opened_at: Millis,
    /// Since when it waits, or waited when it was offered last. Being passed on does not make a customer wait anew.
    pub waiting_since: Millis,
    /// Its number among all tickets: the order within priority.
    pub number: u64,
    /// Agents who declined it or let it pass. They are not offered it again until, while it waits,
    /// they come back or close a ticket.
    pub passed: BTreeSet<UserId>,
    /// How often it was transferred.
    pub transfers: u32,
    /// Who watches.
    pub observers: BTreeSet<UserId>,
    /// Where it stands.
    pub state: State,
}

impl Ticket {
    /// The most observers of one ticket.
    pub const MAX_OBSERVERS: usize = 16;

    /// The longest subject in bytes.
    pub const MAX_SUBJECT: usize = 256;

    /// Whose slot it takes.
    pub const fn agent(&self) -> Option<&UserId> {
        match &self.state {
            State::Offered(offer) => Some(&offer.agent),
            State::Active { agent, .. } => Some(agent),
            State::Waiting | State::Closed { .. } => None,
        }
    }

    /// Who has it, or had it when it was closed.
    pub const fn served_by(&self) -> Option<&UserId> {
        match &self.state {
            State::Closed { agent, .. } => agent.as_ref(),
            State::Waiting | State::Offered(_) | State::Active { .. } => self.agent(),
        }
    }

    /// Whether this user gets its messages and may send some: the customer, the agent and the observers. An agent who
    /// was only offered it may read what is asked for.
    pub fn has(&self, user: &UserId) -> bool {
        self.customer == *user || self.served_by() == Some(user) || self.observers.contains(user)
    }

    /// Whether it is closed.
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether this agent works on it.
    pub fn is_served_by(&self, user: &UserId) -> bool {
        matches!(&self.state, State::Active { agent, .. } if agent == user)
    }

    /// Who gets what is said in it: the customer, the agent who works on it or did, and the observers.
    pub fn audience(&self) -> BTreeSet<UserId> {
        let mut all = self.observers.clone();
        all.insert(self.customer.clone());
        let agent = match &self.state {
            State::Active { agent, .. } => Some(agent),
            State::Closed { agent, .. } => agent.as_ref(),
            State::Waiting | State::Offered(_) => None,
        };
        all.extend(agent.cloned());
        all
    }

    /// Everyone in it, each once.
    pub fn everyone(&self) -> BTreeSet<UserId> {
        let mut all = self.observers.clone();
        all.insert(self.customer.clone());
        all.extend(self.served_by().cloned());
        all
    }
}
