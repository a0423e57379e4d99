//! The admin port: is the process alive, does it take clients, what does it count, and please leave.
//!
//! It runs on a thread and a runtime of its own, so that a gateway whose other threads are stuck still answers the
//! kubelet, and answers truthfully: `/livez` asks whether the shards turn. It holds no state; everything comes from an
//! [`AdminSource`], which must answer without waiting. Not for clients: bound to a port that no Service of theirs names. Anybody
//! may ask; only the pod itself may tell it to leave.

mod routes;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use routes::admin_router;

use crate::admission::Door;
use crate::api::{MAX_CONNECTIONS, serve_http};

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not all listeners are open yet.
    Starting,
    /// As it should be.
    Serving,
    /// Leaving: clients are being told.
    Draining,
    /// Done.
    Stopped,
}

impl Phase {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// How it stands with Redis, or etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisState {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// The gateway runs without.
    None,
}

impl RedisState {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::None => "none",
        }
    }
}

/// Whether clients should be sent here, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The verdict.
    pub ready: bool,
    /// The phase.
    pub phase: Phase,
    /// Redis.
    pub redis: RedisState,
    /// etcd; nothing where nodes are not registered there. Down alone is no reason to send clients elsewhere: what was
    /// granted holds until it runs out, and then the node leaves the cluster.
    pub etcd: Option<RedisState>,
    /// Whether a newer process has this node's name.
    pub fenced: bool,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
}

/// What `/status` says; the operator reads it to write the resource's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// This node.
    pub node: String,
    /// Its incarnation.
    pub epoch: u64,
    /// Where it is in its life.
    pub phase: Phase,
    /// Live connections.
    pub connections: u64,
    /// Users with a session here.
    pub users: u64,
    /// Sessions that a drain has still to tell.
    pub remaining: u64,
    /// How its connections compare with those of the other nodes.
    pub rebalance: RebalanceStatus,
    /// Redis.
    pub redis: RedisState,
    /// etcd; left out where nodes are not registered there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<RedisState>,
    /// Whether a newer process has this node's name.
    pub fenced: bool,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
    /// The other live nodes.
    pub peers: Vec<String>,
    /// How the last change of the configuration went.
    pub reload: ReloadStatus,
}

/// How a node's connections compare with those of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RebalanceStatus {
    /// Connections beyond what the bounds allow.
    pub surplus: u64,
    /// Sessions that the round under way has still to tell.
    pub remaining: u64,
    /// Sessions told since the node began.
    pub moved: u64,
}

/// How it stands with changes of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadStatus {
    /// Why the files' configuration is refused, each with its key; empty: the gateway goes by it.
    pub problems: Vec<String>,
    /// Keys whose change waits for a new process.
    pub waiting_for_restart: Vec<String>,
}

/// Where the answers come from. Every call returns at once, whatever state the gateway is in.
pub trait AdminSource: Send + Sync + 'static {
    /// Whether every shard has turned lately.
    fn live(&self) -> bool;
    /// Whether clients should be sent here.
    fn readiness(&self) -> Readiness;
    /// What the node is doing.
    fn status(&self) -> NodeStatus;
    /// Whether there are metrics to be shown.
    fn shows_metrics(&self) -> bool {
        true
    }
    /// All metrics as `OpenMetrics` text.
    fn metrics(&self) -> Result<String, fmt::Error>;
    /// Begins the drain, if it has not begun.
    fn request_drain(&self);
    /// Where the node is in its life, and what becomes of that.
    fn phase(&self) -> watch::Receiver<Phase>;
}

/// The running admin port. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    cancel: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Serves on a thread of its own.
    pub fn spawn(listener: TcpListener, source: Arc<dyn AdminSource>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let serve = move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let door = Door::new(MAX_CONNECTIONS);
                        serve_http((listener, door), admin_router(source), None, stop).await;
                    }
                    Err(error) => tracing::error!(%error, "the admin port cannot be served"),
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("wsc-admin".to_owned())
            .spawn(serve)?;
        Ok(Self {
            address,
            cancel,
            thread: Some(thread),
        })
    }

    /// What it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what is being asked, then ends. Blocks the calling thread for as long.
    pub fn shutdown(mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin thread panicked");
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
