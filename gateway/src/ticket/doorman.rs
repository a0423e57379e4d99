//! `Doorman`: tells the desk of agents whose sessions begin on this node, until it has heard, and again of those who are here
//! and whom it does not know or takes for gone: its store may have lost them, or there were no tickets when they came. That
//! they go, the roll call of the timekeeper notices.
//!
//! What waits is at most one entry an agent, so nothing is dropped however many come at once or however long Redis is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::timekeeper::Interrupted;
use super::{Command, DeskError, Queue, Tickets};
use crate::cluster::Cluster;
use crate::protocol::UserId;

/// The pause before the desk is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked whether the desk knows who is here.
const ROUND: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Of whom the desk is to be told, and what they can do.
    agents: Mutex<BTreeMap<UserId, Queue>>,
    /// Who has come and may be here still.
    here: Mutex<BTreeMap<UserId, Queue>>,
    wake: Notify,
}

/// Where arrivals are noted.
#[derive(Clone, Debug)]
pub(super) struct Door(Arc<Arrivals>);

impl Door {
    pub(super) fn new() -> (Self, Arc<Arrivals>) {
        let arrivals = Arc::<Arrivals>::default();
        (Self(arrivals.clone()), arrivals)
    }

    /// An agent's session has begun, or says anew what the agent can do. Never waits.
    pub(super) fn arrived(&self, agent: UserId, skills: Queue) {
        self.0.here.lock().insert(agent.clone(), skills.clone());
        self.0.agents.lock().insert(agent, skills);
        self.0.wake.notify_one();
    }
}

/// See the module.
pub(super) struct Doorman {
    pub(super) tickets: Tickets,
    pub(super) cluster: Cluster,
    pub(super) arrivals: Arc<Arrivals>,
}

impl Doorman {
    pub(super) async fn run(self, cancel: CancellationToken) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_round = tokio::select! {
                () = cancel.cancelled() => return,
                () = self.arrivals.wake.notified() => false,
                _ = rounds.tick() => true,
            };
            if !self.tickets.policy().enabled {
                continue;
            }
            if is_round {
                let looked = tokio::select! {
                    () = cancel.cancelled() => return,
                    looked = self.look_round() => looked,
                };
                if let Err(error) = looked {
                    tracing::debug!(%error, "which agents the desk does not know cannot be seen now");
                }
            }
            while let Some((agent, skills)) = self.next() {
                let announced = tokio::select! {
                    () = cancel.cancelled() => return,
                    announced = self.announce(&agent, &skills) => announced,
                };
                if let Err(error) = announced {
                    tracing::debug!(%agent, %error, "the desk does not know of an agent yet");
                    // A later arrival of the same agent knows better.
                    self.arrivals.agents.lock().entry(agent).or_insert(skills);
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        () = sleep(PAUSE) => {}
                    }
                }
            }
        }
    }

    fn next(&self) -> Option<(UserId, Queue)> {
        self.arrivals.agents.lock().pop_first()
    }

    /// Finds the agents here whom the desk does not know or takes for gone.
    async fn look_round(&self) -> Result<(), Interrupted> {
        let here = self.here();
        if here.is_empty() {
            return Ok(());
        }
        let unknown = self.tickets.bell().look(move |desk, _| {
            let is_known = |agent: &UserId| desk.agent(agent).is_some_and(|known| known.connected);
            let unknown = here.into_iter().filter(|(agent, _)| !is_known(agent));
            unknown.collect::<Vec<_>>()
        });
        let unknown = unknown.await?;
        if unknown.is_empty() {
            return Ok(());
        }
        let users: Vec<UserId> = unknown.iter().map(|(agent, _)| agent.clone()).collect();
        // Whom the directory does not have yet, the roll call would take for gone again.
        let found = self.cluster.nodes_of(&users).await?;
        let mut agents = self.arrivals.agents.lock();
        for ((agent, skills), nodes) in unknown.into_iter().zip(found) {
            if !nodes.is_empty() {
                agents.entry(agent).or_insert(skills);
            }
        }
        Ok(())
    }

    /// The agents with a session here. Those who have gone are forgotten.
    fn here(&self) -> Vec<(UserId, Queue)> {
        let hub = self.tickets.hub();
        let mut here = self.arrivals.here.lock();
        here.retain(|agent, _| hub.users().find(agent).1 > 0);
        here.clone().into_iter().collect()
    }

    /// What it can do first, so that it is given what it can do.
    async fn announce(&self, agent: &UserId, skills: &Queue) -> Result<(), DeskError> {
        let status = Command::Status {
            agent: agent.clone(),
            availability: None,
            skills: Some(skills.clone()),
            max: None,
        };
        let presence = Command::Presence {
            agent: agent.clone(),
            connected: true,
        };
        let bell = self.tickets.bell();
        bell.ask(status).await?;
        bell.ask(presence).await.map(drop)
    }
}
