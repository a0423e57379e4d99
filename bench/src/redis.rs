//! The Redis between nodes, of its own for each run, with nothing kept.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::peer::Place;

/// A Redis that runs; it ends with this value.
#[derive(Debug)]
pub struct Redis(Child);

/// Where the Redis of the servers on and around `port` is: each run has ten ports.
pub fn port(port: u16) -> u16 {
    port / 10 * 10 + 9
}

impl Redis {
    /// Starts it on the servers' core.
    pub fn start(place: &Place, servers: u16) -> anyhow::Result<Self> {
        let port = port(servers);
        let child = Command::new("taskset")
            .args([
                "-c",
                &place.core,
                "redis-server",
                "--save",
                "",
                "--appendonly",
                "no",
                "--bind",
                "127.0.0.1",
            ])
            .args(["--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting redis-server")?;
        let redis = Self(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(
                Instant::now() < deadline,
                "redis-server does not listen on {port}: is it installed?"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(redis)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
