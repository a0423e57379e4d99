//! Compares how far the sessions here of those who are in a ticket have come with where its log ends, as is done with
//! inboxes: what is sent between nodes is at most once, the log has it.

use std::collections::HashSet;

use super::{DeskError, Ticket, Tickets};
use crate::protocol::{LogId, Start, TicketId, UserId};

/// See the module.
pub(super) struct Audit {
    tickets: Tickets,
    /// What was open at the last look: of what has closed meanwhile the last words may be missing.
    open: HashSet<TicketId>,
}

impl Audit {
    pub(super) fn new(tickets: Tickets) -> Self {
        Self {
            tickets,
            open: HashSet::new(),
        }
    }

    pub(super) async fn look(&mut self) -> Result<(), DeskError> {
        let policy = self.tickets.policy();
        if !policy.enabled || !policy.stores {
            return Ok(());
        }
        let bell = self.tickets.bell();
        let open = bell.look(|desk, _| desk.tickets().cloned().collect::<Vec<Ticket>>());
        let open = open.await?;
        let ids: HashSet<TicketId> = open.iter().map(|ticket| ticket.id.clone()).collect();
        self.compare(&open, policy.start(Start::Nowhere)).await?;
        let over: Vec<TicketId> = self.open.difference(&ids).cloned().collect();
        if !over.is_empty() {
            let closed = bell.store().closed(&over).await;
            let closed = closed.map_err(DeskError::Store)?;
            // Who came after the end has nothing to be told of it.
            self.compare(&closed, Start::Nowhere).await?;
        }
        self.open = ids;
        Ok(())
    }

    async fn compare(&self, tickets: &[Ticket], start: Start) -> Result<(), DeskError> {
        let hub = self.tickets.hub();
        let is_here = |user: &UserId| hub.users().find(user).1 > 0;
        let logs = tickets.iter().map(|ticket| {
            let readers: Vec<UserId> = ticket.audience().into_iter().filter(is_here).collect();
            (LogId::Ticket(ticket.id.clone()), readers)
        });
        let logs: Vec<_> = logs.filter(|(_, readers)| !readers.is_empty()).collect();
        let compared = self.tickets.delivery().audit(&logs, start).await;
        compared.map_err(DeskError::Store)
    }
}
