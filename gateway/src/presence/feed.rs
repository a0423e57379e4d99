//! `Feed`: the changes of presence for one reader, such as a hook, as events. The one node that owns the reader's work passes
//! them on; how far it has come is kept where the changes are, so that another goes on from there when it dies. At least
//! once, in order; an event has the same id each time.

use std::time::Duration;

use tokio::time::sleep;

use super::{LOOK, NEWS, Presence, described};
use crate::cluster::{Cluster, ClusterError, Place};
use crate::hub::unix_millis;
use crate::service::Event;

/// A reader that has never read begins with what changed a little before it began: clocks differ.
const SLACK: Duration = Duration::from_secs(2);

/// See the module.
pub struct Feed {
    cluster: Cluster,
    reader: String,
    /// The work, by name.
    work: String,
    began: Place,
    /// Up to where everything is passed on; nothing as long as this node is not the owner.
    done: Option<Place>,
    /// Up to where has been read.
    read: Place,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Feed")
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// For the reader of this name.
    pub fn new(cluster: Cluster, reader: &str) -> Self {
        let slack = u64::try_from(SLACK.as_millis()).unwrap_or_default();
        let began = Place {
            millis: unix_millis().saturating_sub(slack),
            number: 0,
        };
        Self {
            cluster,
            reader: reader.to_owned(),
            work: format!("events {reader}"),
            began,
            done: None,
            read: began,
        }
    }

    /// Waits until this node is to pass something on. Until [`Feed::done`] is called the same comes again.
    pub async fn next(&mut self, most: usize) -> Vec<Event> {
        loop {
            match self.read(most).await {
                Ok(events) if events.is_empty() => sleep(NEWS).await,
                Ok(events) => return events,
                Err(error) => {
                    tracing::debug!(reader = self.reader, %error, "events cannot be read");
                    sleep(LOOK).await;
                }
            }
        }
    }

    async fn read(&mut self, most: usize) -> Result<Vec<Event>, ClusterError> {
        if self.cluster.owner_of(&self.work).await? != *self.cluster.identity().0 {
            self.done = None;
            return Ok(Vec::new());
        }
        let book = self.cluster.presence();
        let after = match self.done {
            Some(done) => done,
            None => book.mark(&self.reader).await?.unwrap_or(self.began),
        };
        let changes = book.changes(after, most).await?;
        self.done = Some(after);
        self.read = changes.last().map_or(after, |(place, _)| *place);
        Ok(changes.iter().map(|(_, change)| event(change)).collect())
    }

    /// What came last is passed on. If that cannot be noted now, it is with the next; only a node that takes over meanwhile
    /// passes it on again.
    pub async fn done(&mut self) {
        self.done = self.done.map(|done| done.max(self.read));
        if let Err(error) = self
            .cluster
            .presence()
            .set_mark(&self.reader, self.read)
            .await
        {
            tracing::debug!(reader = self.reader, %error, "what was passed on cannot be noted");
        }
    }
}

fn event(change: &Presence) -> Event {
    let name = if change.online {
        Event::ONLINE
    } else {
        Event::OFFLINE
    };
    Event {
        id: format!("{}@{}", change.user, change.generation),
        name: name.to_owned(),
        time: change.at(),
        subject: Some(change.user.to_string()),
        data: described(change),
    }
}
