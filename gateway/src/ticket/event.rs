//! `Event`: one step of one ticket or agent; what is recorded, told to those concerned, and counted.

use serde::{Deserialize, Serialize};

use super::{Agent, Availability, ClosedBecause, Millis, Queue, Ticket};
use crate::protocol::{TicketId, UserId};

/// Why an agent lost a ticket again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassedBecause {
    /// It declined.
    Declined,
    /// It did not react within `notifyTimeout`.
    NoReaction,
    /// Its client did not even acknowledge the offer.
    Unacknowledged,
    /// It went away and the grace is over.
    AgentGone,
}

impl PassedBecause {
    /// Every reason, for metrics.
    pub const ALL: [Self; 4] = [
        Self::Declined,
        Self::NoReaction,
        Self::Unacknowledged,
        Self::AgentGone,
    ];

    /// The word on the wire and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::NoReaction => "no_reaction",
            Self::Unacknowledged => "unacknowledged",
            Self::AgentGone => "agent_gone",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A customer, or someone for it, opened the ticket.
    Opened {
        /// For whom.
        customer: UserId,
        /// What it asks for.
        queue: Queue,
    },
    /// It waits.
    Queued {
        /// Where.
        queue: Queue,
        /// At which place, from 1.
        position: usize,
        /// When waiting ends.
        until: Millis,
    },
    /// An agent has been given it and is asked to accept.
    #[serde(rename = "assigned")]
    Offered {
        /// Who.
        agent: UserId,
        /// Until when it may react.
        until: Millis,
        /// How long the customer had waited.
        waited: Millis,
    },
    /// The agent's client did not acknowledge the offer and is told again.
    Reminded {
        /// Who.
        agent: UserId,
        /// For the which time, from 1.
        attempt: u32,
        /// Until when it may react.
        until: Millis,
    },
    /// The agent's client has the offer.
    Acknowledged {
        /// Who.
        agent: UserId,
    },
    /// The agent works on it.
    Accepted {
        /// Who.
        agent: UserId,
    },
    /// The agent has lost it.
    PassedOn {
        /// Who.
        agent: UserId,
        /// Why.
        because: PassedBecause,
    },
    /// It was handed to an agent or a queue; what comes of it is the next event.
    Transferred {
        /// Who said so.
        by: UserId,
        /// From whom.
        from: Option<UserId>,
        /// The agent it goes to.
        agent: Option<UserId>,
        /// Or the queue.
        queue: Option<Queue>,
    },
    /// Someone watches.
    Joined {
        /// Who.
        user: UserId,
    },
    /// Someone watches no more.
    Left {
        /// Who.
        user: UserId,
    },
    /// It is over.
    Closed {
        /// Who closed it; nothing: a timer did.
        by: Option<UserId>,
        /// Why.
        because: ClosedBecause,
    },
}

impl Step {
    /// The words, for metrics.
    pub const WORDS: [&'static str; 11] = [
        "opened",
        "queued",
        "assigned",
        "reminded",
        "acknowledged",
        "accepted",
        "passed_on",
        "transferred",
        "joined",
        "left",
        "closed",
    ];

    /// The word: a frame of type `ticket.<word>` tells of it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Queued { .. } => "queued",
            Self::Offered { .. } => "assigned",
            Self::Reminded { .. } => "reminded",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Accepted { .. } => "accepted",
            Self::PassedOn { .. } => "passed_on",
            Self::Transferred { .. } => "transferred",
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::Closed { .. } => "closed",
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Event {
    /// Of a ticket, as it was right after the step.
    Ticket {
        /// When.
        at: Millis,
        /// What happened.
        step: Step,
        /// The ticket after it.
        ticket: Box<Ticket>,
    },
    /// An agent is there, away or gone, or can do something else.
    Agent {
        /// When.
        at: Millis,
        /// What counts now.
        is: Availability,
        /// The agent after it.
        agent: Box<Agent>,
    },
}

/// What is kept of a step, one entry in the ticket's records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of which ticket.
    pub ticket: TicketId,
    /// When, Unix time in milliseconds.
    pub at: Millis,
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
}

impl Event {
    /// What is kept of it, if it is about a ticket.
    pub fn record(&self) -> Option<Record> {
        match self {
            Self::Ticket { at, step, ticket } => Some(Record {
                ticket: ticket.id.clone(),
                at: *at,
                step: step.clone(),
            }),
            Self::Agent { .. } => None,
        }
    }
}
