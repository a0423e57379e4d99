//! `Refusal`: why the desk did nothing.

use super::Queue;
use crate::protocol::{TicketId, UserId};

/// See the module. Each names what is in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none, or it is closed.
    #[error("ticket {0} is not open")]
    NoTicket(TicketId),
    /// Someone else has opened one by this id.
    #[error("ticket {0} is another customer's")]
    Taken(TicketId),
    /// The caller has no part in it that would allow this.
    #[error("ticket {ticket}: {user} may not do this")]
    NotYours {
        /// Which.
        ticket: TicketId,
        /// Who.
        user: UserId,
    },
    /// It is not there to be accepted or declined.
    #[error("ticket {ticket} is not offered to {agent}")]
    NotOffered {
        /// Which.
        ticket: TicketId,
        /// Whom it was said to be offered to.
        agent: UserId,
    },
    /// Nothing waits that the agent could do.
    #[error("no ticket waits for {0}")]
    NothingWaits(UserId),
    /// No agent is free and tickets do not wait here.
    #[error(
        "no agent is free for queue {0}, and tickets do not wait here (wsc.ticket.enableQueueing)"
    )]
    NoAgent(Queue),
    /// The agent takes no tickets now.
    #[error("agent {0} is not online")]
    NotOnline(UserId),
    /// The agent has as many tickets as it may.
    #[error("agent {agent} has {tickets} tickets and may have no more")]
    Full {
        /// Who.
        agent: UserId,
        /// How many.
        tickets: usize,
    },
    /// Transfers are off.
    #[error("tickets are not transferred here (wsc.ticket.enableTransfer)")]
    TransferOff,
    /// It has been transferred as often as it may.
    #[error("ticket {ticket} has been transferred {times} times (wsc.ticket.transferMaxTimes)")]
    TransferredEnough {
        /// Which.
        ticket: TicketId,
        /// How often.
        times: u32,
    },
    /// It is there already.
    #[error("ticket {ticket} is with {agent} already")]
    There {
        /// Which.
        ticket: TicketId,
        /// With whom.
        agent: UserId,
    },
    /// The customer has too many open tickets.
    #[error("{customer} has {open} open tickets and may have no more")]
    ManyOfCustomer {
        /// Whose.
        customer: UserId,
        /// How many.
        open: usize,
    },
    /// The ticket has too many observers.
    #[error("ticket {ticket} has {observers} observers and may have no more")]
    ManyObservers {
        /// Which.
        ticket: TicketId,
        /// How many.
        observers: usize,
    },
    /// The desk holds as much as it can.
    #[error("the desk is full: {0} open tickets")]
    DeskFull(usize),
}
