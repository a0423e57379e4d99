//! Words of readers of which nobody knows whether the log has them: its answer was lost, or there is no connection to it.
//!
//! They are said again with the moment at which they were said first: what the log took at that moment is news once more, and
//! so the sender hears of it. Each is said again after a pause, and goes to the back when it fails once more. They are this node's: if it ends before the log answers, a receipt may be missing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Delivery;
use crate::cluster::ClusterError;
use crate::log::AckState;
use crate::protocol::{LogId, UserId};

/// Words that wait to be said again. Those beyond it are not: who said them has heard that they were not taken.
const QUEUE: usize = 1024;
/// Of these, words that met no connection may have so many: as a rule the log has none of them.
const UNSENT: usize = QUEUE / 2;
/// Words that are said again at once: together they wait for the log as long as one.
const AT_ONCE: usize = 32;
/// The pause before a word is said again.
const PAUSE: Duration = Duration::from_millis(500);
/// For so long one is.
const PATIENCE: Duration = Duration::from_mins(10);

/// A reader's word for messages of one id.
#[derive(Debug)]
pub(super) struct Saying {
    pub(super) log: LogId,
    pub(super) user: UserId,
    pub(super) id: String,
    /// Of whose messages; `None`: of every sender's.
    pub(super) sender: Option<String>,
    pub(super) state: AckState,
    /// When it was said first, Unix time in milliseconds.
    pub(super) at: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Unanswered {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// The task that says them again.
pub(super) struct Sayings {
    words: mpsc::Receiver<Waiting>,
    back: mpsc::Sender<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    saying: Arc<Saying>,
    due: Instant,
    until: Instant,
    /// Its place in the queue, also while it is said: who comes meanwhile does not take it.
    _place: OwnedSemaphorePermit,
}

impl Unanswered {
    pub(super) fn new() -> (Self, Sayings) {
        let (queue, words) = mpsc::channel(QUEUE);
        let back = queue.clone();
        let room = Arc::new(Semaphore::new(QUEUE));
        (Self { queue, room }, Sayings { words, back })
    }

    /// Has a word said again that came to this.
    pub(super) fn keep(&self, saying: Saying, met: &ClusterError) {
        let spare = match met {
            ClusterError::Disconnected => QUEUE - UNSENT,
            _ => 0,
        };
        let free = self.room.available_permits();
        let place = self.room.clone().try_acquire_owned();
        let Some(place) = place.ok().filter(|_| free > spare) else {
            tracing::debug!("an acknowledgement is not tried again: too many wait");
            return;
        };
        let now = Instant::now();
        let waiting = Waiting {
            saying: Arc::new(saying),
            due: now + PAUSE,
            until: now + PATIENCE,
            _place: place,
        };
        if let Err(error) = self.queue.try_send(waiting) {
            tracing::debug!(%error, "an acknowledgement is not tried again");
        }
    }
}

impl Sayings {
    pub(super) async fn run(self, delivery: Delivery, cancel: CancellationToken) {
        let say = |saying: Arc<Saying>| {
            let delivery = delivery.clone();
            async move { delivery.pass_on(&saying).await }
        };
        cancel.run_until_cancelled(self.say(say)).await;
    }

    async fn say<F>(mut self, say: impl Fn(Arc<Saying>) -> F)
    where
        F: Future<Output = Result<(), ClusterError>>,
    {
        let mut words = Vec::with_capacity(AT_ONCE);
        // All pause equally long, so that who came last is due last.
        while self.words.recv_many(&mut words, AT_ONCE).await > 0 {
            if let Some(last) = words.last() {
                sleep_until(last.due).await;
            }
            let said = join_all(words.iter().map(|word| say(Arc::clone(&word.saying)))).await;
            for (word, outcome) in words.drain(..).zip(said) {
                if let Err(error) = outcome {
                    self.again(word, &error);
                }
            }
        }
    }

    /// Puts a word at the back of the queue.
    fn again(&self, mut word: Waiting, error: &ClusterError) {
        let now = Instant::now();
        let (user, id) = (word.saying.user.clone(), word.saying.id.clone());
        word.due = now + PAUSE;
        // It has its place, so there is room.
        if now >= word.until || self.back.try_send(word).is_err() {
            tracing::debug!(%user, id, %error, "an acknowledgement is not tried any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::timeout;

    use super::*;

    const fn silent() -> ClusterError {
        ClusterError::Deadline {
            operation: "test",
            millis: 1,
        }
    }

    fn saying(number: usize) -> Saying {
        let user = UserId::new("bob").unwrap();
        Saying {
            log: LogId::Inbox(user.clone()),
            user,
            id: number.to_string(),
            sender: None,
            state: AckState::Delivered,
            at: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_words_are_said_again_in_seconds_though_some_fail_each_time() {
        let (unanswered, sayings) = Unanswered::new();
        for number in 0..QUEUE {
            unanswered.keep(saying(number), &silent());
        }
        let said = RefCell::new(Vec::new());
        let say = |saying: Arc<Saying>| {
            let said = &said;
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                said.borrow_mut().push(saying.id.clone());
                let is_refused = saying.id.ends_with('0');
                if is_refused { Err(silent()) } else { Ok(()) }
            }
        };
        let began = Instant::now();
        // All of them are said once within the pause and what the log takes.
        let within = Duration::from_millis(500 + 32 * 20 + 10);
        assert!(timeout(within, sayings.say(say)).await.is_err());
        assert!(began.elapsed() >= PAUSE);
        let mut all: Vec<usize> = said.take().iter().map(|id| id.parse().unwrap()).collect();
        all.truncate(QUEUE);
        all.sort_unstable();
        assert_eq!(all, (0..QUEUE).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_word_that_fails_is_said_every_half_second_for_ten_minutes_and_then_gives_up_its_place()
     {
        let (unanswered, sayings) = Unanswered::new();
        unanswered.keep(saying(0), &silent());
        let times = RefCell::new(0_u64);
        let say = |_: Arc<Saying>| {
            *times.borrow_mut() += 1;
            std::future::ready(Err(silent()))
        };
        assert!(timeout(PATIENCE * 2, sayings.say(say)).await.is_err());
        let times = times.take();
        assert!((1190..=1200).contains(&times), "{times}");
        assert_eq!(unanswered.room.available_permits(), QUEUE);
    }

    #[test]
    fn words_that_met_no_connection_leave_room_for_those_that_may_have_arrived() {
        let (unanswered, mut sayings) = Unanswered::new();
        for number in 0..QUEUE {
            unanswered.keep(saying(number), &ClusterError::Disconnected);
        }
        for number in 0..QUEUE {
            unanswered.keep(saying(QUEUE + number), &silent());
        }
        let mut sent = Vec::new();
        while let Ok(word) = sayings.words.try_recv() {
            sent.push(word.saying.id.parse::<usize>().unwrap());
        }
        let wanted: Vec<_> = (0..UNSENT).chain(QUEUE..QUEUE + QUEUE - UNSENT).collect();
        assert_eq!(sent, wanted);
    }
}
