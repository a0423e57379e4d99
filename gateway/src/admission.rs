//! Who is let in, and how much of what: addresses, lock-out after failed logins, rates, sessions of a user.
//!
//! [`Admission`] is the one handle that listeners, shards and the API share. What it goes by ([`Rules`]) changes while
//! running. It decides from this process' memory and never waits; where there is a Redis, a task of its own exchanges what
//! the nodes have counted, so that limits hold for the cluster soon after and not only for a node.

mod crowd;
mod door;
mod exchange;
mod gate;
mod lockout;
mod memory;
mod rates;
mod rules;
mod seats;
mod window;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::cluster::redis::RedisLink;
use crate::protocol::UserId;
use crate::security::TokenError;
use crate::telemetry::{ApiKind, Instruments, Limit};

pub use crate::cluster::redis::{Seating, Yields};
pub use crowd::Place;
pub use door::{Door, Guest, Room};
pub use gate::{ClientAddress, Turned};
pub use lockout::{Attempt, LockedOut};
pub use memory::{MemoryGauge, MemoryUse};
pub use rates::{RateRules, Sender, SessionMeters, TooMuch};
pub use rules::{LockoutRules, Rules};
pub use seats::SessionRules;

use crowd::Crowd;
use exchange::Exchange;
use lockout::{Lockout, Suspect, blame, claimed_user};
use rates::Rates;
use seats::Seats;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    rules: ArcSwap<Rules>,
    lockout: Lockout,
    rates: Rates,
    seats: Seats,
    handshakes: Arc<Crowd>,
    connections: Arc<Crowd>,
    short_of_memory: AtomicBool,
    http_callers: Arc<Crowd>,
    grpc_callers: Arc<Crowd>,
    /// There once counts are shared.
    link: OnceLock<Arc<RedisLink>>,
    instruments: Instruments,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Admission {
    /// Goes by these rules and counts into these instruments.
    pub fn new(rules: Rules, instruments: Instruments) -> Self {
        Self(Arc::new(Inner {
            rules: ArcSwap::from_pointee(rules),
            lockout: Lockout::default(),
            rates: Rates::default(),
            seats: Seats::default(),
            handshakes: Arc::default(),
            connections: Arc::default(),
            short_of_memory: AtomicBool::new(false),
            http_callers: Arc::default(),
            grpc_callers: Arc::default(),
            link: OnceLock::new(),
            instruments,
        }))
    }

    /// Keeps house from now on, and exchanges counts with the other nodes where there is a Redis. Called once.
    pub fn share(&self, cluster: &Cluster, tasks: &TaskTracker, cancel: CancellationToken) {
        if let Some(link) = cluster.redis() {
            let _first = self.0.link.set(link);
        }
        let exchange = Exchange::new(self.clone(), cluster.clone());
        tasks.spawn(exchange.run(cancel));
    }

    /// Looks at the memory from now on. Called once.
    pub fn watch_memory(&self, gauge: MemoryGauge, tasks: &TaskTracker, cancel: CancellationToken) {
        tasks.spawn(memory::watch(gauge, self.clone(), cancel));
    }

    /// Whether there is memory for one more client.
    pub fn has_memory(&self) -> bool {
        let is_short = self.0.short_of_memory.load(Relaxed);
        if is_short {
            self.met(Limit::Memory);
        }
        !is_short
    }

    /// What it was before.
    fn set_short_of_memory(&self, is_short: bool) -> bool {
        self.0.short_of_memory.swap(is_short, Relaxed)
    }

    /// Goes by other rules from now on. Who may not be here any more is for the shards to close.
    pub fn replace(&self, rules: Rules) {
        self.0.rules.store(Arc::new(rules));
    }

    /// What it goes by now. Not to be kept over an await.
    pub fn rules(&self) -> Guard<Arc<Rules>> {
        self.0.rules.load()
    }

    /// Counts that a limit was met.
    pub fn met(&self, limit: Limit) {
        self.0.instruments.limited(limit);
    }

    /// A handshake that begins on a socket from there, unless there are too many. Trusted proxies bring those of many.
    pub fn handshake(&self, peer: IpAddr) -> Option<Place> {
        let rules = self.rules();
        let limit = rules
            .handshakes_per_address
            .filter(|_| !rules.addresses.trusts(peer));
        let place = self.0.handshakes.enter(peer, limit);
        if place.is_none() {
            self.met(Limit::HandshakesPerAddress);
        }
        place
    }

    /// Room for a connection from there until it begins, unless there are too many.
    pub fn connection(&self, address: IpAddr) -> Option<Place> {
        let limit = self.rules().connections_per_address;
        let place = self.0.connections.enter(address, limit);
        if place.is_none() {
            self.met(Limit::ConnectionsPerAddress);
        }
        place
    }

    /// Room for a caller's connection to an API for as long as it lives, unless there are too many from there. Each API
    /// counts its own. Trusted proxies bring those of many.
    fn caller(&self, api: ApiKind, peer: IpAddr) -> Option<Place> {
        let rules = self.rules();
        let limit = rules
            .connections_per_address
            .filter(|_| !rules.addresses.trusts(peer));
        let (callers, met) = match api {
            ApiKind::Http => (&self.0.http_callers, Limit::HttpCallers),
            ApiKind::Grpc => (&self.0.grpc_callers, Limit::GrpcCallers),
        };
        let place = callers.enter(peer, limit);
        if place.is_none() {
            self.met(met);
        }
        place
    }

    /// A connection from there has begun. It has no place of its own to hold: there are many, and most are idle.
    pub fn connected(&self, address: IpAddr) {
        self.0.connections.join(address);
    }

    /// It has ended.
    pub fn disconnected(&self, address: IpAddr) {
        self.0.connections.leave(address);
    }

    /// What the messages of a session are counted by.
    pub fn meters(&self, user: &UserId, address: IpAddr) -> SessionMeters {
        self.0.rates.of(user, address)
    }

    /// Whether an address may show a token or a key at all.
    pub fn may_try(&self, attempt: Attempt, address: IpAddr) -> Result<(), LockedOut> {
        self.look(&Suspect::of(attempt, address))
    }

    /// The same for the user that a token names, whoever signed it: asked before its signature is checked.
    pub fn may_try_token(&self, address: IpAddr, token: &str) -> Result<(), LockedOut> {
        self.may_try(Attempt::Token, address)?;
        if !self.0.lockout.has_users() {
            return Ok(());
        }
        match claimed_user(token) {
            Some(user) => self.look(&Suspect::user(address, &user)),
            None => Ok(()),
        }
    }

    /// Notes what became of a token.
    pub fn tried_token<T>(&self, address: IpAddr, token: &str, outcome: &Result<T, TokenError>) {
        match outcome {
            Ok(_) => {
                self.0.lockout.forget(&Suspect::of(Attempt::Token, address));
                if self.0.lockout.has_users()
                    && let Some(user) = claimed_user(token)
                {
                    self.0.lockout.forget(&Suspect::user(address, &user));
                }
            }
            Err(error) => {
                if let Some(suspect) = blame(*error, address, token) {
                    self.failed(suspect);
                }
            }
        }
    }

    /// Notes that an API key was wrong.
    pub fn wrong_key(&self, address: IpAddr) {
        self.failed(Suspect::of(Attempt::ApiKey, address));
    }

    /// Notes that an API key was right.
    pub fn right_key(&self, address: IpAddr) {
        let suspect = Suspect::of(Attempt::ApiKey, address);
        self.0.lockout.forget(&suspect);
    }

    fn look(&self, suspect: &Suspect) -> Result<(), LockedOut> {
        if self.rules().lockout.is_none() {
            return Ok(());
        }
        let free = self.0.lockout.judge(suspect, Instant::now());
        if free.is_err() {
            self.met(Limit::LockedOut);
        }
        free
    }

    fn failed(&self, suspect: Suspect) {
        if let Some(rules) = self.rules().lockout {
            self.0.lockout.failed(suspect, rules, Instant::now());
        }
    }
}
