//! Compares how far the sessions here of those who are in a ticket have come with where its log ends, as is done with
//! inboxes: what is sent between nodes is at most once, the log has it.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use super::{DeskError, Tickets};
use crate::cluster::Rounds;
use crate::protocol::{LogId, UserId};

/// See the module.
pub(super) struct Audit {
    tickets: Tickets,
    rounds: Rounds,
    /// What was open at the last look: of what has closed meanwhile the last words may be missing.
    open: HashMap<LogId, Vec<UserId>>,
}

impl Audit {
    pub(super) fn new(tickets: Tickets, rounds: Rounds) -> Self {
        Self {
            tickets,
            rounds,
            open: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.rounds.due() => {}
            }
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the ends of tickets' logs cannot be read now");
            }
        }
    }

    async fn look(&mut self) -> Result<(), DeskError> {
        let policy = self.tickets.policy();
        if !policy.enabled || !policy.stores {
            return Ok(());
        }
        let open = self.tickets.bell().look(|desk, _| {
            desk.tickets()
                .map(|ticket| (LogId::Ticket(ticket.id.clone()), ticket.audience()))
                .collect::<Vec<_>>()
        });
        let hub = self.tickets.hub();
        let is_here = |user: &UserId| hub.users().find(user).1 > 0;
        let open: HashMap<LogId, Vec<UserId>> = open
            .await?
            .into_iter()
            .map(|(log, audience)| (log, audience.into_iter().filter(is_here).collect()))
            .filter(|(_, audience): &(LogId, Vec<UserId>)| !audience.is_empty())
            .collect();
        let mut logs = std::mem::replace(&mut self.open, open.clone());
        logs.extend(open);
        let logs: Vec<_> = logs.into_iter().collect();
        let audited = self.tickets.delivery().audit(&logs).await;
        audited.map_err(DeskError::Store)
    }
}
