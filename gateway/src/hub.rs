//! This node's sessions: shards, one per core, each with its sessions, outboxes, dirty list and timing wheel.
//!
//! [`Hub`] is the handle that any thread may hold: it knows which shards a user is on and posts one command to each shard
//! concerned. What a shard does with it happens on the shard's own thread, in [`shard`], without locks.

mod announced;
mod command;
mod drain;
mod group_index;
mod groups;
mod local_node;
mod outgoing;
mod roster;
mod shard;
mod stats;
mod thread;
mod turned_away;
mod user_index;
mod wheel;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::cluster::SessionRecord;
use crate::protocol::UserId;
use crate::settings::Settings;

use announced::Announced;
pub use command::{Command, KickWhom, Movable, Recipients, SessionKey};
pub use drain::{Departure, DrainPlan, Turns};
pub use group_index::GroupIndex;
pub use groups::HubGroups;
pub use outgoing::Outgoing;
pub use roster::{Asked, Learnt, Roster, Stay};
pub use shard::{Later, Passed, Question, Shard, ShardContext, unix_millis};
pub use stats::{ShardStats, StatsSnapshot};
pub use thread::{ShardThread, spawn};
pub use turned_away::TurnedAway;
pub use user_index::{MAX_SHARDS, ShardId, ShardSet, UserIndex};

/// Commands that wait for a shard. A shard takes all it finds in one turn, so a full queue means a shard that is far
/// behind; senders then wait, which is the back-pressure that ends at the socket of whoever sends too much.
const COMMANDS: usize = 8 * 1024;

/// How long an outsider waits for a shard's answer.
const ANSWER: Duration = Duration::from_secs(5);

/// One shard, seen from outside.
#[derive(Debug)]
pub struct ShardHandle {
    commands: mpsc::Sender<Command>,
    stats: Arc<ShardStats>,
    /// Sockets handed over whose handshake is not over.
    pending: AtomicUsize,
    /// Counts the turns of the shard's timer: a shard whose pulse stands still is stuck.
    pulse: AtomicU64,
}

impl ShardHandle {
    /// How many commands wait.
    pub fn waiting(&self) -> u64 {
        (self.commands.max_capacity() - self.commands.capacity()) as u64
    }

    /// The shard's counters.
    pub fn stats(&self) -> &ShardStats {
        &self.stats
    }

    /// Sockets handed over whose handshake is not over.
    pub const fn pending(&self) -> &AtomicUsize {
        &self.pending
    }

    /// Counts turns of the shard's timer.
    pub const fn pulse(&self) -> &AtomicU64 {
        &self.pulse
    }
}

/// All shards of this node.
#[derive(Debug)]
pub struct Hub {
    shards: Box<[ShardHandle]>,
    users: UserIndex,
    groups: HubGroups,
    announced: Announced,
    user_types: Mutex<BTreeMap<Arc<str>, u64>>,
    /// What backends send; nobody's shard.
    api: ShardStats,
}

/// The receiving end of a shard's queue, for its thread.
#[derive(Debug)]
pub struct ShardInbox {
    /// The shard's number.
    pub id: ShardId,
    /// Its commands.
    pub commands: mpsc::Receiver<Command>,
}

impl Hub {
    /// A hub of so many shards (1 to [`MAX_SHARDS`]), and what their threads need.
    pub fn new(shards: usize) -> (Arc<Self>, Vec<ShardInbox>) {
        let mut inboxes = Vec::new();
        let handles = (0..shards.clamp(1, MAX_SHARDS)).map(|id| {
            let (sender, commands) = mpsc::channel(COMMANDS);
            inboxes.push(ShardInbox {
                id: ShardId::try_from(id).unwrap_or_default(),
                commands,
            });
            ShardHandle {
                commands: sender,
                stats: Arc::default(),
                pending: AtomicUsize::new(0),
                pulse: AtomicU64::new(0),
            }
        });
        let shards = handles.collect();
        (
            Arc::new(Self {
                shards,
                users: UserIndex::new(),
                groups: HubGroups::default(),
                announced: Announced::default(),
                user_types: Mutex::default(),
                api: ShardStats::default(),
            }),
            inboxes,
        )
    }

    /// Every shard, in order.
    pub fn shards(&self) -> &[ShardHandle] {
        &self.shards
    }

    /// Which shards a user is on.
    pub const fn users(&self) -> &UserIndex {
        &self.users
    }

    /// What this node knows of groups.
    pub const fn groups(&self) -> &HubGroups {
        &self.groups
    }

    /// Sessions by user type; the types are those that the configuration allows.
    pub const fn user_types(&self) -> &Mutex<BTreeMap<Arc<str>, u64>> {
        &self.user_types
    }

    /// Live connections.
    pub fn connections(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.stats.connections.load(Relaxed))
            .sum()
    }

    /// Handshakes under way.
    pub fn pending(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.pending.load(Relaxed))
            .sum()
    }

    /// The shard with the fewest connections and pending handshakes.
    pub fn least_loaded(&self) -> Option<(ShardId, &ShardHandle)> {
        let load = |shard: &ShardHandle| {
            shard.stats.connections.load(Relaxed) + shard.pending.load(Relaxed) as u64
        };
        let numbered = (0..).zip(self.shards.iter());
        numbered.min_by_key(|(_, shard)| load(shard))
    }

    /// Posts a command without waiting; gives it back when the shard's queue is full or the shard has ended.
    pub fn try_post(&self, shard: ShardId, command: Command) -> Result<(), Command> {
        match self.shards.get(usize::from(shard)) {
            Some(handle) => handle
                .commands
                .try_send(command)
                .map_err(|error| match error {
                    mpsc::error::TrySendError::Full(command)
                    | mpsc::error::TrySendError::Closed(command) => command,
                }),
            None => Err(command),
        }
    }

    /// Posts a command, waiting for room. A shard that has ended takes nothing.
    pub async fn post(&self, shard: ShardId, command: Command) {
        if let Some(handle) = self.shards.get(usize::from(shard)) {
            // An error means the shard has ended, and its sessions with it.
            let _ended = handle.commands.send(command).await;
        }
    }

    /// Puts a message into the outbox of every session of these users; how many sessions each had.
    pub async fn deliver(&self, users: &[UserId], message: &Outgoing) -> Vec<usize> {
        let mut counts = Vec::with_capacity(users.len());
        for user in users {
            let (shards, sessions) = self.users.find(user);
            for shard in shards.iter() {
                let to = Recipients::User(user.clone());
                self.post(
                    shard,
                    Command::Deliver {
                        to,
                        message: message.clone(),
                    },
                )
                .await;
            }
            counts.push(sessions);
        }
        counts
    }

    /// Puts a message into the outbox of every session; how many there were.
    async fn give_to_all(&self, message: &Outgoing) -> usize {
        for shard in self.numbers() {
            self.post(
                shard,
                Command::Deliver {
                    to: Recipients::All,
                    message: message.clone(),
                },
            )
            .await;
        }
        self.sessions_total()
    }

    /// Ends sessions; how many.
    pub async fn kick(&self, whom: KickWhom, reason: &str) -> usize {
        let answers = self.ask(|answer| Command::Kick {
            whom: whom.clone(),
            reason: reason.into(),
            answer,
        });
        answers.await.into_iter().sum()
    }

    /// Has sessions ended without waiting for how many: what comes next must not wait for the slowest shard's turn.
    pub async fn order_kick(&self, whom: KickWhom, reason: &str) {
        let reason: Arc<str> = reason.into();
        for shard in self.numbers() {
            let command = Command::Kick {
                whom: whom.clone(),
                reason: reason.clone(),
                answer: oneshot::channel().0,
            };
            self.post(shard, command).await;
        }
    }

    /// Has every shard go by these settings from now on.
    pub async fn reload(&self, settings: &Arc<Settings>) {
        for shard in self.numbers() {
            self.post(shard, Command::Reload(Arc::clone(settings)))
                .await;
        }
    }

    /// Has every shard end the sessions whose tokens were taken back; does not wait until they have.
    pub async fn end_revoked(&self) {
        for shard in self.numbers() {
            self.post(shard, Command::EndRevoked).await;
        }
    }

    /// Every authenticated session; `None` when a shard did not answer in time.
    pub async fn sessions(&self) -> Option<Vec<SessionRecord>> {
        let answers = self.ask(Command::Snapshot).await;
        (answers.len() == self.shards.len()).then(|| answers.into_iter().flatten().collect())
    }

    /// Sessions of at least this age, at most so many of each shard, those quiet for longest.
    pub async fn movable(&self, min_age: Duration, most: usize) -> Vec<Movable> {
        let answers = self.ask(|answer| Command::Movable(min_age, most, answer));
        answers.await.into_iter().flatten().collect()
    }

    /// Tells a session to reconnect, to a node with more room.
    pub async fn send_away(&self, session: &Movable) {
        self.post(session.shard, Command::SendAway(session.key))
            .await;
    }

    /// Sums of all counters.
    pub fn stats(&self) -> StatsSnapshot {
        let mut sums = StatsSnapshot {
            users: self.users.len() as u64,
            ..StatsSnapshot::default()
        };
        sums.add(&self.api);
        for shard in &self.shards {
            sums.add(&shard.stats);
        }
        let by_type = self.user_types.lock();
        sums.by_user_type = by_type
            .iter()
            .map(|(kind, count)| (kind.to_string(), *count))
            .collect();
        sums
    }

    /// Counts a message from a backend.
    pub fn count_api_message(&self, bytes: usize) {
        self.api.messages_received.fetch_add(1, Relaxed);
        self.api.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    /// Authenticated sessions.
    pub fn sessions_total(&self) -> usize {
        let total: u64 = self.user_types.lock().values().sum();
        usize::try_from(total).unwrap_or(usize::MAX)
    }

    fn numbers(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..).take(self.shards.len())
    }

    /// Asks every shard and collects the answers; one that does not answer in time is left out.
    async fn ask<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
        let deadline = Instant::now() + ANSWER;
        let mut waiting = Vec::new();
        for shard in self.numbers() {
            let (sender, receiver) = oneshot::channel();
            // A post that times out drops the sender, and the answer with it.
            let _late = timeout_at(deadline, self.post(shard, command(sender))).await;
            waiting.push(receiver);
        }
        let mut answers = Vec::new();
        for receiver in waiting {
            if let Ok(Ok(answer)) = timeout_at(deadline, receiver).await {
                answers.push(answer);
            }
        }
        answers
    }
}
