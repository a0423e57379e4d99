//! The calls a backend can make about tickets, agents and queues, free of any wire form.

use futures_util::future::BoxFuture;

use super::fault::{Fault, FaultCode};
use super::service::{ApiMessage, ServiceError};
use crate::cluster::ClusterError;
use crate::protocol::{Position, TicketId, UserId};
use crate::ticket::{
    AgentPage, AgentView, Availability, DeskError, NewTicket, Record, Refusal, TicketFilter,
    TicketPage, TicketView, TransferTo, WaitingView,
};

/// What became of a message in a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketSendOutcome {
    /// The message's id.
    pub id: String,
    /// Where it stands in the ticket's log, if it was stored.
    pub position: Option<Position>,
    /// Whether the same sender had sent this id before; nothing was done again.
    pub repeated: bool,
}

/// Why a call about tickets failed.
#[derive(Debug, thiserror::Error)]
pub enum TicketCallError {
    /// The desk, or its store, does not let it be done.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The desk has never heard of this agent.
    #[error("there is no agent {0}")]
    NoAgent(UserId),
    /// What was asked for is wrong, or the message cannot be sent.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<TicketCallError> for Fault {
    fn from(error: TicketCallError) -> Self {
        let message = error.to_string();
        let code = match error {
            TicketCallError::Service(error) => return error.into(),
            TicketCallError::NoAgent(_) => FaultCode::Missing,
            TicketCallError::Desk(error) => code_of(&error),
        };
        Self::new(code, message)
    }
}

fn code_of(error: &DeskError) -> FaultCode {
    match error {
        DeskError::Refused(refusal) => code_of_refusal(refusal),
        DeskError::Store(ClusterError::Busy) | DeskError::Busy => FaultCode::Busy,
        DeskError::Store(error) => {
            tracing::debug!(%error, "an API call did not reach the tickets");
            FaultCode::Unavailable
        }
        DeskError::Ended => FaultCode::Unavailable,
        DeskError::Off => FaultCode::NotSupported,
    }
}

const fn code_of_refusal(refusal: &Refusal) -> FaultCode {
    match refusal {
        Refusal::NoTicket(_) => FaultCode::Missing,
        Refusal::Taken(_) => FaultCode::Exists,
        Refusal::NotYours { .. } => FaultCode::Forbidden,
        Refusal::TransferOff => FaultCode::NotSupported,
        Refusal::DeskFull(_) => FaultCode::Busy,
        Refusal::NotOffered { .. }
        | Refusal::NothingWaits(_)
        | Refusal::NoAgent(_)
        | Refusal::NotOnline(_)
        | Refusal::There { .. } => FaultCode::Rejected,
        Refusal::Full { .. }
        | Refusal::TransferredEnough { .. }
        | Refusal::ManyOfCustomer { .. }
        | Refusal::ManyObservers { .. } => FaultCode::LimitReached,
    }
}

/// The calls. Every one works on any node for the whole cluster. Backends are trusted: they may do what administrators may,
/// and the rules of the desk hold for them too. `by` is who it is said to be done by, for the ticket's records.
pub trait TicketCalls: Send + Sync + 'static {
    /// Opens a ticket for a customer; opening it twice opens it once.
    fn open(&self, new: NewTicket) -> BoxFuture<'_, Result<TicketView, TicketCallError>>;
    /// A page of the tickets that pass the filter, after a cursor; `limit` 1 to 1000.
    fn list(
        &self,
        filter: TicketFilter,
        cursor: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<TicketPage, TicketCallError>>;
    /// A ticket, open or over.
    fn get(&self, ticket: TicketId) -> BoxFuture<'_, Result<TicketView, TicketCallError>>;
    /// What happened to a ticket, oldest first.
    fn steps(&self, ticket: TicketId) -> BoxFuture<'_, Result<Vec<Record>, TicketCallError>>;
    /// Has an agent who is free work on a ticket that waits or is offered to it, at once.
    fn assign(
        &self,
        ticket: TicketId,
        agent: UserId,
        by: UserId,
    ) -> BoxFuture<'_, Result<TicketView, TicketCallError>>;
    /// Hands a ticket to an agent, who is asked to accept it, or to a queue.
    fn transfer(
        &self,
        ticket: TicketId,
        to: TransferTo,
        by: UserId,
    ) -> BoxFuture<'_, Result<TicketView, TicketCallError>>;
    /// Ends a ticket.
    fn close(
        &self,
        ticket: TicketId,
        by: UserId,
    ) -> BoxFuture<'_, Result<TicketView, TicketCallError>>;
    /// To everyone in the ticket.
    fn send_to_ticket(
        &self,
        ticket: TicketId,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<TicketSendOutcome, TicketCallError>>;
    /// A page of the agents that are known, by id, after this one; `limit` 1 to 1000.
    fn agents(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<AgentPage, TicketCallError>>;
    /// An agent.
    fn agent(&self, agent: UserId) -> BoxFuture<'_, Result<AgentView, TicketCallError>>;
    /// Says for an agent how it is, and how many tickets it takes at most; `max` `None`: as before.
    fn set_agent(
        &self,
        agent: UserId,
        availability: Availability,
        max: Option<u32>,
    ) -> BoxFuture<'_, Result<AgentView, TicketCallError>>;
    /// Every queue in which someone waits.
    fn queues(&self) -> BoxFuture<'_, Result<Vec<WaitingView>, TicketCallError>>;
}
