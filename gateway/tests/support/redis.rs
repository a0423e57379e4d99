//! A real Redis for one test: on a port of its own, killed, restarted, paused and wiped by its pid, gone with the value.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `redis-server` that keeps every write (append-only file, synced always).
pub struct RedisServer {
    child: Child,
    dir: PathBuf,
    pub port: u16,
    password: Option<String>,
}

impl RedisServer {
    /// Without a password.
    pub fn start() -> Self {
        Self::with_password(None)
    }

    /// With `requirepass`, if one is given.
    pub fn with_password(password: Option<&str>) -> Self {
        let dir = std::env::temp_dir().join(format!("wsc-redis-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&dir).unwrap();
        for _ in 0..20 {
            let port = free_port();
            let mut child = spawn(port, &dir, password);
            if answers(&mut child, port, password) {
                return Self {
                    child,
                    dir,
                    port,
                    password: password.map(ToOwned::to_owned),
                };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("no redis-server could be started");
    }

    /// `kill -9`, as an OOM kill would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port with what it had written.
    pub fn restart(&mut self) {
        let password = self.password.clone();
        self.child = spawn(self.port, &self.dir, password.as_deref());
        assert!(
            answers(&mut self.child, self.port, password.as_deref()),
            "redis did not come back"
        );
    }

    /// Forgets everything it had written; only while it is down.
    pub fn wipe(&self) {
        fs::remove_dir_all(&self.dir).unwrap();
        fs::create_dir_all(&self.dir).unwrap();
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// What `redis-cli` prints for this command.
    pub fn cli(&self, args: &[&str]) -> String {
        cli(self.port, self.password.as_deref(), args)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Below the ephemeral range, so that no outgoing connection takes it while the server is down.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn spawn(port: u16, dir: &PathBuf, password: Option<&str>) -> Child {
    let mut command = Command::new("redis-server");
    command.args([
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
    ]);
    command
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .arg("--dir")
        .arg(dir);
    if let Some(password) = password {
        command.args(["--requirepass", password]);
    }
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

fn cli(port: u16, password: Option<&str>, args: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command
        .args(["-p", &port.to_string()])
        .env("REDISCLI_AUTH", password.unwrap_or_default());
    let output = command.args(args).output().expect("redis-cli is installed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A blocking wait, in a place where no runtime runs yet or may wait.
fn answers(child: &mut Child, port: u16, password: Option<&str>) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if cli(port, password, &["ping"]) == "PONG" {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
