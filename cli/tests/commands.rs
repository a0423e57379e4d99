//! `wscctl` as a person starts it, against a real gateway.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "commands/tickets.rs"]
mod tickets;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};
use wsc_config::GatewayConfig;
use wsc_gateway::app::{Gateway, Options};
use wsc_gateway::settings::Secrets;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const API_KEY: &str = "fedcba9876543210fedcba9876543210";
const FILE: &str = "
http: {host: 127.0.0.1, port: 0}
grpc: {host: 127.0.0.1, port: 0}
admin: {host: 127.0.0.1, port: 0}
drain: {unreadyDelay: 0s, window: 0s, deadline: 10s, jitter: 0}
wsc: {nodeIp: 127.0.0.1, nodePort: 0}
";

/// A gateway in this process, and a directory with its keys.
struct Ground {
    runtime: Runtime,
    gateway: Arc<Gateway>,
    dir: PathBuf,
}

impl Ground {
    fn new(name: &str, sets: &[&str]) -> Self {
        let dir = std::env::temp_dir().join(format!("wscctl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("jwt-key"), format!("{KEY}\n")).unwrap();
        std::fs::write(dir.join("api-key"), format!("{API_KEY}\n")).unwrap();
        let runtime = Runtime::new().unwrap();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let config = GatewayConfig::load(Some(FILE), [], &sets).unwrap();
        let options = Options {
            node: "node-a".to_owned(),
            secrets: Secrets::read(&dir).unwrap(),
            shards: 1,
            ..Options::default()
        };
        let gateway = runtime.block_on(Gateway::start(config, options)).unwrap();
        Self {
            runtime,
            gateway,
            dir,
        }
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn wscctl(&self, arguments: &[&str]) -> Command {
        let addresses = self.gateway.addresses();
        let mut command = bare(arguments);
        command
            .env("WSC_URL", format!("http://{}", addresses.http))
            .env("WSC_ADMIN_URL", format!("http://{}", addresses.admin))
            .env("WSC_WS_URL", format!("ws://{}/ws", addresses.ws.unwrap()))
            .env(
                "WSC_SSE_URL",
                format!("http://{}/sse", addresses.ws.unwrap()),
            )
            .env("WSC_GRPC_URL", format!("http://{}", addresses.grpc))
            .env("WSC_API_KEY_FILE", self.file("api-key"));
        command
    }

    /// Runs to the end; the answer as JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self
            .wscctl(&[arguments, &["--output", "json"]].concat())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn fails(&self, arguments: &[&str], code: i32) -> String {
        failed(self.wscctl(arguments).output().unwrap(), code)
    }

    fn token(&self, user: &str) -> String {
        let output = bare(&["token", "--user", user, "--key-file", &self.file("jwt-key")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A client that prints, once it is connected.
    fn tail(&self, user: &str, arguments: &[&str]) -> Tail {
        self.tail_with(user, &self.token(user), arguments)
    }

    /// The same with a token of its own.
    fn tail_with(&self, user: &str, token: &str, arguments: &[&str]) -> Tail {
        let mut command = self.wscctl(&[&["tail"], arguments].concat());
        let mut child = command.env("WSC_TOKEN", token).spawn().unwrap();
        let tail = Tail {
            lines: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        let began = Instant::now();
        let sessions = || {
            self.wscctl(&["sessions", user])
                .output()
                .unwrap()
                .status
                .success()
        };
        while !sessions() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{user} did not connect"
            );
        }
        tail
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.runtime.block_on(self.gateway.drain());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A running `tail`, ended with the value.
struct Tail {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Tail {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn exit_code(&mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::yield_now();
        }
        panic!("it did not end");
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program without anything in its environment that could change what it does.
fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wscctl"));
    for name in [
        "WSC_URL",
        "WSC_ADMIN_URL",
        "WSC_WS_URL",
        "WSC_API_KEY",
        "WSC_API_KEY_FILE",
        "WSC_TOKEN",
        "WSC_CA_FILE",
    ] {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn failed(output: Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains(KEY) && !said.contains(API_KEY), "{said}");
    said
}

#[test]
fn a_message_goes_to_a_user_and_its_tail_prints_it() {
    let ground = Ground::new("send", &[]);
    let mut tail = ground.tail("alice", &["--count", "2"]);
    let sent = ground.json(&["send", "--to", "alice", "--id", "m1", "hello"]);
    assert_eq!(sent["id"], "m1");
    assert_eq!(sent["recipients"][0]["local_sessions"], 1);
    assert_eq!(tail.line(), "text system -> alice  hello");
    ground.json(&[
        "send",
        "--broadcast",
        "--type",
        "notice",
        "--json-content",
        "[1,2]",
        "--data",
        "{\"n\":1}",
    ]);
    assert_eq!(tail.line(), "notice system -> everyone  1,2  {\"n\":1}");
    assert_eq!(tail.exit_code(), Some(0));
}

#[test]
fn frames_are_printed_as_they_came_when_asked_for() {
    let ground = Ground::new("json", &[]);
    let mut tail = ground.tail("alice", &["--json"]);
    let welcome: Value = serde_json::from_str(&tail.line()).unwrap();
    assert_eq!(
        (&welcome["type"], &welcome["data"]["node"]),
        (&"welcome".into(), &"node-a".into())
    );
    ground.json(&["send", "--to", "alice", "--from", "shop", "hi"]);
    let frame: Value = serde_json::from_str(&tail.line()).unwrap();
    assert_eq!(
        (&frame["from"], &frame["content"]),
        (&"shop".into(), &"hi".into())
    );
}

#[test]
fn a_tail_prints_the_same_and_heeds_the_same_whatever_it_is_over() {
    let ground = Ground::new("transports", &[]);
    for transport in ["ws", "sse", "grpc"] {
        let transport = ["--transport", transport];
        let mut tail = ground.tail("alice", &[&transport[..], &["--json"]].concat());
        let welcome: Value = serde_json::from_str(&tail.line()).unwrap();
        assert_eq!(welcome["data"]["node"], "node-a", "{transport:?}");
        ground.json(&[
            "send", "--to", "alice", "--from", "shop", "--id", "m1", "one\ntwo",
        ]);
        let frame: Value = serde_json::from_str(&tail.line()).unwrap();
        assert_eq!(
            (
                &frame["from"],
                &frame["to"],
                &frame["content"],
                &frame["id"]
            ),
            (
                &"shop".into(),
                &"alice".into(),
                &"one\ntwo".into(),
                &"m1".into()
            )
        );
        ground.json(&["kick", "alice"]);
        assert_eq!(tail.exit_code(), Some(4), "{transport:?}: 4003 is the end");
        let mut later = ground.wscctl(&[&["tail", "--once"], &transport[..]].concat());
        let refused = failed(later.env("WSC_TOKEN", "guessed").output().unwrap(), 4);
        assert!(refused.contains("refused with"), "{refused}");
    }
}

#[test]
fn groups_are_made_filled_sent_to_and_ended() {
    let ground = Ground::new(
        "groups",
        &["wsc.group.enabled=true", "wsc.group.maxGroupSize=3"],
    );
    let made = ground.json(&["groups", "create", "room/7", "--owner", "ann"]);
    assert_eq!(
        (&made["id"], &made["owner"]),
        (&"room/7".into(), &"ann".into())
    );
    let added = ground.json(&["groups", "add", "room/7", "alice", "bob"]);
    assert_eq!(added["members"][1]["user_id"], "bob");
    let mut tail = ground.tail("alice", &["--count", "1"]);
    let sent = ground.json(&["groups", "send", "room/7", "--type", "notice", "hello"]);
    assert_eq!(sent["local_sessions"], 1, "{sent}");
    assert_eq!(tail.line(), "notice system -> room/7  hello");
    let members = ground.json(&["groups", "members", "room/7"]);
    assert_eq!(members["members"][0]["user_id"], "alice");
    let page = ground.json(&["groups", "members", "room/7", "--limit", "1"]);
    assert_eq!(page["members"].as_array().map(Vec::len), Some(1));
    assert!(page["next_cursor"].is_string(), "{page}");
    let table = ground.wscctl(&["groups", "list", "bob"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.starts_with("ID") && table.contains("room/7"),
        "{table}"
    );
    assert_eq!(
        ground.json(&["groups", "remove", "room/7", "bob"])["removed"][0],
        "bob"
    );
    assert_eq!(ground.json(&["groups", "show", "room/7"])["members"], 1);
    ground.fails(&["groups", "remove", "room/7", "bob"], 3);
    let said = ground.fails(&["groups", "create", "room/7"], 1);
    assert!(said.contains("exists already"), "{said}");
    ground.json(&["groups", "disband", "room/7"]);
    ground.fails(&["groups", "show", "room/7"], 3);
}

#[test]
fn a_tail_goes_on_where_it_is_told_and_logs_and_records_are_read() {
    let ground = Ground::new("log", &[]);
    for id in ["m1", "m2", "m3"] {
        ground.json(&["send", "--to", "bob", "--from", "shop", "--id", id, id]);
    }
    let log = ground.json(&["log", "bob", "--limit", "1"]);
    assert_eq!(
        (&log["messages"][0]["id"], &log["more"]),
        (&"m1".into(), &true.into()),
        "{log}"
    );
    let next = log["next"].as_str().unwrap();
    let rest = ground.json(&["log", "bob", "--after", next]);
    assert_eq!(rest["messages"].as_array().unwrap().len(), 2, "{rest}");
    let table = ground.wscctl(&["log", "bob"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let first = table.lines().nth(1).unwrap();
    assert!(
        first.contains("shop") && first.contains("m1") && first.ends_with("accepted"),
        "{table}"
    );

    let tail = ground
        .wscctl(&["tail", "--from", next, "--count", "2"])
        .env("WSC_TOKEN", ground.token("bob"))
        .output()
        .unwrap();
    assert!(tail.status.success(), "{tail:?}");
    let told = String::from_utf8(tail.stdout).unwrap();
    assert_eq!(told, "text shop -> bob  m2\ntext shop -> bob  m3\n");
    ground.fails(&["tail", "--from", "somewhere"], 2);

    ground.json(&["send", "--to", "eve", "--from", "shop", "--id", "m4", "x"]);
    let sent = ground.json(&["records", "--sender", "shop"]);
    let ids: Vec<&Value> = sent["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sent| &sent["id"])
        .collect();
    assert_eq!(ids, ["m1", "m2", "m3", "m4"]);
    assert_eq!(sent["records"][3]["log"], "inbox:eve", "{sent}");
    let page = ground.json(&["records", "--sender", "shop", "--limit", "1"]);
    assert!(page["next_cursor"].is_string(), "{page}");
    ground.fails(&["log"], 2);
    ground.fails(&["log", "bob", "--broadcasts"], 2);
}

#[test]
fn who_is_online_is_listed_and_sent_away_and_does_not_come_back() {
    let ground = Ground::new("kick", &[]);
    let mut tail = ground.tail("alice", &[]);
    let _bob = ground.tail("bob", &[]);
    assert_eq!(
        ground.json(&["sessions"])["users"],
        serde_json::json!(["alice", "bob"])
    );
    let page = ground.json(&["sessions", "--limit", "1"]);
    assert_eq!(
        (&page["users"], &page["next_cursor"]),
        (&serde_json::json!(["alice"]), &"alice".into())
    );
    let table = ground.wscctl(&["sessions", "alice"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.starts_with("SESSION_ID") && table.contains("node-a"),
        "{table}"
    );
    let stats = ground.json(&["stats"]);
    assert_eq!(
        (&stats["node"], &stats["connections"]),
        (&"node-a".into(), &2.into())
    );

    let told = ground.json(&["kick", "alice", "--reason", "over"]);
    assert_eq!(told["local_sessions"], 1);
    assert_eq!(tail.exit_code(), Some(4), "4003 says not to come back");
    ground.fails(&["kick", "alice"], 3);
    ground.fails(&["sessions", "alice"], 3);
    let session = ground.json(&["sessions", "bob"])["sessions"][0]["session_id"].clone();
    assert_eq!(
        ground.json(&["kick", "--session", session.as_str().unwrap()])["local_sessions"],
        1
    );
}

#[test]
fn a_pod_is_drained_and_its_clients_are_sent_elsewhere() {
    let ground = Ground::new("drain", &[]);
    let mut tail = ground.tail("alice", &["--once"]);
    ground.json(&["drain"]);
    // What the binary does when it is asked.
    ground.runtime.block_on(ground.gateway.drain_requested());
    ground.runtime.block_on(ground.gateway.drain());
    assert_eq!(
        tail.exit_code(),
        Some(5),
        "1012 says to come back, --once says not to"
    );
}

#[test]
fn a_drained_pod_whose_container_has_begun_anew_is_not_waited_for() {
    let (before, after) = (Ground::new("ended", &[]), Ground::new("anew", &[]));
    let _alice = before.tail("alice", &[]);
    let now = Arc::new(AtomicU16::new(before.gateway.addresses().admin.port()));
    let forwarded = before.runtime.block_on(forward(Arc::clone(&now)));
    let waits = ["drain", "--wait", "--timeout", "15s", "--output", "json"];
    let mut waits = before.wscctl(&waits);
    let waits = waits.env("WSC_ADMIN_URL", format!("http://127.0.0.1:{forwarded}"));
    let waiting = waits.spawn().unwrap();
    before.runtime.block_on(before.gateway.drain_requested());
    // Between two looks it has ended, and the next one is there.
    now.store(after.gateway.addresses().admin.port(), Relaxed);
    let waited = waiting.wait_with_output().unwrap();
    assert!(waited.status.success(), "{waited:?}");
    let told: Value = serde_json::from_slice(&waited.stdout).unwrap();
    assert_eq!(told["phase"], "stopped");
}

/// What `kubectl port-forward` does: a port here that leads to whichever is asked for at the moment.
async fn forward(to: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    Handle::current().spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let to = ("127.0.0.1", to.load(Relaxed));
            Handle::current().spawn(async move {
                let mut there = TcpStream::connect(to).await.unwrap();
                let _closed = copy_bidirectional(&mut here, &mut there).await;
            });
        }
    });
    port
}

#[test]
fn a_tail_comes_back_by_itself_while_nobody_answers() {
    let ground = Ground::new("back", &[]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let mut command = ground.wscctl(&["tail", "--ws-url", &format!("ws://127.0.0.1:{port}/ws")]);
    let mut child = command
        .env("WSC_TOKEN", ground.token("alice"))
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..3 {
        let line = said.next().unwrap().unwrap();
        assert!(line.contains("connecting again"), "{line}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let ground = Ground::new("codes", &[]);
    ground.fails(&["send", "hello"], 2);
    ground.fails(&["send", "--to", "a", "--data", "[1]", "x"], 2);
    ground.fails(&["stats", "--url", "localhost:8080"], 2);
    let said = ground.fails(&["send", "--to", "", "x"], 1);
    assert!(said.contains("to") && said.contains("128"), "{said}");
    ground.fails(
        &["kick", "--session", "00000000-0000-7000-8000-000000000000"],
        3,
    );
    std::fs::write(ground.dir.join("wrong"), "a-wrong-key-a-wrong-key").unwrap();
    let said = ground.fails(&["stats", "--api-key-file", &ground.file("wrong")], 4);
    assert!(
        said.contains("WSC_API_KEY") && !said.contains("a-wrong-key"),
        "{said}"
    );
    ground.fails(&["stats", "--url", "http://127.0.0.1:1"], 5);
    let output = ground
        .wscctl(&["tail"])
        .env("WSC_TOKEN", "not-a-token")
        .output()
        .unwrap();
    failed(output, 4);
    let output = ground.wscctl(&[
        "tail",
        "--ws-url",
        &format!("ws://{}/nowhere", ground.gateway.addresses().ws.unwrap()),
    ]);
    failed({ output }.output().unwrap(), 3);
}

#[test]
fn a_token_follows_the_configuration_it_is_for() {
    let ground = Ground::new("token", &[]);
    let key = ground.file("jwt-key");
    let mint = |arguments: &[&str]| {
        bare(&[&["token", "--user", "alice", "--key-file", &key], arguments].concat())
            .output()
            .unwrap()
    };
    failed(mint(&["--ttl", "48h"]), 1);
    failed(mint(&["--type", "robot"]), 1);
    let config = ground.dir.join("gateway.yaml");
    std::fs::write(
        &config,
        "wsc: {security: {tokenExpiration: 72h, allowedUserTypes: [robot]}}",
    )
    .unwrap();
    let minted = mint(&[
        "--ttl",
        "48h",
        "--type",
        "robot",
        "--config",
        &config.display().to_string(),
    ]);
    assert!(minted.status.success(), "{minted:?}");
    let from_dir = bare(&[
        "token",
        "--user",
        "a",
        "--secrets-dir",
        &ground.dir.display().to_string(),
    ])
    .output()
    .unwrap();
    assert!(from_dir.status.success());
    failed(bare(&["token", "--user", "alice"]).output().unwrap(), 2);
    failed(
        bare(&["token", "--user", "alice", "--key-file", "/nowhere"])
            .output()
            .unwrap(),
        2,
    );
}

#[test]
fn a_file_is_imported_and_strictly_refused_when_something_is_left_behind() {
    let ground = Ground::new("import", &[]);
    let file = ground.dir.join("old.yaml");
    std::fs::write(&file, "wsc: {node_port: 8090, vip: {max_level: 8}}").unwrap();
    let file = file.display().to_string();
    let output = bare(&["import", &file, "--name", "shop"]).output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("#   wsc.vip.max_level: ") && printed.contains("nodePort: 8090"),
        "{printed}"
    );
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("wsc.vip.max_level")
    );
    let strict = bare(&["import", &file, "--strict"]).output().unwrap();
    assert!(strict.stdout.is_empty());
    failed(strict, 1);
    failed(bare(&["import", "/nowhere"]).output().unwrap(), 2);
}

#[test]
fn as_a_plugin_of_kubectl_its_help_says_so() {
    let ground = Ground::new("plugin", &[]);
    let link = ground.dir.join("kubectl-wsc");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wscctl"), &link).unwrap();
    let output = Command::new(link).arg("--help").output().unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("Usage: kubectl wsc ")
    );
}
