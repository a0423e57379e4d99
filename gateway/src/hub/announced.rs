//! Which of the stored messages to everyone this node has given to its sessions: each once and in order. Sessions have no
//! place in that log of their own until they have met one, so that those who have met none cannot tell what they missed.

use tokio::sync::{Mutex, Notify};

use super::{Hub, Outgoing};
use crate::protocol::{LogId, Position, Start};
use crate::session::{Cursors, Meet};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Announced {
    /// Held while a message is given to the shards: two of them keep their order.
    place: Mutex<Place>,
    missed: Notify,
}

#[derive(Debug, Default)]
struct Place {
    cursors: Cursors,
    /// Where the log ended when this node first looked. What was stored before then may still be on its way to here.
    began: Option<Position>,
}

impl Hub {
    /// Puts a message into the outbox of every session; how many there were. A stored one that is not the next waits until
    /// those before it are read, and one that was given to them already is not given again: none then.
    pub async fn broadcast(&self, message: &Outgoing) -> usize {
        let Some(mark) = message.mark() else {
            return self.give_to_all(message).await;
        };
        let mut place = self.announced.place.lock().await;
        let began = place.began;
        match place.cursors.meet(&mark.log, mark.position, mark.start) {
            Meet::Next => return self.give_to_all(message).await,
            // Sessions know what they have.
            Meet::Seen if began >= Some(mark.position) => return self.give_to_all(message).await,
            Meet::FellBehind => self.announced.missed.notify_one(),
            Meet::Seen | Meet::Behind => {}
        }
        0
    }

    /// The log of broadcasts ends here. What was before this node first looked is nobody's here.
    pub async fn broadcasts_reach(&self, head: Position) {
        let mut place = self.announced.place.lock().await;
        place.began.get_or_insert(head);
        place.cursors.start(&LogId::Broadcast, head);
        let cursors = &mut place.cursors;
        if cursors.reaches(&LogId::Broadcast, head, Start::Beginning) {
            self.announced.missed.notify_one();
        }
    }

    /// Waits until there are broadcasts to be read from their log.
    pub async fn broadcasts_missed(&self) {
        self.announced.missed.notified().await;
    }

    /// Up to where broadcasts were given to sessions here, and the last that was heard of.
    pub async fn broadcasts_at(&self) -> (Option<Position>, Option<Position>) {
        let cursors = &self.announced.place.lock().await.cursors;
        (
            cursors.at(&LogId::Broadcast),
            cursors.noted(&LogId::Broadcast),
        )
    }

    /// Gives one that was read to every session.
    pub async fn broadcast_read(&self, message: &Outgoing) {
        let mut place = self.announced.place.lock().await;
        if let Some(mark) = message.mark() {
            place.cursors.advance(&mark.log, mark.position);
        }
        self.give_to_all(message).await;
    }

    /// The log was read up to here. `true`: nothing more has come meanwhile. `vanished`: what was heard of before is not there.
    pub async fn broadcasts_read(&self, end: Position, vanished: bool) -> bool {
        let cursors = &mut self.announced.place.lock().await.cursors;
        cursors.advance(&LogId::Broadcast, end);
        if vanished {
            cursors.give_up_noted(&LogId::Broadcast);
        }
        cursors.caught_up(&LogId::Broadcast)
    }
}
