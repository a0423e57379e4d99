//! A chat client as an application would write it: it logs all it sees, with the time, and when its connection
//! ends or it is told to reconnect it comes back with jitter, to any pod that is ready.
//!
//! A test pins the first connection to a pod; later ones go where a Service would send them. The log ([`Log`]) is
//! what tests look at; waiting on it has a deadline.

mod log;
mod session;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::RngExt;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::log::{Entry, Event, Log};
use self::session::{Dial, Ended};
use crate::gateway::Gateway;

/// Messages a client holds while it is not connected; a test that sends more waits.
const OUTGOING: usize = 256;
/// Longest a client takes to get its first welcome.
const FIRST_WELCOME: Duration = Duration::from_secs(30);

/// What a client does when its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Comes back, to any ready pod.
    Return,
    /// Stays away, like a phone that lost its network.
    StayAway,
}

/// Who connects and how.
#[derive(Debug, Clone)]
pub struct Who {
    /// The user's id.
    pub user: String,
    /// Scopes of the token.
    pub scope: String,
    /// The pod of the first connection; any ready one when absent.
    pub pod: Option<String>,
    /// What happens at the end of a connection.
    pub habit: Habit,
}

impl Who {
    /// A user without scopes who returns to any pod.
    pub fn user(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            scope: String::new(),
            pod: None,
            habit: Habit::Return,
        }
    }

    /// The first connection goes to `pod`.
    #[must_use]
    pub fn at(mut self, pod: &str) -> Self {
        self.pod = Some(pod.to_owned());
        self
    }

    /// The token carries `scope`.
    #[must_use]
    pub fn with_scope(mut self, scope: &str) -> Self {
        scope.clone_into(&mut self.scope);
        self
    }

    /// The client does not come back.
    #[must_use]
    pub fn staying_away(mut self) -> Self {
        self.habit = Habit::StayAway;
        self
    }
}

/// A running client. Dropping it hangs up.
pub struct ChatClient {
    user: String,
    log: Arc<Log>,
    outgoing: mpsc::Sender<Value>,
    stop: CancellationToken,
}

impl ChatClient {
    /// Connects and waits for the welcome.
    pub async fn connect(gateway: &Gateway, who: Who) -> Result<Self> {
        let token = gateway.token(&who.user, &who.scope).await?;
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let client = Self {
            user: who.user.clone(),
            log: Arc::new(Log::default()),
            outgoing,
            stop: CancellationToken::new(),
        };
        let life = Life {
            gateway: gateway.clone(),
            token,
            who,
            log: client.log.clone(),
            queue: Mutex::new(queue),
            stop: client.stop.clone(),
        };
        TaskTracker::new().spawn(life.run());
        client
            .await_frame("the welcome", FIRST_WELCOME, |frame| {
                frame["type"] == "welcome"
            })
            .await?;
        Ok(client)
    }

    /// The user's id.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Everything this client saw.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends a frame; while disconnected it waits in the client.
    pub async fn send(&self, frame: Value) -> Result<()> {
        self.outgoing
            .send(frame)
            .await
            .with_context(|| format!("client {} has ended", self.user))
    }

    /// Sends a text to a user.
    pub async fn say(&self, to: &str, content: &str) -> Result<()> {
        self.send(serde_json::json!({"type": "text", "to": to, "content": content}))
            .await
    }

    /// Waits until a frame was seen that `wanted` accepts; frames seen before count.
    pub async fn await_frame(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        self.log
            .find(within, |event| match event {
                Event::Frame(frame) if wanted(frame) => Some(frame.clone()),
                _ => None,
            })
            .await
            .with_context(|| format!("client {} waited for {what}", self.user))
    }

    /// Waits until a text with this content from this user was seen.
    pub async fn await_text(&self, from: &str, content: &str, within: Duration) -> Result<Value> {
        let what = format!("{content:?} from {from}");
        self.await_frame(&what, within, |frame| {
            frame["from"] == from && frame["content"] == content
        })
        .await
    }

    /// The contents of all texts from `from`, in the order they came.
    pub fn texts_from(&self, from: &str) -> Vec<String> {
        self.log
            .frames()
            .iter()
            .filter(|frame| frame["type"] == "text" && frame["from"] == from)
            .filter_map(|frame| frame["content"].as_str().map(str::to_owned))
            .collect()
    }
}

impl Drop for ChatClient {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task behind a client: one connection after the other.
struct Life {
    gateway: Gateway,
    token: String,
    who: Who,
    log: Arc<Log>,
    queue: Mutex<mpsc::Receiver<Value>>,
    stop: CancellationToken,
}

impl Life {
    async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.connections()).await;
    }

    async fn connections(self) {
        let mut pinned = self.who.pod.clone();
        let mut failures = 0;
        loop {
            match self.connection(pinned.take()).await {
                Ok(Ended { code, reason }) => {
                    failures = 0;
                    self.log.push(Event::Closed { code, reason });
                    if self.who.habit == Habit::StayAway {
                        return;
                    }
                }
                Err(error) => {
                    failures += 1;
                    self.log.push(Event::Failed(format!("{error:#}")));
                }
            }
            tokio::time::sleep(jitter(failures)).await;
        }
    }

    async fn connection(&self, pinned: Option<String>) -> Result<Ended> {
        let pod = match pinned {
            Some(pod) => pod,
            None => self.gateway.any_ready_pod().await?,
        };
        let dial = Dial {
            gateway: &self.gateway,
            pod: &pod,
            token: &self.token,
        };
        let socket = session::dial(dial).await?;
        self.log.push(Event::Connected { pod });
        Ok(session::talk(socket, &self.log, &mut *self.queue.lock().await).await)
    }
}

/// A good client spreads its return, and waits longer after each failure.
fn jitter(failures: u32) -> Duration {
    let most = 400_u64.saturating_mul(1 << failures.min(3));
    Duration::from_millis(rand::rng().random_range(50..=most))
}
