//! `World`: several gateways as processes on one Redis, readers and publishers in this process, and the history of it all.
//!
//! One world at a time: what is measured in one must not suffer from another.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turns, MutexGuard};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wsc_config::GatewayConfig;
use wsc_gateway::protocol::UserId;
use wsc_gateway::security::{JwtSettings, KeySet, Keys, NewToken, Scopes, TokenVerifier};

use crate::gates::Gates;
use crate::history::Report;
use crate::load::history;
use crate::process::{Ports, Process};
use crate::program::replace_file;
use crate::publisher::{PublisherTask, Work, accepted};
use crate::reader::ReaderTask;
use crate::redis::{Scratch, free_port};

const KEY: &str = "0123456789abcdef0123456789abcdef";
pub const API_KEY: &str = "fedcba9876543210fedcba9876543210";
/// How long a node that says nothing is believed to live.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(3);
/// In which everything that was accepted must have arrived once the fault is over, and a busy machine's share of it.
const SETTLED_WITHIN: Duration = Duration::from_secs(40);
/// Whatever would come twice has come: the look at the ends of inboxes happens several times in it.
const QUIET: Duration = Duration::from_millis(1200);

static TURN: Turns<()> = Turns::const_new(());

pub fn token(user: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    token_at(user, now.as_secs())
}

/// A token that was minted then, in Unix seconds.
pub fn token_at(user: &str, now: u64) -> String {
    let config = GatewayConfig::default();
    let security = &config.wsc.security;
    let keys = KeySet::one(security.jwt.algorithm, KEY).unwrap();
    let token = NewToken {
        groups: wsc_gateway::group::GroupPatterns::default(),
        user: UserId::new(user).unwrap(),
        user_type: "customer".into(),
        scopes: Scopes::NONE,
        skills: wsc_gateway::ticket::Queue::default(),
        device: None,
        lifetime: Duration::from_mins(30),
        key_id: None,
    };
    let settings = JwtSettings::from_config(security);
    let verifier = TokenVerifier::new(settings, Keys::Fixed(Arc::new(keys)));
    verifier.mint_at(&token, now).unwrap()
}

/// A port that no other gateway of this process was given.
pub fn port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    loop {
        let port = free_port();
        if GIVEN.lock().get_or_insert_default().insert(port) {
            return port;
        }
    }
}

/// Variables of a gateway's environment.
type Environment = Vec<(&'static str, String)>;

/// Who sends how much to whom.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub readers: usize,
    pub publishers: usize,
    /// In all, at most.
    pub messages: usize,
    /// Between two messages of one publisher.
    pub pause: Duration,
}

impl Load {
    /// As long as a fault lasts: some hundred messages a second.
    pub const STEADY: Self = Self {
        readers: 40,
        publishers: 4,
        messages: usize::MAX,
        pause: Duration::from_millis(8),
    };
}

/// See the module.
pub struct World {
    pub nodes: Vec<Process>,
    pub readers: Vec<ReaderTask>,
    pub gates: Gates,
    publishers: Vec<PublisherTask>,
    quota: usize,
    stop: CancellationToken,
    environment: Environment,
    dir: Scratch,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// So many gateways that see each other. `keys` are lines under `wsc:`, the Redis among them.
    pub async fn start(nodes: usize, keys: &str) -> Self {
        Self::start_with(nodes, keys, &[]).await
    }

    /// The same with further files of secrets.
    pub async fn start_with(nodes: usize, keys: &str, secrets: &[(&str, &str)]) -> Self {
        Self::prepared(nodes, keys, (secrets, Vec::new())).await
    }

    /// The same with further variables of the environment.
    pub async fn start_in(nodes: usize, keys: &str, environment: Environment) -> Self {
        Self::prepared(nodes, keys, (&[], environment)).await
    }

    async fn prepared(
        nodes: usize,
        keys: &str,
        (secrets, environment): (&[(&str, &str)], Environment),
    ) -> Self {
        let turn = TURN.lock().await;
        let dir = Scratch::new();
        let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        file("jwt-key", KEY);
        file("api-key", API_KEY);
        for (name, secret) in secrets {
            file(name, secret);
        }
        file("gateway.yaml", &configuration(keys));
        let gates = Gates::new(token);
        let mut world = Self {
            nodes: Vec::new(),
            readers: Vec::new(),
            publishers: Vec::new(),
            gates,
            quota: 0,
            stop: CancellationToken::new(),
            environment,
            dir,
            _turn: turn,
        };
        for index in 0..nodes {
            let node = world.process(&format!("node-{index}"), Ports::new());
            world.nodes.push(node);
        }
        world.await_mesh().await;
        world.open_all();
        world
    }

    /// Replaces a file of secrets at once, as the kubelet does.
    pub fn replace_secret(&self, name: &str, secret: &str) {
        replace_file(&self.dir.path().join(name), secret);
    }

    fn process(&self, name: &str, ports: Ports) -> Process {
        Process::start(self.dir.path(), name, (ports, &self.environment))
    }

    pub fn open_all(&self) {
        for node in &self.nodes {
            self.gates.open(node.ws());
        }
    }

    /// Starts a node of this name again, on the ports it had.
    pub fn restart(&mut self, index: usize) {
        let (name, ports) = (self.nodes[index].name.clone(), self.nodes[index].ports);
        self.nodes[index] = self.process(&name, ports);
    }

    /// A further node.
    pub fn another(&self) -> Process {
        self.process(&format!("node-{}", port()), Ports::new())
    }

    /// Another process under the name of one that may still live.
    pub fn usurp(&self, index: usize) -> Process {
        self.process(&self.nodes[index].name, Ports::new())
    }

    /// Every node sees every other with all its sessions.
    pub async fn await_mesh(&self) {
        self.within(
            Duration::from_secs(30),
            "all nodes see each other",
            async || {
                for node in &self.nodes {
                    let Some(status) = node.status().await else {
                        return false;
                    };
                    let peers = status["peers"].as_array().map_or(0, Vec::len);
                    if peers + 1 != self.nodes.len() || !node.is_ready().await {
                        return false;
                    }
                }
                true
            },
        )
        .await;
    }

    /// Connects everyone, and begins to send.
    pub async fn load(&mut self, load: Load) {
        let users: Vec<String> = (0..load.readers)
            .map(|number| format!("r{number}"))
            .collect();
        for user in &users {
            let (gates, stop) = (self.gates.clone(), self.stop.clone());
            self.readers
                .push(ReaderTask::start(user.clone(), gates, stop));
        }
        self.all_connected(Duration::from_secs(30)).await;
        self.quota = load.messages / load.publishers;
        let to = Arc::new(users);
        for number in 0..load.publishers {
            let work = Work {
                user: format!("p{number}"),
                messages: self.quota,
                pause: load.pause,
                to: to.clone(),
            };
            let (gates, stop) = (self.gates.clone(), self.stop.clone());
            self.publishers
                .push(PublisherTask::start(work, gates, stop));
        }
    }

    pub async fn all_connected(&self, deadline: Duration) {
        let everyone = async || self.readers.iter().all(ReaderTask::is_connected);
        self.within(deadline, "everyone is connected", everyone)
            .await;
    }

    /// Messages accepted so far.
    pub fn accepted(&self) -> usize {
        accepted(&self.publishers)
    }

    pub async fn until_accepted(&self, messages: usize) {
        self.within(
            Duration::from_secs(300),
            "so many are accepted",
            async || self.accepted() >= messages,
        )
        .await;
    }

    /// Everything is sent and has arrived; then what all this comes to. With violations, the report is in the failure.
    pub async fn settled(&self) -> Report {
        for publisher in self
            .publishers
            .iter()
            .filter(|_| self.quota >= usize::MAX / 100)
        {
            publisher.enough();
        }
        let all_accepted = async || {
            self.publishers
                .iter()
                .all(|publisher| publisher.is_done(self.quota))
        };
        self.within(
            Duration::from_secs(300),
            "everything is accepted",
            all_accepted,
        )
        .await;
        let began = Instant::now();
        while !self.report().is_sound() && began.elapsed() < SETTLED_WITHIN {
            sleep(Duration::from_millis(250)).await;
        }
        sleep(QUIET).await;
        let report = self.report();
        assert!(report.is_sound(), "{report}\n{}", self.words());
        report
    }

    /// What everybody saw up to now.
    pub fn report(&self) -> Report {
        history(&self.publishers, &self.readers).check()
    }

    /// The nodes that hold a session of this user, as a node says.
    pub async fn homes(&self, node: &Process, user: &str) -> Option<Vec<String>> {
        let body = node
            .get(&format!("/v1/users/{user}/sessions"), API_KEY)
            .await?;
        let sessions = body["sessions"].as_array()?;
        Some(
            sessions
                .iter()
                .map(|session| session["node"].as_str().unwrap().to_owned())
                .collect(),
        )
    }

    /// Readers that had to move have one session each, and the directory knows of no other.
    pub async fn directory_is_right(&self, asked: &Process, deadline: Duration) {
        /// Each costs a call, also on a busy machine.
        const ASKED: usize = 24;
        let mut readers: Vec<&ReaderTask> = self.readers.iter().collect();
        readers.sort_by_key(|reader| std::cmp::Reverse(reader.notes.lock().stays.len()));
        readers.truncate(ASKED);
        self.within(deadline, "the directory is right", async || {
            for reader in &readers {
                let homes = self.homes(asked, &reader.user).await;
                if homes.is_none_or(|homes| homes.len() != 1) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    pub async fn within(
        &self,
        deadline: Duration,
        what: &str,
        mut condition: impl AsyncFnMut() -> bool,
    ) {
        let began = Instant::now();
        while !condition().await {
            assert!(
                began.elapsed() < deadline,
                "not within {deadline:?}: {what}\n{}",
                self.words()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The last words of each node, for whoever reads of a failure.
    /// Whether a node has written this to its log.
    pub fn said(&self, node: usize, words: &str) -> bool {
        let file = format!("{}.out", self.nodes[node].name);
        std::fs::read_to_string(self.dir.path().join(file)).is_ok_and(|text| text.contains(words))
    }

    fn words(&self) -> String {
        let mut words = Vec::new();
        for node in &self.nodes {
            for kind in ["out", "err"] {
                let text =
                    std::fs::read_to_string(self.dir.path().join(format!("{}.{kind}", node.name)))
                        .unwrap_or_default();
                let from = text.char_indices().rev().nth(2500).map_or(0, |(at, _)| at);
                words.push(format!("--- {}.{kind}\n{}", node.name, &text[from..]));
            }
        }
        words.join("\n")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn configuration(keys: &str) -> String {
    let keys: Vec<String> = keys.lines().map(|line| format!("  {line}")).collect();
    let keys = keys.join("\n");
    format!(
        "
http: {{host: 127.0.0.1}}
grpc: {{host: 127.0.0.1}}
admin: {{host: 127.0.0.1}}
drain: {{unreadyDelay: 0s, window: 1s, ratePerSecond: 10, deadline: 15s, jitter: 0}}
wsc:
  nodeIp: 127.0.0.1
  security: {{enableRateLimit: false}}
  distributed: {{enabled: true, nodeTimeout: 3s, nodeSyncInterval: 1s, healthCheckInterval: 500ms}}
{keys}"
    )
}

/// The Redis on this port of loopback.
pub fn redis_at(port: u16) -> String {
    format!("redis: {{host: 127.0.0.1, port: {port}}}")
}
