//! `Returns`: what becomes of a message that reached a node after its recipient had left it.
//!
//! The receiving node sends it back to where it came from, with those users it did not find; there the directory is asked
//! anew and the message goes out once more, to whichever other nodes hold them now. Only once: what is sent again is not
//! sent back again. And only where there was one node to send to, so that nobody gets a message twice; for the same reason
//! the sender's own node, which may have delivered it already, is left out. A message that takes this way may arrive after
//! a later one. Bounded in number; past that it is dropped and counted, as any message between nodes may be.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::canary::describe;
use super::shared::Shared;
use super::status::bump;
use super::{Broker, ClusterError, Destination, Directory, envelope};
use crate::protocol::{NodeId, Parcel, UserId};

/// Messages on their way back that may wait; there are few unless a node has just sent its users away.
const QUEUE: usize = 1_024;

/// One message on its way back.
pub(super) enum Return {
    /// Nobody of these users is here: back to the node that sent it.
    Back(NodeId, Vec<UserId>, Parcel),
    /// It came back: look again.
    Again(Vec<UserId>, Parcel),
}

/// Where they are handed in. Never blocks.
#[derive(Clone)]
pub(super) struct ReturnDesk {
    queue: mpsc::Sender<Return>,
    shared: Arc<Shared>,
}

impl ReturnDesk {
    pub(super) fn hand_in(&self, what: Return) {
        if self.queue.try_send(what).is_err() {
            bump(&self.shared.stats.returns_dropped);
        }
    }
}

/// See the module.
pub(super) struct Returns {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) broker: Arc<dyn Broker>,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Return>,
}

/// The desk and where its queue ends.
pub(super) fn returns(shared: Arc<Shared>) -> (ReturnDesk, Waiting) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let desk = ReturnDesk {
        queue: sender,
        shared: shared.clone(),
    };
    (desk, Waiting { shared, queue })
}

/// Returns that have nobody yet to do them.
pub(super) struct Waiting {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Return>,
}

impl Waiting {
    pub(super) fn over(self, directory: Arc<dyn Directory>, broker: Arc<dyn Broker>) -> Returns {
        Returns {
            directory,
            broker,
            shared: self.shared,
            queue: self.queue,
        }
    }
}

impl Returns {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        loop {
            let next = tokio::select! {
                () = cancel.cancelled() => return,
                next = self.queue.recv() => next,
            };
            let Some(next) = next else { return };
            let done = tokio::select! {
                () = cancel.cancelled() => return,
                done = self.carry(next) => done,
            };
            if let Err(error) = done {
                self.shared.stats.failed(&error);
                tracing::debug!(
                    error = describe(&error),
                    "a message whose recipient had left could not be sent on"
                );
            }
        }
    }

    async fn carry(&self, what: Return) -> Result<(), ClusterError> {
        self.shared.check()?;
        let me = &self.shared.identity;
        let batch = match what {
            Return::Back(node, users, parcel) => {
                vec![(
                    Destination::Node(node),
                    envelope::returned(me, &users, &parcel),
                )]
            }
            Return::Again(users, parcel) => {
                bump(&self.shared.stats.resent);
                let mut batch = Vec::new();
                let found = self.directory.nodes_of(&users).await?;
                for (user, nodes) in users.iter().zip(found) {
                    for node in nodes.into_iter().filter(|node| *node != me.node) {
                        batch.push((
                            Destination::Node(node),
                            envelope::deliver_once(me, [user], &parcel),
                        ));
                    }
                }
                batch
            }
        };
        if batch.is_empty() {
            return Ok(());
        }
        self.broker.publish(batch).await.map(drop)
    }
}
