//! The admin port, over real sockets, also while the rest of the process is stuck.

use std::fmt;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::Parser as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use wsc_gateway::admin::{Admin, AdminSource, NodeStatus, Phase, Readiness, RedisState};
use wsc_gateway::cli::{Arguments, Command};

struct Source {
    live: AtomicBool,
    ready: AtomicBool,
    etcd: AtomicBool,
    drains: AtomicUsize,
    phase: watch::Sender<Phase>,
}

impl AdminSource for Source {
    fn live(&self) -> bool {
        self.live.load(SeqCst)
    }

    fn readiness(&self) -> Readiness {
        let ready = self.ready.load(SeqCst);
        let phase = if ready {
            Phase::Serving
        } else {
            Phase::Draining
        };
        Readiness {
            ready,
            phase,
            redis: RedisState::Up,
            etcd: self.etcd.load(SeqCst).then_some(RedisState::Down),
            fenced: !ready,
            problems: if ready {
                Vec::new()
            } else {
                vec!["phase: the node is draining".to_owned()]
            },
        }
    }

    fn status(&self) -> NodeStatus {
        NodeStatus {
            reload: wsc_gateway::admin::ReloadStatus::default(),
            node: "chat-abc".to_owned(),
            epoch: 17,
            phase: Phase::Serving,
            connections: 12,
            users: 10,
            remaining: 0,
            rebalance: wsc_gateway::admin::RebalanceStatus::default(),
            redis: RedisState::None,
            etcd: None,
            fenced: false,
            problems: vec!["etcd: gone".to_owned()],
            peers: vec!["chat-def".to_owned()],
        }
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        Ok("# EOF\n".to_owned())
    }

    fn request_drain(&self) {
        self.drains.fetch_add(1, SeqCst);
    }

    fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

struct Port {
    admin: Admin,
    source: Arc<Source>,
}

fn port() -> Port {
    let source = Arc::new(Source {
        live: true.into(),
        ready: true.into(),
        etcd: false.into(),
        drains: 0.into(),
        phase: watch::Sender::new(Phase::Serving),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = Admin::spawn(listener, Arc::clone(&source) as Arc<dyn AdminSource>).unwrap();
    Port { admin, source }
}

impl Port {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin.address())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = reqwest::get(self.url(path)).await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

#[tokio::test]
async fn livez_says_whether_the_shards_turn() {
    let port = port();
    assert_eq!(port.get("/livez").await, (200, json!({"live": true})));
    port.source.live.store(false, SeqCst);
    assert_eq!(port.get("/livez").await, (503, json!({"live": false})));
}

#[tokio::test]
async fn readyz_says_whether_and_why_not() {
    let port = port();
    let checks = json!({"phase": "serving", "redis": "up", "fenced": false});
    let ready = json!({"ready": true, "checks": checks, "problems": []});
    assert_eq!(port.get("/readyz").await, (200, ready));
    port.source.ready.store(false, SeqCst);
    port.source.etcd.store(true, SeqCst);
    let checks = json!({"phase": "draining", "redis": "up", "etcd": "down", "fenced": true});
    let problems = ["phase: the node is draining"];
    let unready = json!({"ready": false, "checks": checks, "problems": problems});
    assert_eq!(port.get("/readyz").await, (503, unready));
}

#[tokio::test]
async fn status_is_what_the_operator_reads() {
    let expected = json!({"node": "chat-abc", "epoch": 17, "phase": "serving", "connections": 12, "users": 10,
        "remaining": 0, "rebalance": {"surplus": 0, "remaining": 0, "moved": 0},
        "redis": "none", "fenced": false, "problems": ["etcd: gone"], "peers": ["chat-def"],
        "reload": {"problems": [], "waiting_for_restart": []}});
    assert_eq!(port().get("/status").await, (200, expected));
}

#[tokio::test]
async fn metrics_name_their_format() {
    let response = reqwest::get(port().url("/metrics")).await.unwrap();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_eq!(response.text().await.unwrap(), "# EOF\n");
}

#[tokio::test]
async fn a_drain_is_asked_for_by_post_only() {
    let port = port();
    let got = reqwest::get(port.url("/drain")).await.unwrap();
    assert_eq!(
        (got.status().as_u16(), port.source.drains.load(SeqCst)),
        (405, 0)
    );
    let posted = reqwest::Client::new()
        .post(port.url("/drain"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (posted.status().as_u16(), port.source.drains.load(SeqCst)),
        (202, 1)
    );
}

#[tokio::test]
async fn who_is_not_the_pod_itself_cannot_have_it_drained() {
    let port = port();
    // Another address than the port's own, as everybody has who is not in the pod; a mesh's proxy has one like this.
    let elsewhere = reqwest::Client::builder()
        .local_address("127.0.0.6".parse::<std::net::IpAddr>().unwrap())
        .build()
        .unwrap();
    for path in ["/drain", "/prestop"] {
        let posted = elsewhere.post(port.url(path)).send().await.unwrap();
        let got = elsewhere.get(port.url(path)).send().await.unwrap();
        assert!(posted.status().is_client_error(), "{path}: {posted:?}");
        assert!(got.status().is_client_error(), "{path}: {got:?}");
    }
    assert_eq!(port.source.drains.load(SeqCst), 0);
    let asked = elsewhere.get(port.url("/livez")).send().await.unwrap();
    assert_eq!(asked.status().as_u16(), 200);
}

#[tokio::test]
async fn the_binary_tells_the_gateway_of_its_pod_and_an_application_can_wait_for_its_end() {
    let port = port();
    let number = port.admin.address().port().to_string();
    let told = tokio::task::spawn_blocking(move || drain_by(&number))
        .await
        .unwrap();
    told.unwrap();
    assert_eq!(port.source.drains.load(SeqCst), 1);
    let mut waiting = std::pin::pin!(port.get("/drained"));
    port.source.phase.send_replace(Phase::Draining);
    let early = tokio::time::timeout(Duration::from_secs(4), waiting.as_mut()).await;
    assert!(early.is_err(), "the drain is not over: {early:?}");
    port.source.phase.send_replace(Phase::Stopped);
    assert_eq!(waiting.await, (200, json!({"drained": true})));
}

/// What the kubelet runs.
fn drain_by(port: &str) -> anyhow::Result<()> {
    let arguments = Arguments::parse_from(["wsc-gateway", "drain", "--port", port]);
    match arguments.command {
        Some(Command::Drain(drain)) => drain.run(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn where_no_gateway_is_the_binary_says_so() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = gone.local_addr().unwrap().port().to_string();
    drop(gone);
    let told = tokio::task::spawn_blocking(move || drain_by(&number));
    let why = told.await.unwrap().unwrap_err().to_string();
    assert!(why.contains("no answer from 127.0.0.1:"), "{why}");
}

#[tokio::test]
async fn without_a_drain_an_application_does_not_wait_for_its_end() {
    let port = port();
    let answer = tokio::time::timeout(Duration::from_secs(10), port.get("/drained")).await;
    assert_eq!(answer.unwrap(), (200, json!({"drained": false})));
}

#[test]
fn it_answers_while_every_worker_of_the_main_runtime_is_blocked() {
    let port = port();
    let main = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (blocked, wait_blocked) = mpsc::sync_channel::<()>(2);
    let releases: Vec<_> = (0..2)
        .map(|_| {
            let (release, wait_release) = mpsc::sync_channel::<()>(1);
            let blocked = blocked.clone();
            // The whole point is a task that the main runtime cannot get rid of.
            #[allow(clippy::disallowed_methods)]
            main.spawn(async move {
                blocked.send(()).unwrap();
                let _ = wait_release.recv();
            });
            release
        })
        .collect();
    for _ in 0..2 {
        wait_blocked.recv().unwrap();
    }
    let client = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = client
        .block_on(async { tokio::time::timeout(Duration::from_secs(5), port.get("/livez")).await });
    assert_eq!(answer.unwrap(), (200, json!({"live": true})));
    drop(releases);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_shutdown_the_port_is_closed() {
    let port = port();
    assert_eq!(port.get("/livez").await.0, 200);
    let url = port.url("/livez");
    tokio::task::spawn_blocking(move || port.admin.shutdown())
        .await
        .unwrap();
    assert!(reqwest::get(url).await.unwrap_err().is_connect());
}
