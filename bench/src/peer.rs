//! The servers that are measured, and how each is started on its core.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use rustls::ClientConfig;

use crate::dialect::{Dialect, Entry};
use crate::extra::Extra;
use crate::handshake::Deflate;
use crate::link;

/// How many ports each run has: nodes from the first on, what is beside them from the last.
pub const PORTS: u16 = 20;
/// How many of them a node has at most.
pub(crate) const NODE_PORTS: u16 = 4;
/// Signs the tokens of members; good for nothing outside a run.
pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Peer {
    /// This gateway, with its whole session: identity, ids, rate limits, metrics.
    Ours,
    /// The bare send loop: the floor.
    Bare,
    /// Bun, with uWebSockets inside.
    Bun,
    /// A plain axum program with a channel per connection.
    Axum,
    /// github.com/gorilla/websocket.
    Gorilla,
    /// github.com/lxzan/gws.
    Gws,
    /// github.com/centrifugal/centrifuge, the engine of Centrifugo.
    Centrifuge,
    /// nats-server, by its own WebSocket listener.
    Nats,
    /// npm's ws.
    Ws,
    /// socket.io.
    SocketIo,
}

/// Where programs are and servers run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The gateway's binary.
    pub gateway: PathBuf,
    /// The folder that `scripts/bench` has filled.
    pub peers: PathBuf,
    /// Where logs and keys go.
    pub scratch: PathBuf,
    /// The core that servers are kept on.
    pub core: String,
    /// Trusts the certificate that lies in the folder of logs and keys.
    pub trust: Arc<ClientConfig>,
}

/// Makes the keys of a run in `scratch`, and what trusts its certificate.
pub fn secrets(scratch: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let secrets = scratch.join("secrets");
    fs::create_dir_all(&secrets).with_context(|| secrets.display().to_string())?;
    fs::write(secrets.join("jwt-key"), KEY)?;
    fs::write(secrets.join("api-key"), KEY)?;
    link::certificate(&secrets)
}

/// A server that runs; it ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// How members get in.
    pub entry: Entry,
    /// How it was started, and what was on beside the plain exchange.
    pub started: (String, String),
    log: PathBuf,
}

impl Peer {
    /// Its name in reports and folders.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether targets are set by it: this gateway, the floor, the fastest and the nearest of its kind.
    pub(crate) const fn sets_targets(self) -> bool {
        matches!(self, Self::Ours | Self::Bare | Self::Bun | Self::Centrifuge)
    }

    /// Its language.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Ours => Dialect::Wsc,
            Self::Centrifuge => Dialect::Centrifuge,
            Self::SocketIo => Dialect::SocketIo,
            Self::Nats => Dialect::Nats,
            Self::Bare | Self::Bun | Self::Axum | Self::Gorilla | Self::Gws | Self::Ws => {
                Dialect::Plain
            }
        }
    }

    /// Why it cannot be measured here, if it cannot.
    pub fn missing(self, place: &Place) -> Option<String> {
        let words = self.command(place, 0).ok()?;
        // Of an interpreter's words the last but one is the script.
        let gone = words
            .iter()
            .filter(|word| word.starts_with('/'))
            .find(|word| !Path::new(word).exists())?;
        let told = fs::read_to_string(place.peers.join("missing").join(self.name())).ok();
        Some(told.map_or_else(
            || format!("{gone} is not there"),
            |told| told.trim().to_owned(),
        ))
    }

    /// Whether it offers that by itself, without something in front of it or around it.
    pub fn offers(self, extra: Extra) -> bool {
        match extra {
            Extra::Nothing | Extra::Open => true,
            Extra::Token => matches!(
                self,
                Self::Ours | Self::Bun | Self::Gorilla | Self::Centrifuge | Self::Ws
            ),
            Extra::Tls | Extra::Deflate => {
                !matches!(self, Self::Bare | Self::Axum | Self::SocketIo)
            }
            Extra::Nodes => matches!(self, Self::Ours | Self::Centrifuge | Self::Nats),
            Extra::Durable(_) => matches!(self, Self::Ours | Self::Bare),
            Extra::Heartbeats | Extra::Leaving => {
                matches!(self, Self::Ours | Self::Bun | Self::Centrifuge)
            }
        }
    }

    fn command(self, place: &Place, port: u16) -> anyhow::Result<Vec<String>> {
        let at = |path: &str| place.peers.join(path).display().to_string();
        let mut words = match self {
            Self::Ours => return Ok(gateway(place, port)),
            Self::Bare => vec![
                std::env::current_exe()?.display().to_string(),
                "bare".to_owned(),
            ],
            Self::Axum => vec![at("axum/release/bench-axum")],
            Self::Gorilla | Self::Gws | Self::Centrifuge | Self::Nats => {
                vec![at(&format!("go/{}", self.name()))]
            }
            Self::Bun => vec![at("node/node_modules/.bin/bun"), at("node/bun.mjs")],
            Self::Ws | Self::SocketIo => {
                vec!["node".to_owned(), at(&format!("node/{}.mjs", self.name()))]
            }
        };
        words.push(port.to_string());
        Ok(words)
    }

    /// Starts it on its core and waits until it takes connections.
    pub fn start(self, place: &Place, port: u16, extra: Extra) -> anyhow::Result<Server> {
        let mut server = self.launch(place, port, extra)?;
        server.listens()?;
        Ok(server)
    }

    /// Starts it on its core.
    pub fn launch(self, place: &Place, port: u16, extra: Extra) -> anyhow::Result<Server> {
        let log = place
            .scratch
            .join(format!("{}-{}.log", self.name(), port % PORTS));
        let out = File::create(&log).with_context(|| log.display().to_string())?;
        let words = self.command(place, port)?;
        let (settings, variables) = match self {
            Self::Ours => (extra.settings(port), vec![]),
            _ => (vec![], extra.variables(place, port)),
        };
        let started = (
            shown(&words),
            variables
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .chain(settings.iter().cloned())
                .collect::<Vec<_>>()
                .join(" "),
        );
        let mut command = Command::new("taskset");
        command.envs(variables);
        let child = command
            .args(["-c", &place.core])
            .args(words)
            .args(settings)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {}", self.name()))?;
        let asks = match extra {
            Extra::Token => true,
            Extra::Open => false,
            _ => self == Self::Ours,
        };
        let key = asks.then(|| KEY.to_owned());
        Ok(Server {
            child,
            address: ([127, 0, 0, 1], port).into(),
            entry: Entry {
                dialect: self.dialect(),
                path: String::new(),
                key,
                deflate: if extra == Extra::Deflate {
                    Deflate::Offer
                } else {
                    Deflate::No
                },
                tls: (extra == Extra::Tls).then(|| place.trust.clone()),
            },
            started,
            log,
        })
    }
}

/// A command as the report has it: of files only the name.
pub(crate) fn shown(words: &[String]) -> String {
    let words = words.iter().map(|word| {
        let file = Path::new(word)
            .file_name()
            .filter(|_| word.starts_with('/'));
        match file {
            Some(name) => name.to_string_lossy().into_owned(),
            None if word.is_empty() => "''".to_owned(),
            None => word.clone(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The gateway on one shard, with limits that are counted and never reached.
fn gateway(place: &Place, port: u16) -> Vec<String> {
    let secrets = place.scratch.join("secrets");
    let mut words = vec![place.gateway.display().to_string()];
    words.extend(["--node".to_owned(), format!("bench-{port}")]);
    words.extend(["--host", "127.0.0.1", "--shards", "1", "--secrets-dir"].map(str::to_owned));
    words.push(secrets.display().to_string());
    for set in [
        format!("wsc.nodePort={port}"),
        format!("http.port={}", port + 1),
        format!("grpc.port={}", port + 2),
        format!("admin.port={}", port + 3),
        "wsc.performance.maxConnectionsPerNode=100000".to_owned(),
        "wsc.group.enabled=true".to_owned(),
        "wsc.group.autoCreate=true".to_owned(),
        "wsc.group.maxGroupSize=100000".to_owned(),
        "wsc.group.broadcastRateLimit=1000000".to_owned(),
        "wsc.security.messageRateLimit.maxMessages=10000000".to_owned(),
        "wsc.delivery.transientTypes=[bench]".to_owned(),
    ] {
        words.extend(["--set".to_owned(), set]);
    }
    words
}

impl Server {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says of its version: the first line of its output.
    pub fn version(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().next().unwrap_or_default().to_owned()
    }

    /// Whether it takes connections; an error when it has ended.
    pub fn up(&mut self) -> anyhow::Result<bool> {
        if TcpStream::connect(self.address).is_ok() {
            return Ok(true);
        }
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            bail!("the server ended by {status}: {}", log.trim());
        }
        Ok(false)
    }

    /// Asks it to go, as Kubernetes does.
    pub fn terminate(&self) -> anyhow::Result<()> {
        let told = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status()?;
        ensure!(told.success(), "kill -TERM ended by {told}");
        Ok(())
    }

    /// Whether it has gone.
    pub fn ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    fn listens(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while !self.up()? {
            if Instant::now() > deadline {
                bail!("the server does not listen on {}", self.address);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
