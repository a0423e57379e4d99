//! The Redis beside servers, of its own for each run.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::peer::{PORTS, Place, shown};

/// How long it may take to start, and to follow another.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Redis that runs; it ends with this value.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: u16,
    /// How it was started.
    pub started: String,
}

/// What of its data is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// What the operator asks of the Redis that it manages: everything is appended, and synced each second.
    Log,
}

/// Where the Redis of the servers on and around `port` is: each run has so many ports.
pub fn port(port: u16) -> u16 {
    port / PORTS * PORTS + PORTS - 1
}

/// What `redis-server` says of its version.
pub(crate) fn version() -> String {
    let told = Command::new("redis-server").arg("--version").output();
    told.map_or_else(
        |error| format!("redis-server: {error}"),
        |told| String::from_utf8_lossy(&told.stdout).trim().to_owned(),
    )
}

impl Redis {
    /// Starts it on the servers' core.
    pub fn start(place: &Place, servers: u16, keep: Keep) -> anyhow::Result<Self> {
        Self::spawn(place, port(servers), keep, &[])
    }

    /// Starts one that follows this one, and waits until it does.
    pub fn replica(&self, place: &Place) -> anyhow::Result<Self> {
        let follow = [
            "--replicaof".to_owned(),
            "127.0.0.1".to_owned(),
            self.port.to_string(),
        ];
        let replica = Self::spawn(place, self.port - 1, Keep::Log, &follow)?;
        let deadline = Instant::now() + PATIENCE;
        while !self.says("INFO replication")?.contains("state=online") {
            ensure!(
                Instant::now() < deadline,
                "the replica does not follow within {PATIENCE:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(replica)
    }

    fn spawn(place: &Place, port: u16, keep: Keep, more: &[String]) -> anyhow::Result<Self> {
        let dir = place.scratch.join(format!("redis-{}", port % PORTS));
        // What the last one kept there is none of this one's.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let append = match keep {
            Keep::Nothing => "no",
            Keep::Log => "yes",
        };
        let port_word = port.to_string();
        let mut words: Vec<_> = ["redis-server", "--bind", "127.0.0.1", "--port", &port_word]
            .into_iter()
            .chain(["--save", "", "--appendonly", append])
            .chain(["--appendfsync", "everysec"])
            .chain(["--repl-diskless-sync-delay", "0", "--dir"])
            .map(str::to_owned)
            .collect();
        words.push(dir.display().to_string());
        words.extend_from_slice(more);
        let child = Command::new("taskset")
            .args(["-c", &place.core])
            .args(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting redis-server")?;
        let redis = Self {
            child,
            port,
            started: shown(&words),
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(redis.address()).is_err() {
            ensure!(
                Instant::now() < deadline,
                "redis-server does not listen on {port}: is it installed?"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(redis)
    }

    /// Where it listens.
    pub fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.port)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it answers to one command: the first piece of it, which for what is asked here is all.
    fn says(&self, command: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = vec![0; 1 << 14];
        let read = stream.read(&mut answer)?;
        answer.truncate(read);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
