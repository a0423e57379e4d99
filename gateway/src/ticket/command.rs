//! What can be asked of the desk.

use super::{Availability, Field, Millis, Queue, Ticket};
use crate::protocol::{Priority, TicketId, UserId};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A user: what it may do depends on its part in the ticket.
    User(UserId),
    /// An administrator or a backend: may do everything.
    Admin(UserId),
}

impl Party {
    /// The name for the records.
    pub const fn id(&self) -> &UserId {
        match self {
            Self::User(id) | Self::Admin(id) => id,
        }
    }
}

/// A ticket as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTicket {
    /// The id it will have; opening it twice opens it once.
    pub id: TicketId,
    /// For whom.
    pub customer: UserId,
    /// What it asks for.
    pub queue: Queue,
    /// How urgent.
    pub priority: Priority,
    /// What it is about.
    pub subject: Option<String>,
}

impl NewTicket {
    /// One for this customer by an id of its own, that asks for no skill and is not urgent.
    pub fn of(customer: UserId) -> Self {
        Self {
            id: TicketId::generate(),
            customer,
            queue: Queue::default(),
            priority: Priority::default(),
            subject: None,
        }
    }

    /// The field that is wrong, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let bytes = self.subject.as_ref().map_or(0, String::len);
        if bytes > Ticket::MAX_SUBJECT {
            let max = Ticket::MAX_SUBJECT;
            let problem = format!("has {bytes} bytes, allowed are at most {max}");
            return Err(("subject", problem));
        }
        if self.queue.skills().len() > Queue::MAX_SKILLS {
            let (n, max) = (self.queue.skills().len(), Queue::MAX_SKILLS);
            let problem = format!("are {n}, allowed are at most {max}");
            return Err(("skills", problem));
        }
        Ok(())
    }
}

/// Where a ticket is transferred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferTo {
    /// One agent.
    Agent(UserId),
    /// Whoever can do this; it is not offered to the agent it comes from.
    Queue(Queue),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a ticket.
    Open(NewTicket),
    /// The agent takes the ticket it was offered, or, where tickets are not given out, one that waits.
    Accept {
        /// Which; `None`: the first that waits for what the agent can do.
        ticket: Option<TicketId>,
        /// Who takes it.
        agent: UserId,
        /// Who says so.
        by: Party,
    },
    /// The agent does not take the ticket it was offered.
    Decline {
        /// Which.
        ticket: TicketId,
        /// Who.
        by: Party,
    },
    /// The agent's client has got the offer.
    Acknowledge {
        /// Of which ticket.
        ticket: TicketId,
        /// Who.
        agent: UserId,
    },
    /// Hand the ticket on.
    Transfer {
        /// Which.
        ticket: TicketId,
        /// Who says so.
        by: Party,
        /// Where to.
        to: TransferTo,
    },
    /// End the ticket.
    Close {
        /// Which.
        ticket: TicketId,
        /// Who says so.
        by: Party,
    },
    /// Watch the ticket; the caller has checked the claim.
    Join {
        /// Which.
        ticket: TicketId,
        /// Who.
        user: UserId,
    },
    /// Watch it no more.
    Leave {
        /// Which.
        ticket: TicketId,
        /// Who.
        user: UserId,
    },
    /// An agent says how it is; what is `None` stays as it was.
    Status {
        /// Who.
        agent: UserId,
        /// Its readiness.
        availability: Option<Availability>,
        /// What it can do.
        skills: Option<Queue>,
        /// The most tickets it wants.
        max: Option<u32>,
    },
    /// An agent's first session came, or its last one went.
    Presence {
        /// Who.
        agent: UserId,
        /// Whether it has a session now.
        connected: bool,
    },
    /// A due time has come. Whoever fires what is not due changes nothing.
    Fire {
        /// Whose.
        field: Field,
        /// The last message in the ticket, if there was one.
        heard: Option<Millis>,
    },
    /// Give out what can be given out: the rules may have changed.
    Settle,
}
