//! `Outbound`: how extensions send, and do what backends can do about groups and tickets. Made before the start, so that
//! callbacks can hold it; it works once the gateway runs. It is the calls of the API without a wire in between.

use std::sync::{Arc, OnceLock};

use crate::api::{
    ApiMessage, GroupCallError, GroupCalls, GroupSendOutcome, MessageService, ServiceError,
    TicketCallError, TicketCalls, TicketSendOutcome,
};
use crate::group::Joined;
use crate::protocol::{GroupId, IdError, TicketId, UserId};
use crate::ticket::{NewTicket, TicketView};

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub struct Outbound(Arc<OnceLock<Calls>>);

struct Calls {
    messages: Arc<dyn MessageService>,
    groups: Arc<dyn GroupCalls>,
    tickets: Arc<dyn TicketCalls>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Outbound")
            .field("runs", &self.0.get().is_some())
            .finish()
    }
}

/// Why something that an extension asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The gateway has not started yet.
    #[error("the gateway does not run yet")]
    NotRunning,
    /// The user, the group or the ticket cannot be.
    #[error("recipient")]
    Recipient(#[from] IdError),
    /// A message was not sent.
    #[error("send")]
    Service(#[from] ServiceError),
    /// Something about a group was not done.
    #[error("group")]
    Group(#[from] GroupCallError),
    /// Something about a ticket was not done.
    #[error("ticket")]
    Ticket(#[from] TicketCallError),
}

impl Outbound {
    /// All calls of the API about messages, sessions and logs, on behalf of the application itself; `None` before the start.
    pub fn service(&self) -> Option<&Arc<dyn MessageService>> {
        self.0.get().map(|calls| &calls.messages)
    }

    /// All calls about groups; `None` before the start.
    pub fn groups(&self) -> Option<&Arc<dyn GroupCalls>> {
        self.0.get().map(|calls| &calls.groups)
    }

    /// All calls about tickets, agents and queues; `None` before the start.
    pub fn tickets(&self) -> Option<&Arc<dyn TicketCalls>> {
        self.0.get().map(|calls| &calls.tickets)
    }

    fn running(&self) -> Result<&Calls, OutboundError> {
        self.0.get().ok_or(OutboundError::NotRunning)
    }

    /// Sends a message to every session of a user.
    pub async fn send(&self, user: &str, message: ApiMessage) -> Result<(), OutboundError> {
        let calls = self.running()?;
        calls
            .messages
            .send(vec![UserId::new(user)?], message)
            .await?;
        Ok(())
    }

    /// Sends a message to every session of the cluster.
    pub async fn broadcast(&self, message: ApiMessage) -> Result<(), OutboundError> {
        self.running()?.messages.broadcast(message).await?;
        Ok(())
    }

    /// Sends a message to every session of a group's members.
    pub async fn send_to_group(
        &self,
        group: &str,
        message: ApiMessage,
    ) -> Result<GroupSendOutcome, OutboundError> {
        let calls = self.running()?;
        Ok(calls
            .groups
            .send_to_group(GroupId::new(group)?, message)
            .await?)
    }

    /// Makes a lasting group without members.
    pub async fn create_group(
        &self,
        group: &str,
        owner: Option<&str>,
    ) -> Result<(), OutboundError> {
        let calls = self.running()?;
        let owner = owner.map(UserId::new).transpose()?;
        calls.groups.create(GroupId::new(group)?, owner).await?;
        Ok(())
    }

    /// Ends a group; its members are told.
    pub async fn disband_group(&self, group: &str) -> Result<(), OutboundError> {
        let calls = self.running()?;
        Ok(calls.groups.disband(GroupId::new(group)?).await?)
    }

    /// Makes a user a member of a group, within the limits of groups.
    pub async fn join(&self, group: &str, user: &str) -> Result<Joined, OutboundError> {
        let calls = self.running()?;
        let (group, user) = (GroupId::new(group)?, UserId::new(user)?);
        Ok(calls.groups.add(group, user).await?)
    }

    /// Ends a user's membership in a group.
    pub async fn leave(&self, group: &str, user: &str) -> Result<(), OutboundError> {
        let calls = self.running()?;
        let (group, user) = (GroupId::new(group)?, UserId::new(user)?);
        Ok(calls.groups.remove(group, user).await?)
    }

    /// Opens a ticket for a customer.
    pub async fn open_ticket(&self, new: NewTicket) -> Result<TicketView, OutboundError> {
        Ok(self.running()?.tickets.open(new).await?)
    }

    /// Sends a message to everyone in a ticket.
    pub async fn send_to_ticket(
        &self,
        ticket: &str,
        message: ApiMessage,
    ) -> Result<TicketSendOutcome, OutboundError> {
        let calls = self.running()?;
        let ticket = TicketId::new(ticket)?;
        Ok(calls.tickets.send_to_ticket(ticket, message).await?)
    }

    /// Ends a ticket; its records say that this user, or part of the application, did.
    pub async fn close_ticket(&self, ticket: &str, by: &str) -> Result<TicketView, OutboundError> {
        let calls = self.running()?;
        let (ticket, by) = (TicketId::new(ticket)?, UserId::new(by)?);
        Ok(calls.tickets.close(ticket, by).await?)
    }

    /// From here on it works. A second call changes nothing.
    pub(crate) fn connect<T>(&self, calls: &Arc<T>)
    where
        T: MessageService + GroupCalls + TicketCalls,
    {
        self.0.get_or_init(|| Calls {
            messages: calls.clone(),
            groups: calls.clone(),
            tickets: calls.clone(),
        });
    }
}
