//! What must never be told: canaries in every secret, token and message, and a gateway that logs all it can while it is
//! used, misused and let down. None of them may show in the log, in metrics, in a status or in an answer.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use wsc_gateway::security::{JwtSettings, KeySet, Keys, NewToken, Scopes, TokenVerifier};

use wsc_gateway::group::GroupPatterns;

use crate::client::Client;
use crate::redis::{RedisServer, Scratch};
use crate::sandbox::{config, eventually};

/// In whatever must not be told.
const CANARY: &str = "canary7f3a9c";

/// The program, its log and its addresses.
struct Binary {
    child: Child,
    log: Arc<Mutex<String>>,
    serving: Value,
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Binary {
    async fn start(secrets: &std::path::Path, sets: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsc-gateway"));
        command.arg("--secrets-dir").arg(secrets);
        for set in sets {
            command.args(["--set", set]);
        }
        command.env_remove("KUBERNETES_SERVICE_HOST");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        keep(child.stdout.take().unwrap(), log.clone());
        keep(child.stderr.take().unwrap(), log.clone());
        let mut binary = Self {
            child,
            log,
            serving: Value::Null,
        };
        let log = binary.log.clone();
        let find = || {
            let lines = log.lock();
            let line = lines.lines().find(|line| line.contains("\"serving\""));
            line.map(|line| serde_json::from_str::<Value>(line).unwrap())
        };
        eventually("it serves", || async { find().is_some() }).await;
        binary.serving = find().unwrap();
        binary
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let text = self.serving[listener].as_str().unwrap();
        let text = text.trim_start_matches("Some(").trim_end_matches(')');
        text.parse().unwrap()
    }

    async fn admin(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.address("admin"));
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }
}

fn keep(source: impl std::io::Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            let mut log = log.lock();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

fn token(user: &str, key: &str) -> String {
    let config = config(&[]);
    let keys = KeySet::one(config.wsc.security.jwt.algorithm, key).unwrap();
    let settings = JwtSettings::from_config(&config.wsc.security);
    let new = NewToken {
        user: wsc_gateway::protocol::UserId::new(user).unwrap(),
        user_type: "customer".into(),
        scopes: Scopes::BROADCAST,
        skills: wsc_gateway::ticket::Queue::default(),
        groups: GroupPatterns::default(),
        key_id: None,
        device: Some(CANARY.to_owned()),
        lifetime: Duration::from_mins(5),
    };
    let verifier = TokenVerifier::new(settings, Keys::Fixed(Arc::new(keys)));
    verifier.mint(&new).unwrap()
}

/// Every answer that somebody gets who shows what is wrong, or says what cannot be.
async fn misuse(binary: &Binary, good: &str, answers: &mut String) {
    let ws = format!("ws://{}/ws", binary.address("ws"));
    let forged = token("mallory", &format!("another-{CANARY}-key-of-enough-bytes"));
    let no_jwt = format!("{CANARY}.{CANARY}.{CANARY}");
    for wrong in [&*forged, &no_jwt] {
        let headers = [("authorization", &*format!("Bearer {wrong}"))];
        let refused = Client::open(&ws, &headers).await.err().unwrap();
        write!(answers, "{refused:?}").unwrap();
        let query = format!("{ws}?access_token={wrong}");
        let refused = Client::open(&query, &[]).await.err().unwrap();
        write!(answers, "{refused:?}").unwrap();
        let mut late = Client::open(&ws, &[]).await.unwrap();
        late.send(json!({"type": "auth", "data": {"token": wrong}}))
            .await;
        write!(answers, "{:?}", late.closed().await).unwrap();
    }
    let mut alice = Client::connect(&ws, good).await.unwrap();
    let frames = [
        format!("{{\"type\": \"text\", \"content\": \"{CANARY}\", \"to\": 7}}"),
        format!("{{\"type\": \"text\", \"content\": \"{CANARY}\""),
        json!({"type": "text", "to": "nobody", "content": CANARY, "id": "x", "durable": false})
            .to_string(),
        json!({"type": "text", "group": "g", "content": CANARY}).to_string(),
        json!({"type": "auth", "data": {"token": no_jwt}}).to_string(),
    ];
    for frame in frames {
        alice.send_raw(Message::text(frame)).await;
        write!(answers, "{:?}", alice.next_raw().await).unwrap();
    }
    let http = format!("http://{}/v1/messages", binary.address("http"));
    let client = reqwest::Client::new();
    for (key, body) in [
        (
            "wrong",
            json!({"to": ["bob"], "content": CANARY}).to_string(),
        ),
        (CANARY, "{}".to_owned()),
        (
            "api",
            format!("{{\"to\": [\"bob\"], \"content\": \"{CANARY}\""),
        ),
        (
            "api",
            json!({"to": ["bob"], "content": CANARY, "data": CANARY}).to_string(),
        ),
        ("api", json!({"to": [], "content": CANARY}).to_string()),
    ] {
        let key = if key == "api" {
            api_key()
        } else {
            key.to_owned()
        };
        let request = client.post(&http).bearer_auth(key);
        let request = request
            .header("content-type", "application/json")
            .body(body);
        let answer = request.send().await.unwrap();
        assert!(!answer.status().is_success());
        answers.push_str(&answer.text().await.unwrap());
    }
}

fn api_key() -> String {
    format!("api-{CANARY}-key-of-enough-bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_token_or_content_shows_in_log_metrics_status_or_answers() {
    let password = format!("redis-{CANARY}");
    let mut redis = RedisServer::with_password(Some(&password));
    let secrets = Scratch::new();
    let jwt = format!("jwt-{CANARY}-key-of-thirty-two-bytes");
    for (file, text) in [
        ("jwt-key", jwt.as_str()),
        ("api-key", &api_key()),
        ("redis-password", &password),
        ("otlp-headers", &format!("authorization: Bearer {CANARY}")),
        ("etcd-password", CANARY),
    ] {
        fs::write(secrets.path().join(file), text).unwrap();
    }
    let port = format!("wsc.redis.port={}", redis.port);
    let binary = Binary::start(
        secrets.path(),
        &[
            "log.level=trace",
            "http.port=0",
            "grpc.port=0",
            "admin.port=0",
            "wsc.nodePort=0",
            "wsc.distributed.enabled=true",
            "wsc.distributed.nodeDiscovery=etcd",
            "wsc.distributed.etcd.endpoints=[127.0.0.1:1]",
            "wsc.distributed.etcd.username=wsc",
            "wsc.distributed.etcd.passwordSecretRef={name: etcd, key: password}",
            "wsc.redis.host=127.0.0.1",
            &port,
            "wsc.redis.passwordSecretRef={name: redis, key: password}",
            "wsc.security.allowQueryToken=true",
            // It shows many wrong ones.
            "wsc.security.maxLoginAttempts=0",
            "wsc.performance.slowLogThreshold=1ms",
            "telemetry.otlp.endpoint=http://127.0.0.1:1",
            "telemetry.otlp.sampleRatio=1",
        ],
    )
    .await;
    let ws = format!("ws://{}/ws", binary.address("ws"));
    let good = token("alice", &jwt);
    let mut told = String::new();
    let by_query = format!("{ws}?access_token={}", token("bob", &jwt));
    let mut bob = Client::open(&by_query, &[]).await.unwrap();
    assert_eq!(bob.next().await["type"], "welcome");
    let mut alice = Client::connect(&ws, &good).await.unwrap();
    alice.say("bob", CANARY).await;
    assert_eq!(bob.hear().await, CANARY, "who it is for hears it");
    misuse(&binary, &good, &mut told).await;
    redis.kill();
    alice.say("bob", CANARY).await;
    told.push_str(&alice.next().await.to_string());
    let body = json!({"to": ["carol"], "content": CANARY}).to_string();
    let answer = reqwest::Client::new()
        .post(format!("http://{}/v1/messages", binary.address("http")))
        .bearer_auth(api_key())
        .header("content-type", "application/json")
        .body(body);
    told.push_str(&answer.send().await.unwrap().text().await.unwrap());
    for path in ["/metrics", "/status", "/readyz", "/livez"] {
        told.push_str(&binary.admin(path).await);
    }
    let log = binary.log.lock().clone();
    assert!(
        log.contains("\"TRACE\"") || log.contains("\"DEBUG\""),
        "it says all it can"
    );
    assert!(
        log.contains("redis") && log.contains("etcd"),
        "and something went wrong"
    );
    for (place, text) in [("log", &log), ("answers", &told)] {
        let line = text.lines().find(|line| line.contains(CANARY));
        assert_eq!(line, None, "{place}");
        // A token is three parts in base64; what is in its middle shows in none either.
        let line = text.lines().find(|line| line.contains("eyJ"));
        assert_eq!(line, None, "a token in the {place}");
    }
}
