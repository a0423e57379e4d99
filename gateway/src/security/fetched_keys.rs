//! `FetchedKeys`: a set of keys that is fetched from somewhere, as those who judge tokens see it.
//!
//! Nothing here speaks to anyone: whoever fetches (`jwks`) stores what it got and is told here that it is wanted. However
//! many ask, and however often, there is one fetch at a time and a pause between two.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::KeySet;

/// See the module.
pub struct FetchedKeys {
    current: ArcSwapOption<KeySet>,
    wanted: Notify,
    rounds: watch::Sender<Round>,
    cooldown: Duration,
    patience: Duration,
}

/// What became of the last fetch.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// When it was over; `None`: there was none.
    pub ended: Option<Instant>,
    /// Why it failed; `None`: it did not.
    pub problem: Option<String>,
}

impl FetchedKeys {
    /// No keys yet. `cooldown`: the pause between two fetches; `patience`: how long who asks waits for one.
    pub fn new(cooldown: Duration, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwapOption::empty(),
            wanted: Notify::new(),
            rounds: watch::Sender::default(),
            cooldown,
            patience,
        })
    }

    /// The last set that was read.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.current.load_full()
    }

    /// How the last fetch went.
    pub fn last(&self) -> Round {
        self.rounds.borrow().clone()
    }

    /// What is wrong with them, for whoever runs the gateway.
    pub fn trouble(&self) -> Option<String> {
        let known = self.current().map(|keys| keys.len());
        match (self.last().problem, known) {
            (None, None) => {
                Some("tokens: no keys could be fetched yet to judge them by".to_owned())
            }
            (Some(why), None) => Some(format!(
                "tokens: no keys could be fetched yet to judge them by: {why}"
            )),
            (Some(why), Some(known)) => Some(format!(
                "tokens: their keys cannot be fetched, the {known} that are known stay: {why}"
            )),
            (None, Some(0)) => {
                Some("tokens: the set holds no key that fits, so none is believed".to_owned())
            }
            (None, Some(_)) => None,
        }
    }

    /// Whether there are other keys than these by now, after a fetch if there was none just before.
    pub async fn renewed(&self, seen: Option<&Arc<KeySet>>) -> bool {
        let mut rounds = self.rounds.subscribe();
        // One that ended meanwhile has been waited for by somebody else.
        if self.current().as_ref().map(Arc::as_ptr) != seen.map(Arc::as_ptr) {
            return true;
        }
        if !self.is_due() {
            return false;
        }
        self.wanted.notify_one();
        let came = timeout(self.patience, rounds.changed()).await;
        came.is_ok_and(|ended| ended.is_ok()) && rounds.borrow().problem.is_none()
    }

    /// Whether the pause since the last fetch is over.
    pub fn is_due(&self) -> bool {
        let ended = self.rounds.borrow().ended;
        ended.is_none_or(|at| at.elapsed() >= self.cooldown)
    }

    /// Resolves when somebody wants a fetch.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Notes what a fetch came to. One that failed leaves the keys that are there.
    pub fn store(&self, fetched: Result<KeySet, String>) {
        let problem = match fetched {
            Ok(keys) => {
                self.current.store(Some(Arc::new(keys)));
                None
            }
            Err(problem) => Some(problem),
        };
        let ended = Some(Instant::now());
        self.rounds.send_replace(Round { ended, problem });
    }
}

impl fmt::Debug for FetchedKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.current().map(|keys| keys.len());
        out.debug_struct("FetchedKeys")
            .field("keys", &keys)
            .field("last", &self.last())
            .finish_non_exhaustive()
    }
}
