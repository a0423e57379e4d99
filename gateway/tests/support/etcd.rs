//! A real etcd for one test: on ports of its own, killed, restarted and frozen by its pid, gone with the value.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wsc_gateway::cluster::{Address, EtcdParams};

use super::redis::{Scratch, free_port};

/// A running `etcd` that grants leases from one second on.
pub(crate) struct EtcdServer {
    child: Child,
    dir: Scratch,
    pub port: u16,
    peer: u16,
    args: Vec<String>,
}

impl EtcdServer {
    /// Without users and TLS.
    pub(crate) fn start() -> Self {
        Self::with_args(&[])
    }

    /// With further arguments.
    pub(crate) fn with_args(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        for _ in 0..20 {
            let (dir, port, peer) = (Scratch::new(), free_port(), free_port());
            let mut child = spawn((port, peer), dir.path(), &args);
            if listens(&mut child, port, args.is_empty()) {
                return Self {
                    child,
                    dir,
                    port,
                    peer,
                    args,
                };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("no etcd could be started");
    }

    pub(crate) fn address(&self) -> Address {
        Address {
            host: "127.0.0.1".to_owned(),
            port: self.port,
        }
    }

    pub(crate) fn params(&self) -> EtcdParams {
        EtcdParams::at(vec![self.address()])
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port with what it had written.
    pub(crate) fn restart(&mut self) {
        self.child = spawn((self.port, self.peer), self.dir.path(), &self.args);
        assert!(
            listens(&mut self.child, self.port, self.args.is_empty()),
            "etcd did not come back"
        );
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
        let done = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn((port, peer): (u16, u16), dir: &Path, args: &[String]) -> Child {
    let scheme = if args.iter().any(|arg| arg == "--cert-file") {
        "https"
    } else {
        "http"
    };
    let (client, peer) = (
        format!("{scheme}://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{peer}"),
    );
    Command::new("etcd")
        .arg("--data-dir")
        .arg(dir.join("etcd"))
        .args(["--listen-client-urls", &client])
        .args(["--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer])
        .args(["--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        // The least lease is one and a half elections, rounded up to a second.
        .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd is installed (Debian: etcd-server)")
}

/// A blocking wait until it serves; with TLS until it listens.
fn listens(child: &mut Child, port: u16, is_plain: bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let answers = if is_plain {
            get(port, "/health").contains(r#""health":"true""#)
        } else {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        };
        if answers {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn get(port: u16, path: &str) -> String {
    let mut text = String::new();
    if let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) {
        let _ = socket.set_read_timeout(Some(Duration::from_secs(1)));
        let _ = write!(socket, "GET {path} HTTP/1.0\r\n\r\n");
        let _ = socket.read_to_string(&mut text);
    }
    text
}
