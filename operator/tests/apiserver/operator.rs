//! The operator's own program as a process, with a proxy of its own before the API server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::ground::Ground;
use crate::plane::free_ports;
use crate::proxy::Proxy;

/// A running operator; killed with the value.
pub struct Operator {
    pub proxy: Proxy,
    child: Child,
    admin: u16,
    log: PathBuf,
}

impl Operator {
    /// Starts one for a namespace.
    pub async fn start(ground: &Ground, name: &str) -> Self {
        Self::behind(Proxy::new(ground.client.clone()).await, ground, name, &[])
    }

    /// The same behind this proxy.
    pub fn behind(proxy: Proxy, ground: &Ground, name: &str, flags: &[&str]) -> Self {
        let watched = ["--namespace", &ground.namespace];
        Self::everywhere(proxy, ground, name, &[&watched, flags].concat())
    }

    /// The same for all namespaces.
    pub fn everywhere(proxy: Proxy, ground: &Ground, name: &str, flags: &[&str]) -> Self {
        let namespace = &ground.namespace;
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let kubeconfig = dir.join(format!("{namespace}-{name}.kubeconfig"));
        std::fs::write(&kubeconfig, kubeconfig_of(proxy.address)).unwrap();
        let log = dir.join(format!("{namespace}-{name}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let [admin] = free_ports();
        let child = Command::new(env!("CARGO_BIN_EXE_wsc-operator"))
            .args(["--own-namespace", namespace])
            .args(["--identity", name, "--log-format", "text"])
            .args(["--admin-port", &admin.to_string()])
            .args(flags)
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            proxy,
            child,
            admin,
            log,
        }
    }

    /// Ends it where it stands.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal, such as `-STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success(), "{signal}");
    }

    /// Whether it has ended by itself, and how.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Everything that it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it logged last.
    pub fn said(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| !line.contains("no such kind"))
            .collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Resident memory in MiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() / 1024
    }

    /// The code and the words of its readiness; nothing of one that does not listen yet.
    pub async fn readiness(&self) -> Option<(u16, String)> {
        get(self.admin, "/readyz").await
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> u64 {
        // One that has not begun to listen has nothing to say yet.
        let text = get(self.admin, "/metrics").await.unwrap_or_default().1;
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .map(|value| format!("{value:.0}").parse::<u64>().unwrap())
            .sum()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("---- the operator said last:\n{}", self.said());
        }
    }
}

fn kubeconfig_of(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
        clusters: [{{name: test, cluster: {{server: \"http://{address}\"}}}}]\n\
        contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
        users: [{{name: test, user: {{}}}}]\n"
    )
}

async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
    TaskTracker::new().spawn(connection);
    let request = http::Request::get(path).header("host", "operator");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Some((code, String::from_utf8(body.to_vec()).unwrap()))
}

/// No write for so long is the end of it: whatever an operator does, it does at once or after a shorter while.
pub const QUIET: Duration = Duration::from_secs(2);
