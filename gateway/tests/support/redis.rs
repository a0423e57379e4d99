//! A real Redis for one test: on a port of its own, killed, restarted, paused and wiped by its pid, gone with the value.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A directory of its own, gone with the value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("wsc-test-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `redis-server` that keeps every write (append-only file, synced always), or a Sentinel.
pub(crate) struct RedisServer {
    child: Child,
    dir: Scratch,
    pub port: u16,
    password: Option<String>,
    args: Vec<String>,
}

impl RedisServer {
    /// Without a password.
    pub(crate) fn start() -> Self {
        Self::with_args(&[])
    }

    /// With further arguments.
    pub(crate) fn with_args(args: &[&str]) -> Self {
        let mut all: Vec<String> = [
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ]
        .map(ToOwned::to_owned)
        .into();
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        Self::run(Scratch::new(), None, all)
    }

    /// With `requirepass`, if one is given.
    pub(crate) fn with_password(password: Option<&str>) -> Self {
        let Some(password) = password else {
            return Self::start();
        };
        let args = ["--save", "", "--requirepass", password].map(ToOwned::to_owned);
        Self::run(Scratch::new(), Some(password.to_owned()), args.into())
    }

    /// A Sentinel that watches what this configuration says.
    pub(crate) fn sentinel(watch: &str) -> Self {
        let dir = Scratch::new();
        let file = dir.path().join("sentinel.conf");
        fs::write(&file, watch).unwrap();
        let args = vec![file.display().to_string(), "--sentinel".to_owned()];
        Self::run(dir, None, args)
    }

    fn run(dir: Scratch, password: Option<String>, args: Vec<String>) -> Self {
        for _ in 0..20 {
            let port = free_port();
            let mut child = spawn(port, dir.path(), &args);
            if answers(&mut child, port, password.as_deref()) {
                return Self {
                    child,
                    dir,
                    port,
                    password,
                    args,
                };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("no redis-server could be started");
    }

    /// `kill -9`, as an OOM kill would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port with what it had written.
    pub(crate) fn restart(&mut self) {
        let password = self.password.clone();
        self.child = spawn(self.port, self.dir.path(), &self.args);
        assert!(
            answers(&mut self.child, self.port, password.as_deref()),
            "redis did not come back"
        );
    }

    /// Forgets everything it had written; only while it is down.
    pub(crate) fn wipe(&self) {
        fs::remove_dir_all(self.dir.path()).unwrap();
        fs::create_dir_all(self.dir.path()).unwrap();
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
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

    /// One that follows this one; see [`Self::is_in_step`].
    pub(crate) fn replica(&self) -> Self {
        Self::with_args(&["--replicaof", "127.0.0.1", &self.port.to_string()])
    }

    /// Whether this replica has what its primary has and goes on with it.
    pub(crate) fn is_in_step(&self) -> bool {
        self.cli(&["info", "replication"])
            .contains("master_link_status:up")
    }

    /// What `redis-cli` prints for this command.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        cli(self.port, self.password.as_deref(), args)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that is asked of a Redis from now on, as it tells by `MONITOR`. What scripts do is not in it.
pub(crate) struct Asked {
    monitor: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Asked {
    pub(crate) fn of(server: &RedisServer) -> Self {
        let mut monitor = Command::new("redis-cli")
            .args(["-p", &server.port.to_string(), "monitor"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli is installed");
        let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "OK");
        Self { monitor, lines }
    }

    /// One line for each command since it was last called; `[db address]` stands before it.
    pub(crate) fn since(&mut self, server: &RedisServer) -> Vec<String> {
        let mark = format!("mark-{:016x}", rand::random::<u64>());
        server.cli(&["echo", &mark]);
        let lines = self.lines.by_ref().map(Result::unwrap);
        let lines = lines.take_while(|line| !line.contains(&mark));
        lines.filter(|line| !line.contains(" lua] ")).collect()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}

/// Below the ephemeral range, so that no outgoing connection takes it while the server is down.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn spawn(port: u16, dir: &Path, args: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    // What a Sentinel is configured by stands first.
    let (file, args) = match args.first() {
        Some(first) if !first.starts_with('-') => (Some(first), args.get(1..).unwrap_or_default()),
        _ => (None, args),
    };
    command.args(file);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.arg("--dir").arg(dir).args(args);
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
        .env_remove("REDISCLI_AUTH");
    if let Some(password) = password {
        command.env("REDISCLI_AUTH", password);
    }
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
