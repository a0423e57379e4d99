//! `Timekeeper`: has what is due fired, and calls the roll of agents, on the one node that `messageRouting` picks for it.
//!
//! Every node runs one and asks each time whose turn it is; when the owner dies, another goes on by itself. That two fire the
//! same is harmless: a due time is worked out from the state alone, and the state is committed once.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Command, DeskCounts, DeskError, Tickets};
use crate::cluster::{Cluster, ClusterError};
use crate::protocol::UserId;

/// How often it is looked what is due: how late a timeout may be.
const TICK: Duration = Duration::from_millis(200);

/// How often agents are looked for in the directory.
const ROLL_CALL: Duration = Duration::from_secs(1);

/// Due times fired in one round.
const ROUND: usize = 128;

/// The name of the work.
pub(super) const WORK: &str = "ticket-desk";

/// See the module.
pub(super) struct Timekeeper {
    tickets: Tickets,
    cluster: Cluster,
    called: Instant,
    /// Agents that were not found at the last roll call. The directory is written a moment after a session begins: who is
    /// missed twice is gone.
    missed: BTreeSet<UserId>,
}

/// Why a look at the desk and the directory came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl Timekeeper {
    pub(super) fn new(tickets: Tickets, cluster: Cluster) -> Self {
        Self {
            tickets,
            cluster,
            called: Instant::now(),
            missed: BTreeSet::new(),
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if !self.tickets.policy().enabled {
                continue;
            }
            let turn = tokio::select! {
                () = cancel.cancelled() => return,
                turn = self.turn() => turn,
            };
            if let Err(error) = turn {
                tracing::debug!(%error, "the timers of tickets wait for the store");
            }
        }
    }

    async fn turn(&mut self) -> Result<(), Interrupted> {
        let calls = self.called.elapsed() >= ROLL_CALL;
        if calls {
            self.called = Instant::now();
            let counts = self.tickets.bell().look(|desk, _| DeskCounts::from(desk));
            self.tickets.stats().note(counts.await?);
        }
        let owner = self.cluster.owner_of(WORK).await?;
        if owner != *self.cluster.identity().0 {
            self.missed.clear();
            return Ok(());
        }
        self.fire().await?;
        if calls {
            self.call_the_roll().await?;
        }
        Ok(())
    }

    async fn fire(&self) -> Result<(), Interrupted> {
        let bell = self.tickets.bell();
        for due in bell.store().due(ROUND).await? {
            let command = Command::Fire {
                field: due.field,
                heard: due.heard,
            };
            bell.ask(command).await?;
            self.tickets.stats().fired.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Compares who is said to be there with the directory.
    async fn call_the_roll(&mut self) -> Result<(), Interrupted> {
        // While the directory is being written anew, who is not found may be there.
        if !self.cluster.is_settled() {
            self.missed.clear();
            return Ok(());
        }
        let bell = self.tickets.bell();
        let known = bell.look(|desk, _| {
            let agents = desk.agents();
            let known = agents.map(|(agent, _)| (agent.id.clone(), agent.connected));
            known.collect::<Vec<_>>()
        });
        let known = known.await?;
        let users: Vec<UserId> = known.iter().map(|(agent, _)| agent.clone()).collect();
        if users.is_empty() {
            return Ok(());
        }
        let found = self.cluster.nodes_of(&users).await?;
        let mut missed = BTreeSet::new();
        for ((agent, connected), nodes) in known.into_iter().zip(found) {
            let is_there = !nodes.is_empty();
            let again = self.missed.contains(&agent);
            if connected && !is_there && !again {
                missed.insert(agent);
            } else if connected != is_there {
                let connected = is_there;
                bell.ask(Command::Presence { agent, connected }).await?;
            }
        }
        self.missed = missed;
        Ok(())
    }
}
