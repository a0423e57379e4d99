//! `Doorman`: tells the desk of agents whose sessions begin on this node, until it has heard. That they go, the roll call of
//! the timekeeper notices.
//!
//! What waits is at most one entry an agent, so nothing is dropped however many come at once or however long Redis is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Bell, Command, DeskError, Queue};
use crate::protocol::UserId;

/// The pause before the desk is asked again.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    agents: Mutex<BTreeMap<UserId, Queue>>,
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

    /// An agent's session has begun. Never waits.
    pub(super) fn arrived(&self, agent: UserId, skills: Queue) {
        self.0.agents.lock().insert(agent, skills);
        self.0.wake.notify_one();
    }
}

/// See the module.
pub(super) struct Doorman {
    pub(super) bell: Bell,
    pub(super) arrivals: Arc<Arrivals>,
}

impl Doorman {
    pub(super) async fn run(self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.arrivals.wake.notified() => {}
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
        self.bell.ask(status).await?;
        self.bell.ask(presence).await.map(drop)
    }
}
