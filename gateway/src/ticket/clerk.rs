//! `Clerk`: the one task of a node that works on the desk. Everyone else holds a [`Bell`] and rings for it.
//!
//! It takes what has been asked for together: bring the copy up to date, do all of it, commit it at once. When another
//! node was faster it undoes everything and begins again on the newer version, with a growing, jittered pause and not for
//! ever. Only what was committed is answered and told, and whatever was committed is: a commit whose answer is lost is asked
//! for again by its token until it is known what became of it, and an end in the middle of one waits for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::bell::{Look, Order};
use super::store::{Commit, DeskStore, Loaded, Version, Write};
use super::{Bell, Command, Desk, Event, Field, Millis, Moment, Refusal, Reply, Rules, Ticket};
use crate::cluster::ClusterError;

/// Orders taken at once: what one commit can carry without keeping Redis from its other work.
const BATCH: usize = 64;

/// How long conflicts are tried again before the callers are told to come back.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pause after the first conflict, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(40));

/// Why something asked of the desk was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeskError {
    /// It cannot be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store could not be reached; unless it refused, the step may have been made all the same.
    #[error("the ticket desk cannot be reached")]
    Store(#[source] ClusterError),
    /// Other nodes were faster for too long, or too much is asked for.
    #[error("the ticket desk is busy")]
    Busy,
    /// There are none here.
    #[error("tickets are off (wsc.ticket.enabled)")]
    Off,
    /// The gateway is ending.
    #[error("the ticket desk is closed")]
    Ended,
}

/// What is told of a commit, in the order of commits of this node.
#[derive(Clone, Debug)]
pub struct News {
    /// The version that it made.
    pub version: Version,
    /// What happened.
    pub events: Vec<Event>,
    /// When this commit was asked for first.
    pub asked: Instant,
}

/// What a clerk goes by; a reload swaps it.
#[derive(Clone, Debug)]
pub struct Manual {
    /// The rules.
    pub rules: Rules,
    /// How long closed tickets and records are kept.
    pub keep: Millis,
    /// Whether steps are recorded.
    pub record: bool,
}

/// Counters of a node's clerk.
#[derive(Debug, Default)]
pub struct ClerkStats {
    /// Commits.
    pub commits: AtomicU64,
    /// Commits that another node forestalled.
    pub conflicts: AtomicU64,
    /// Calls that the store failed.
    pub failures: AtomicU64,
    /// News of sessions for which there was no room.
    pub dropped: AtomicU64,
    /// Events for which there was no room on their way to those concerned: they are told later, by whoever tells what was not.
    pub untold: AtomicU64,
    /// Commits whose answer was lost and that turned out to have been made.
    pub found: AtomicU64,
}

/// See the module.
pub struct Clerk {
    orders: mpsc::Receiver<Order>,
    store: Arc<dyn DeskStore>,
    manual: Arc<ArcSwap<Manual>>,
    stats: Arc<ClerkStats>,
    news: mpsc::Sender<News>,
    desk: Desk,
    version: Version,
    /// The commit of which it is not known whether it was made, and when it was asked for first. Nothing else is begun
    /// before that is known, so there is at most one.
    unsettled: Option<(Commit, Instant)>,
    ending: CancellationToken,
}

/// A clerk and the handle to it. What it tells goes to `news`, which it never waits for.
pub fn clerk(store: Arc<dyn DeskStore>, manual: Manual, news: mpsc::Sender<News>) -> (Bell, Clerk) {
    let manual = Arc::new(ArcSwap::from_pointee(manual));
    let stats = Arc::<ClerkStats>::default();
    let (bell, orders) = Bell::new(store.clone(), manual.clone(), stats.clone());
    let clerk = Clerk {
        orders,
        store,
        manual,
        stats,
        news,
        desk: Desk::default(),
        version: Version(0),
        unsettled: None,
        ending: CancellationToken::new(),
    };
    (bell, clerk)
}

impl Clerk {
    /// Works until cancelled. What has been begun is brought to its end: a commit that nobody waits for any more may have
    /// been made, and what was made must be told. The store's deadlines and [`PATIENCE`] bound that.
    pub async fn run(mut self, cancel: CancellationToken) {
        self.ending = cancel.clone();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let forgotten = self.unsettled.is_some();
            tokio::select! {
                () = cancel.cancelled() => break,
                () = sleep(PATIENCE), if forgotten => {
                    // Still unknown: it is asked for again with the next orders, or next time.
                    let _unknown = self.settle_forgotten().await;
                }
                taken = self.orders.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.serve(std::mem::take(&mut batch)).await;
                }
            }
        }
        let _unknown = self.settle_forgotten().await;
    }

    /// Finds out what became of the commit whose answer was lost.
    async fn settle_forgotten(&mut self) -> Result<(), DeskError> {
        let Some((commit, _)) = &self.unsettled else {
            return Ok(());
        };
        let made = self.store.commit(commit).await;
        let made = made.map_err(|error| self.failed(error))?;
        let forgotten = self.unsettled.take();
        if let (Some(version), Some((commit, asked))) = (made, forgotten) {
            self.stats.found.fetch_add(1, Relaxed);
            self.stats.commits.fetch_add(1, Relaxed);
            self.tell((version, asked), commit.events);
        }
        Ok(())
    }

    async fn serve(&mut self, orders: Vec<Order>) {
        let (mut commands, mut answers, mut looks) = (Vec::new(), Vec::new(), Vec::new());
        for order in orders {
            match order {
                Order::Do(command, answer) => {
                    commands.push(command);
                    answers.push(answer);
                }
                Order::Look(look, fail) => looks.push((look, fail)),
            }
        }
        match self.settle(&commands, &mut looks).await {
            Ok(replies) => {
                for (answer, reply) in answers.into_iter().zip(replies) {
                    let _gone = answer.send(reply.map_err(DeskError::Refused));
                }
            }
            Err(error) => {
                for answer in answers {
                    let _gone = answer.send(Err(error.clone()));
                }
                for (_, fail) in looks {
                    let _gone = fail.send(error.clone());
                }
            }
        }
    }

    /// Brings all of it into one commit.
    async fn settle(
        &mut self,
        commands: &[Command],
        looks: &mut Vec<(Look, oneshot::Sender<DeskError>)>,
    ) -> Result<Vec<Result<Reply, Refusal>>, DeskError> {
        let begun = Instant::now();
        let mut pause = PAUSE.0;
        self.settle_forgotten().await?;
        loop {
            let loaded = self.store.load(self.version).await;
            let now = self.take(&loaded.map_err(|error| self.failed(error))?);
            for (look, _) in looks.drain(..) {
                look(&self.desk, now);
            }
            let over = self.over(commands).await?;
            self.desk.know_over(over);
            let manual = self.manual.load_full();
            let replies = self.work(commands, now, &manual.rules);
            if self.desk.changes().is_empty() {
                self.desk.take_changes();
                return Ok(replies);
            }
            let commit = self.write(&manual);
            if let Some(version) = self.commit(commit, begun).await? {
                self.version = version;
                self.stats.commits.fetch_add(1, Relaxed);
                let changes = self.desk.take_changes();
                self.tell((version, begun), changes.events);
                return Ok(replies);
            }
            self.desk.undo();
            self.stats.conflicts.fetch_add(1, Relaxed);
            if begun.elapsed() > PATIENCE {
                return Err(DeskError::Busy);
            }
            sleep(pause.mul_f64(rand::random_range(0.0..1.0))).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// The tickets that are over and that commands would open. A commit needs the version of this node's copy, so what is
    /// closed after this was asked is open there, or forestalls the commit.
    async fn over(&self, commands: &[Command]) -> Result<Vec<Ticket>, DeskError> {
        let mut wanted = Vec::new();
        for command in commands {
            if let Command::Open(new) = command
                && self.desk.ticket(&new.id).is_none()
            {
                wanted.push(new.id.clone());
            }
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let over = self.store.closed(&wanted).await;
        over.map_err(|error| self.failed(error))
    }

    /// Makes it real, asking again as long as it is not known whether it is. If it stays unknown, the step is undone here
    /// and remembered.
    async fn commit(
        &mut self,
        commit: Commit,
        begun: Instant,
    ) -> Result<Option<Version>, DeskError> {
        let mut pause = PAUSE.1;
        loop {
            let error = match self.store.commit(&commit).await {
                Ok(made) => return Ok(made),
                Err(error) => self.failed(error),
            };
            // Whoever ends waits for the answer, not for a store that is away.
            if begun.elapsed() > PATIENCE || self.ending.is_cancelled() {
                self.desk.undo();
                self.unsettled = Some((commit, begun));
                return Err(error);
            }
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause *= 2;
        }
    }

    fn work(
        &mut self,
        commands: &[Command],
        now: Millis,
        rules: &Rules,
    ) -> Vec<Result<Reply, Refusal>> {
        let roll = rand::random();
        let moment = Moment { now, roll };
        let desk = &mut self.desk;
        let work = commands
            .iter()
            .map(|command| desk.apply(command, moment, rules));
        work.collect()
    }

    fn take(&mut self, loaded: &Loaded) -> Millis {
        if loaded.whole {
            self.desk = Desk::default();
        }
        for (field, text) in &loaded.fields {
            self.desk.read(field, text.as_deref());
        }
        self.version = loaded.version;
        loaded.now
    }

    fn write(&self, manual: &Manual) -> Commit {
        let changes = self.desk.changes();
        let write = |field: &Field| {
            let written = self.desk.write(field, &manual.rules);
            let (text, due) = written.map_or((None, None), |(text, due)| (Some(text), due));
            Write {
                field: field.clone(),
                text,
                due,
            }
        };
        let records = changes.events.iter().filter(|_| manual.record);
        Commit {
            token: rand::random(),
            based_on: self.version,
            writes: changes.fields().map(write).collect(),
            events: changes.events.clone(),
            records: records.filter_map(Event::record).collect(),
            closed: changes.closed.clone(),
            keep: manual.keep,
        }
    }

    fn tell(&self, (version, asked): (Version, Instant), events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let lost = events.len() as u64;
        let news = News {
            version,
            events,
            asked,
        };
        if self.news.try_send(news).is_err() {
            self.stats.untold.fetch_add(lost, Relaxed);
        }
    }

    fn failed(&self, error: ClusterError) -> DeskError {
        self.stats.failures.fetch_add(1, Relaxed);
        DeskError::Store(error)
    }
}
