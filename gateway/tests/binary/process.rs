//! `Process`: one gateway, the program itself, on ports of its own that it keeps over its lives. Killed, frozen, told to
//! leave, and gone with the value.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::world::port;

/// Where one gateway listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub ws: u16,
    http: u16,
    grpc: u16,
    admin: u16,
}

impl Ports {
    pub fn new() -> Self {
        Self {
            ws: port(),
            http: port(),
            grpc: port(),
            admin: port(),
        }
    }
}

/// See the module.
pub struct Process {
    pub name: String,
    pub ports: Ports,
    child: Child,
}

impl Process {
    /// Starts it with `gateway.yaml` and the keys in this directory; its output is a file there.
    pub fn start(
        dir: &Path,
        name: &str,
        (ports, environment): (Ports, &[(&'static str, String)]),
    ) -> Self {
        let log = |kind: &str| {
            File::options()
                .append(true)
                .create(true)
                .open(dir.join(format!("{name}.{kind}")))
                .unwrap()
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsc-gateway"));
        command
            .arg("--config")
            .arg(dir.join("gateway.yaml"))
            .arg("--secrets-dir")
            .arg(dir);
        command.args(["--node", name, "--host", "127.0.0.1", "--shards", "1"]);
        let ports_of = [
            ("wsc.nodePort", ports.ws),
            ("http.port", ports.http),
            ("grpc.port", ports.grpc),
            ("admin.port", ports.admin),
        ];
        for (key, port) in ports_of {
            command.arg("--set").arg(format!("{key}={port}"));
        }
        for name in ["KUBERNETES_SERVICE_HOST", "POD_NAME", "POD_IP"] {
            command.env_remove(name);
        }
        let child = command
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log("out"))
            .stderr(log("err"))
            .spawn()
            .unwrap();
        Self {
            name: name.to_owned(),
            ports,
            child,
        }
    }

    pub fn ws(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.ports.ws)
    }

    /// SIGKILL: no goodbye to anyone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP: its sockets stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// SIGTERM: it drains.
    pub fn tell_to_leave(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success(), "kill {signal} {}", self.name);
    }

    /// Waits for its end and returns its exit code.
    pub async fn ended(&mut self, deadline: Duration) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                began.elapsed() < deadline,
                "{} did not end within {deadline:?}",
                self.name
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn is_ready(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/readyz", self.ports.admin);
        answered(client().get(url))
            .await
            .is_some_and(|(status, _)| status == 200)
    }

    /// What it says of itself, if it answers.
    pub async fn status(&self) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/status", self.ports.admin);
        let (_, body) = answered(client().get(url)).await?;
        serde_json::from_str(&body).ok()
    }

    /// A call of the API.
    pub async fn get(&self, path: &str, key: &str) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.http);
        let (status, body) = answered(client().get(url).bearer_auth(key)).await?;
        let body = serde_json::from_str(&body).ok();
        body.filter(|_| status == 200)
    }

    /// What a call with this body is answered with.
    pub async fn post(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.http);
        let call = client().post(url).bearer_auth(key).json(body);
        let (status, body) = answered(call).await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }
}

/// One for all: making one costs more than a call.
fn client() -> &'static reqwest::Client {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| {
        reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap()
    })
}

async fn answered(request: reqwest::RequestBuilder) -> Option<(u16, String)> {
    let response = request.timeout(Duration::from_secs(2)).send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.text().await.ok()?))
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
