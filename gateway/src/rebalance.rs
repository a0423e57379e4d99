//! `Rebalance`: a node with more connections than its share tells sessions to come back, and the others take them up.
//!
//! Each node decides for itself, with every look at the leases, by what they say of the others' load: nobody is asked and
//! nobody commands. [`Balance`] decides, purely; the task here counts, picks who is quiet, and tells them one after the
//! other at a rate, as a drain does. A round ends early when a node comes, goes or begins to drain, or when the
//! configuration says stop.

mod balance;

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_config::RebalanceConfig;

use crate::cluster::{Cluster, Link, View};
use crate::hub::{DrainPlan, Hub, Movable, Turns};
use crate::settings::Settings;

pub use balance::{Balance, Bounds, Rest, Sight, Standing, Verdict};

/// A round tells no more sessions than fit in so many seconds: then everything is looked at anew.
const ROUND_SECONDS: u64 = 30;

/// Longer than any round, which so is paced by its rate alone.
const NO_DEADLINE: Duration = Duration::from_hours(24);

/// What rebalancing has done on this node.
#[derive(Debug, Default)]
pub struct RebalanceStats {
    /// Sessions told to come back.
    pub moves: AtomicU64,
    /// Rounds that told everyone they were to tell.
    pub rounds: AtomicU64,
    /// Rounds that were ended early.
    pub cut_short: AtomicU64,
    /// Connections beyond what the bounds allow, at the last look.
    pub surplus: AtomicU64,
    /// Sessions that the round under way has still to tell.
    pub remaining: AtomicU64,
}

/// See the module.
pub struct Rebalance {
    hub: Arc<Hub>,
    cluster: Cluster,
    settings: Arc<ArcSwap<Settings>>,
    stats: Arc<RebalanceStats>,
    balance: Balance,
}

impl Rebalance {
    /// Starts the task; what it counts.
    pub fn start(
        (hub, cluster): (Arc<Hub>, Cluster),
        settings: Arc<ArcSwap<Settings>>,
        (tasks, running): (&TaskTracker, &CancellationToken),
    ) -> Arc<RebalanceStats> {
        let stats: Arc<RebalanceStats> = Arc::default();
        let rebalance = Self {
            balance: Balance::new(cluster.news_take()),
            stats: stats.clone(),
            hub,
            cluster,
            settings,
        };
        let cancel = running.child_token();
        tasks.spawn(async move { cancel.run_until_cancelled_owned(rebalance.run()).await });
        stats
    }

    async fn run(mut self) {
        let mut peers = self.cluster.peers();
        // An error means the cluster is gone, and this node with it.
        while peers.changed().await.is_ok() {
            let view = peers.borrow_and_update().clone();
            let verdict = self.look(&view);
            self.stats.surplus.store(self.balance.surplus(), Relaxed);
            match verdict {
                Verdict::Rest(why) => {
                    tracing::trace!(why = why.label(), "no session is moved");
                }
                Verdict::Shed(sessions) => self.round(sessions).await,
            }
        }
    }

    fn look(&mut self, view: &View) -> Verdict {
        let config = self.config();
        let sight = self.sight(view);
        let bounds = Bounds {
            absolute: u64::from(config.absolute),
            relative: config.relative,
            round: u64::from(config.rate_per_second) * ROUND_SECONDS,
        };
        self.balance.look(&sight, &bounds, Instant::now())
    }

    fn config(&self) -> RebalanceConfig {
        self.settings.load().rebalance.clone()
    }

    fn sight<'a>(&self, view: &'a View) -> Sight<'a> {
        let standing = if !self.config().enabled {
            Standing::Off
        } else if self.cluster.is_leaving() {
            Standing::Leaving
        } else if view.fenced.is_some() || matches!(self.cluster.status().link, Link::Down { .. }) {
            Standing::Outside
        } else {
            Standing::Member
        };
        Sight {
            standing,
            connections: self.hub.connections(),
            peers: &view.peers,
        }
    }

    /// Tells so many sessions, or as many as may be moved.
    async fn round(&mut self, sessions: u64) {
        let before = self.hub.connections();
        let config = self.config();
        let most = usize::try_from(sessions).unwrap_or(usize::MAX);
        let movable = self.hub.movable(config.min_age.into(), most).await;
        let chosen = quietest(movable, most);
        let told = self.tell(&chosen, &pace(&config)).await;
        self.stats.remaining.store(0, Relaxed);
        self.balance.moved((before, told), Instant::now());
        if told == 0 {
            return tracing::debug!(
                sessions,
                "a surplus stays: every session is too young to be moved"
            );
        }
        let whole = told == chosen.len() as u64;
        let ended = if whole {
            &self.stats.rounds
        } else {
            &self.stats.cut_short
        };
        ended.fetch_add(1, Relaxed);
        tracing::info!(
            told,
            wanted = sessions,
            whole,
            "sessions were told to reconnect, to spread the load"
        );
    }

    /// Tells each in its turn; how many, when the round was over or had to end.
    async fn tell(&self, chosen: &[Movable], pace: &DrainPlan) -> u64 {
        let (began, peers) = (Instant::now(), self.cluster.peers());
        let (mut told, mut turns) = (0, Turns::new(*pace, chosen.len(), 1, rand::random()));
        for (index, session) in chosen.iter().enumerate() {
            self.stats
                .remaining
                .store((chosen.len() - index) as u64, Relaxed);
            let turn = turns.next(1, rand::random());
            sleep_until(began + turn.at).await;
            let view = peers.borrow().clone();
            if !self.balance.may_go_on(&self.sight(&view)) {
                break;
            }
            self.hub.send_away(session).await;
            self.stats.moves.fetch_add(1, Relaxed);
            told += 1;
        }
        told
    }
}

/// One after the other at the rate, however many there are.
fn pace(config: &RebalanceConfig) -> DrainPlan {
    DrainPlan {
        window: Duration::ZERO,
        rate_per_second: f64::from(config.rate_per_second),
        jitter: config.jitter,
        deadline: NO_DEADLINE,
    }
}

/// Who has been quiet for longest misses the least.
fn quietest(mut movable: Vec<Movable>, most: usize) -> Vec<Movable> {
    movable.sort_by_key(|session| Reverse(session.quiet));
    movable.truncate(most);
    movable
}
