//! Hooks of a whole gateway, out of process: who gets in, what becomes of messages, who is told of what, and what happens
//! when a hook is slow, wrong or gone.

mod given_groups;
mod journal;
mod tls;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::time::Instant;
use wsc_gateway::app::Gateway;
use wsc_gateway::security::Scopes;
use wsc_gateway::service::{Client as Who, Incoming, Interceptor, Next, Rejection, Verdict};
use wsc_gateway::settings::Secrets;

use crate::client::Client;
use crate::hook_target::{Reply, Target, fails, says};
use crate::redis::RedisServer;
use crate::sandbox::{Node, cluster, config, eventually, options, token};

/// A hook on a port of loopback, with further keys in YAML's flow style.
pub fn hook(name: &str, port: u16, more: &str) -> String {
    format!("{{name: {name}, target: {{local: {{port: {port}}}}}, {more}}}")
}

pub async fn start(hooks: &[String], secrets: impl FnOnce(&mut Secrets)) -> Node {
    let mut options = options("hooked");
    secrets(&mut options.secrets);
    let set = format!("hooks=[{}]", hooks.join(", "));
    let config = config(&[&set, "wsc.presence.offlineDelay=100ms"]);
    Node(Gateway::start(config, options).await.unwrap())
}

pub async fn refused(node: &Node, user: &str) -> (Value, u16) {
    let bearer = format!("Bearer {}", token(user, Scopes::NONE));
    let headers = [("authorization", bearer.as_str())];
    let mut client = Client::open(&node.ws(), &headers).await.unwrap();
    let (mut frames, code) = client.closed().await;
    (frames.remove(0), code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_hook_refuses_or_admits_with_notes_a_type_and_scopes() {
    let target = Target::start(|asked| match asked["client"]["user"].as_str().unwrap() {
        "mallory" => says(&json!({"action": "deny", "reason": "we have met"})),
        "anna" => says(
            &json!({"user_type": "agent", "scopes": ["broadcast"], "attributes": {"team": "blue"}}),
        ),
        "odd" => says(&json!({"user_type": "king"})),
        _ => says(&json!({})),
    })
    .await;
    let hooks = [
        hook("gate", target.port, "points: [connect]"),
        hook("words", target.port, "points: [message]"),
    ];
    let node = start(&hooks, |_| {}).await;
    let (frame, code) = refused(&node, "mallory").await;
    assert_eq!(
        (&frame["code"], &frame["message"], code),
        (&json!("rejected"), &json!("we have met"), 4010)
    );
    assert_eq!(refused(&node, "odd").await.1, 1013, "there is no such type");
    let mut anna = node.connect("anna").await;
    assert_eq!(anna.welcome["data"]["user_type"], "agent");
    anna.send(json!({"type": "news", "broadcast": true, "content": "hi"}))
        .await;
    let heard = anna.next().await;
    assert_eq!(
        (&heard["content"], &heard["from_type"]),
        (&json!("hi"), &json!("agent"))
    );
    let asked = target.taken().pop().unwrap().json();
    assert_eq!(asked["kind"], "message");
    assert_eq!(asked["client"]["attributes"]["team"], "blue");
    assert_eq!(
        (&asked["message"]["broadcast"], &asked["message"]["content"]),
        (&json!(true), &json!("hi"))
    );
}

/// Writes its mark behind the content.
struct Mark(&'static str, i32);

impl Interceptor for Mark {
    fn name(&self) -> &str {
        self.0
    }

    fn order(&self) -> i32 {
        self.1
    }

    fn intercept<'a>(
        &'a self,
        _: &'a Who,
        mut message: Incoming,
        next: Next<'a>,
    ) -> BoxFuture<'a, Result<Verdict, Rejection>> {
        let text = format!("{} {}", message.text().unwrap_or_default(), self.0);
        message.content = serde_json::value::to_raw_value(&text).ok();
        next.run(message)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_hook_passes_changes_answers_swallows_and_refuses_in_one_order_with_interceptors()
{
    let target = Target::start(|asked| {
        let content = asked["message"]["content"].as_str().unwrap().to_owned();
        match content.split(' ').next().unwrap() {
            "change" => says(&json!({"action": "change", "content": format!("{content} hook")})),
            "answer" => {
                says(&json!({"action": "answer", "answer": {"type": "reply", "content": "hello"}}))
            }
            "swallow" => says(&json!({"action": "swallow"})),
            "refuse" => says(&json!({"action": "refuse", "reason": "not that"})),
            _ => says(&json!({})),
        }
    })
    .await;
    let mut options = options("hooked");
    options.extensions.use_interceptor(Mark("inner", 10));
    options.extensions.use_interceptor(Mark("outer", -10));
    let set = format!(
        "hooks=[{}]",
        hook("words", target.port, "points: [message], order: 5")
    );
    let node = Node(Gateway::start(config(&[&set]), options).await.unwrap());
    let mut bob = node.connect("bob").await;
    let mut alice = node.connect("alice").await;
    for (id, content) in ["pass", "change", "answer", "swallow", "refuse"]
        .iter()
        .enumerate()
    {
        let frame = json!({"type": "text", "id": format!("m{id}"), "to": "bob", "content": content, "durable": false});
        alice.send(frame).await;
    }
    assert_eq!(bob.hear().await, "pass outer inner");
    assert_eq!(bob.hear().await, "change outer hook inner");
    let reply = alice.next().await;
    assert_eq!(
        (&reply["type"], &reply["content"], &reply["reply_to"]),
        (&json!("reply"), &json!("hello"), &json!("m2"))
    );
    let no = alice.next().await;
    assert_eq!(
        (&no["code"], &no["message"], &no["ref"]),
        (&json!("rejected"), &json!("not that"), &json!("m4"))
    );
}

/// What a client hears of a message to itself.
async fn says_hi(client: &mut Client, user: &str) -> Value {
    client
        .send(json!({"type": "text", "id": "x", "to": user, "content": "hi", "durable": false}))
        .await;
    client.next().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_does_not_decide_refuses_or_is_passed_over_by_its_policy_and_in_time() {
    let elsewhere = Target::start(|_| says(&json!({"action": "swallow"}))).await;
    let location = format!("http://127.0.0.1:{}/", elsewhere.port);
    let slow = Reply {
        after: Duration::from_secs(20),
        ..says(&json!({}))
    };
    let redirect = Reply {
        location: Some(location),
        ..fails(307)
    };
    let long = Reply {
        body: format!("{{\"reason\":\"{}\"}}", "x".repeat(2 << 20)),
        ..says(&json!({}))
    };
    let wrong = [
        slow,
        redirect,
        long,
        fails(500),
        fails(404),
        says(&json!({"action": "dance"})),
    ];
    let target = Target::start(|_| says(&json!({}))).await;
    let closed = crate::redis::free_port();
    for (policy, kind) in [("Fail", "error"), ("Ignore", "text")] {
        let rules = format!(
            "points: [message], failurePolicy: {policy}, timeout: 300ms, circuit: {{failures: 0}}"
        );
        let node = start(&[hook("words", target.port, &rules)], |_| {}).await;
        let mut alice = node.connect("alice").await;
        for reply in &wrong {
            let reply = reply.clone();
            target.replies(move |_| reply.clone());
            let began = Instant::now();
            let heard = says_hi(&mut alice, "alice").await;
            assert_eq!(heard["type"], kind, "{heard}");
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "{:?}",
                began.elapsed()
            );
            if kind == "error" {
                assert_eq!(
                    (&heard["code"], &heard["ref"]),
                    (&json!("unavailable"), &json!("x"))
                );
            }
        }
        let node = start(&[hook("words", closed, &rules)], |_| {}).await;
        let mut alice = node.connect("alice").await;
        assert_eq!(says_hi(&mut alice, "alice").await["type"], kind);
    }
    assert_eq!(elsewhere.taken().len(), 0, "redirects are not followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_asked_for_again_within_its_deadline() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let target = Target::start(move |_| match counted.fetch_add(1, Relaxed) {
        0 | 1 => fails(503),
        _ => says(&json!({"action": "change", "content": "third"})),
    })
    .await;
    let rules = "points: [message], retry: {baseDelay: 5ms}, timeout: 5s";
    let node = start(&[hook("words", target.port, rules)], |_| {}).await;
    let mut alice = node.connect("alice").await;
    assert_eq!(says_hi(&mut alice, "alice").await["content"], "third");
    let ids: Vec<Value> = target
        .taken()
        .iter()
        .map(|one| one.json()["id"].clone())
        .collect();
    assert_eq!(
        (ids.len(), &ids[0]),
        (3, &ids[2]),
        "one question, whatever the attempts"
    );
}

fn signature(key: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    let mut signature = "v1=".to_owned();
    for byte in mac.finalize().into_bytes() {
        let _ = write!(signature, "{byte:02x}");
    }
    signature
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_with_each_key_of_the_hook_and_a_key_that_is_missing_fails_the_start() {
    let target = Target::start(|_| says(&json!({}))).await;
    let keys = BTreeMap::from([
        ("gate".to_owned(), "first-key-0123456789".to_owned()),
        ("gate.second".to_owned(), "second-key-0123456789".to_owned()),
    ]);
    let named = "points: [connect], signingKeySecretRef: {name: s, key: k}";
    let node = start(&[hook("gate", target.port, named)], |secrets| {
        secrets.hook_keys = keys.clone();
    })
    .await;
    let _alice = node.connect("alice").await;
    let taken = target.taken().pop().unwrap();
    let timestamp = taken.header("wsc-timestamp");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(now.abs_diff(timestamp.parse().unwrap()) < 60);
    let given: Vec<&str> = taken.header("wsc-signature").split(',').collect();
    let wanted = ["first-key-0123456789", "second-key-0123456789"]
        .map(|key| signature(key, timestamp, &taken.body));
    assert_eq!(given, wanted);
    assert_eq!(taken.header("wsc-hook"), "gate");
    let set = format!("hooks=[{}]", hook("gate", target.port, named));
    let error = Gateway::start(config(&[&set]), options("keyless"))
        .await
        .err()
        .unwrap();
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert!(
        chain.contains("hook gate: no hook-key-gate in the secrets directory"),
        "{chain}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_down_is_not_asked_for_a_while_and_then_tried_once() {
    let target = Target::start(|_| fails(503)).await;
    let rules = "points: [message], retry: {maxAttempts: 1}, circuit: {failures: 3, openFor: 1s}";
    let node = start(&[hook("words", target.port, rules)], |_| {}).await;
    let mut alice = node.connect("alice").await;
    for _ in 0..10 {
        assert_eq!(says_hi(&mut alice, "alice").await["code"], "unavailable");
    }
    assert_eq!(target.taken().len(), 3, "then nobody asks");
    target.replies(|_| says(&json!({})));
    let mut healed = false;
    for _ in 0..200 {
        healed = says_hi(&mut alice, "alice").await["type"] == "text";
        if healed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(healed);
    assert_eq!(says_hi(&mut alice, "alice").await["type"], "text");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_decisions_are_asked_for_at_once_and_no_more() {
    let target = Target::start(|_| Reply {
        after: Duration::from_millis(50),
        ..says(&json!({}))
    })
    .await;
    let rules = "points: [message], maxConcurrency: 2, timeout: 10s";
    let node = Arc::new(start(&[hook("words", target.port, rules)], |_| {}).await);
    let mut talks = tokio::task::JoinSet::new();
    for index in 0..8 {
        let node = node.clone();
        talks.spawn(async move {
            let user = format!("user-{index}");
            let mut client = node.connect(&user).await;
            says_hi(&mut client, &user).await["type"].clone()
        });
    }
    assert!(talks.join_all().await.iter().all(|kind| kind == "text"));
    assert_eq!(target.at_once.1.load(Relaxed), 2);
}

pub fn kinds(target: &Target) -> Vec<String> {
    let events = target.events();
    let name = |event: &Value| {
        event["type"]
            .as_str()
            .unwrap()
            .trim_start_matches("dev.wsc.")
            .to_owned()
    };
    events.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_delivered_in_batches_or_one_by_one_and_tried_again_until_they_arrive() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let batches = Target::start(move |_| match counted.fetch_add(1, Relaxed) {
        0 => fails(503),
        _ => says(&json!({})),
    })
    .await;
    let singles = Target::start(|_| says(&json!({}))).await;
    let hooks = [
        hook(
            "batches",
            batches.port,
            "events: ['client.*'], points: [sent], batch: {maxAge: 300ms}, retry: {baseDelay: 5ms}",
        ),
        hook(
            "singles",
            singles.port,
            "points: [disconnect], batch: {maxEvents: 1}",
        ),
    ];
    let node = start(&hooks, |_| {}).await;
    let mut alice = node.connect("alice").await;
    assert_eq!(says_hi(&mut alice, "alice").await["type"], "text");
    drop(alice);
    eventually("all events arrive", || async {
        batches.taken().len() >= 2 && kinds(&singles).len() == 1
    })
    .await;
    let last = batches.taken().pop().unwrap();
    assert_eq!(
        last.header("content-type"),
        "application/cloudevents-batch+json"
    );
    let mut arrived = kinds(&batches);
    arrived.dedup();
    assert!(
        arrived.iter().any(|kind| kind == "message.sent"),
        "{arrived:?}"
    );
    let single = singles.taken().pop().unwrap();
    assert_eq!(
        single.header("content-type"),
        "application/cloudevents+json"
    );
    let event = single.json();
    assert_eq!(
        (&event["specversion"], &event["type"]),
        (&json!("1.0"), &json!("dev.wsc.client.disconnected"))
    );
    assert_eq!(
        (&event["subject"], &event["data"]["reason"]),
        (&json!("alice"), &json!("connection_lost"))
    );
    assert!(event["time"].as_str().unwrap().ends_with('Z'));
    let of = |name: &str| {
        node.0
            .service()
            .hooks()
            .into_iter()
            .find(|hook| hook.plan().name() == name)
            .unwrap()
    };
    assert!(of("batches").stats().retried.load(Relaxed) >= 1);
    assert_eq!(of("batches").stats().dropped.load(Relaxed), 0);
    eventually("nothing waits", || async {
        of("batches").stats().queued.load(Relaxed) == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_within_its_bounds_is_dropped_and_counted() {
    let target = Target::start(|_| fails(500)).await;
    let rules = "events: ['client.*'], retry: {maxAttempts: 3, baseDelay: 5ms}, circuit: {failures: 0}, batch: {maxAge: 0s}";
    let node = start(&[hook("ears", target.port, rules)], |_| {}).await;
    let _alice = node.connect("alice").await;
    let stats = node.0.service().hooks()[0].stats().clone();
    eventually("it is dropped", || async {
        stats.dropped.load(Relaxed) == 1
    })
    .await;
    assert_eq!((target.taken().len(), stats.told.load(Relaxed)), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_of_several_tells_a_hook_who_comes_and_goes() {
    let redis = RedisServer::start();
    let target = Target::start(|_| says(&json!({}))).await;
    let set = format!(
        "hooks=[{}]",
        hook("ears", target.port, "events: ['user.*']")
    );
    let nodes: [Node; 3] = cluster(redis.port, &[&set, "wsc.presence.offlineDelay=200ms"]).await;
    for node in &nodes {
        drop(
            node.connect(&format!("user-of-{}", node.0.cluster().identity().0))
                .await,
        );
    }
    eventually("all came and went", || async { kinds(&target).len() >= 6 }).await;
    let mut ids: Vec<String> = target
        .events()
        .iter()
        .map(|event| event["id"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    assert_eq!(target.events().len(), 6, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_come_and_go_under_clients_that_stay() {
    let target = Target::start(|_| says(&json!({"action": "change", "content": "changed"}))).await;
    let node = start(&[], |_| {}).await;
    let mut alice = node.connect("alice").await;
    assert_eq!(says_hi(&mut alice, "alice").await["content"], "hi");
    let set = format!(
        "hooks=[{}]",
        hook("words", target.port, "points: [message, disconnect]")
    );
    let changes = node.0.reload(config(&[&set])).await.unwrap();
    assert!(changes.live.contains(&"hooks".to_owned()), "{changes:?}");
    assert_eq!(says_hi(&mut alice, "alice").await["content"], "changed");
    let before = node.0.service().hooks();
    node.0
        .reload(config(&[&set, "wsc.heartbeatInterval=40s"]))
        .await
        .unwrap();
    assert!(
        Arc::ptr_eq(&before[0], &node.0.service().hooks()[0]),
        "the same hook goes on"
    );
    drop(before);
    drop(alice);
    eventually(
        "the end of a session that began before it is told",
        || async { kinds(&target) == ["client.disconnected"] },
    )
    .await;
    let mut bob = node.connect("bob").await;
    node.0.reload(config(&[])).await.unwrap();
    assert_eq!(says_hi(&mut bob, "bob").await["content"], "hi");
    let wrong =
        config(&["hooks=[{name: a, events: [client.nothing], target: {local: {port: 1}}}]"]);
    let error = node.0.reload(wrong).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.contains("hook a") || source.contains("client.nothing"),
        "{source}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_authenticates_filters_and_answers() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    const KEY: &str = "a-key-of-the-python-example";
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/hooks/hooks.py");
    let mut command = Command::new("python3");
    command.args([script, "--port", "0"]).env("HOOK_KEY", KEY);
    let Ok(mut python) = command.stdout(Stdio::piped()).spawn() else {
        eprintln!("skipped: no python3 here");
        return;
    };
    let mut said = BufReader::new(python.stdout.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    let port: u16 = first.strip_prefix("listening ").unwrap().parse().unwrap();
    let rules = "points: [connect, message, disconnect], timeout: 10s";
    let keys = |key: &str| BTreeMap::from([("py".to_owned(), key.to_owned())]);
    let node = start(&[hook("py", port, rules)], |secrets| {
        secrets.hook_keys = keys(KEY);
    })
    .await;
    assert_eq!(refused(&node, "mallory").await.0["message"], "we have met");
    let mut alice = node.connect("alice").await;
    let mut say = async |kind: &str, content: &str| {
        let frame = json!({"type": kind, "to": "alice", "content": content, "durable": false});
        alice.send(frame).await;
        alice.next().await
    };
    assert_eq!(say("text", "hello").await["content"], "hello");
    assert_eq!(say("text", "damn it").await["content"], "**** it");
    assert_eq!(
        say("text", "a secret").await["message"],
        "do not send secrets"
    );
    let you = say("whoami", "").await;
    assert_eq!(
        (&you["content"], &you["data"]["greeted"]),
        (&json!("alice"), &json!("yes"))
    );
    drop(alice);
    let told = said.next().unwrap().unwrap();
    assert!(
        told.starts_with("event dev.wsc.client.disconnected alice "),
        "{told}"
    );
    // A request that somebody else signed, and one that was signed long ago, are refused.
    let stranger = start(&[hook("py", port, rules)], |secrets| {
        secrets.hook_keys = keys("another-key-of-nobody");
    })
    .await;
    assert_eq!(refused(&stranger, "alice").await.1, 1013);
    let body = br#"{"kind":"connect","client":{"user":"alice"}}"#;
    for (timestamp, status) in [("1000000000", 401), (&now().to_string() as &str, 200)] {
        let request = reqwest::Client::new()
            .post(format!("http://127.0.0.1:{port}/"))
            .body(body.to_vec());
        let request = request.header("wsc-timestamp", timestamp);
        let request = request.header("wsc-signature", signature(KEY, timestamp, body));
        assert_eq!(
            request.send().await.unwrap().status().as_u16(),
            status,
            "{timestamp}"
        );
    }
    python.kill().unwrap();
    python.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_hook_lets_into_groups_of_which_the_token_says_nothing() {
    let target = Target::start(|asked| {
        let shown = (&asked["kind"], &asked["client"]["user"]);
        assert_eq!(shown, (&json!("groupJoin"), &json!("alice")));
        match asked["group"].as_str().unwrap() {
            "open" => says(&json!({"action": "allow"})),
            _ => says(&json!({"action": "deny", "reason": "members only"})),
        }
    })
    .await;
    let set = format!(
        "hooks=[{}]",
        hook("door", target.port, "points: [groupJoin]")
    );
    let sets = [&set, "wsc.group.enabled=true", "wsc.group.autoCreate=true"];
    let node = Node(
        Gateway::start(config(&sets), options("hooked"))
            .await
            .unwrap(),
    );
    let mut alice = node.connect("alice").await;
    let mut join = async |group: &str| {
        let frame = json!({"type": "group.join", "id": "g", "data": {"group": group}});
        alice.send(frame).await;
        alice.next().await
    };
    let refused = join("closed").await;
    assert_eq!(
        (&refused["type"], &refused["message"]),
        (&json!("error"), &json!("members only"))
    );
    let joined = join("open").await;
    assert_ne!(joined["type"], "error", "{joined}");
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

mod grpc {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use serde_json::json;
    use tonic::{Request, Response, Status};
    use wsc_proto::v1::hook_service_server::{HookService, HookServiceServer};
    use wsc_proto::v1::{
        HookAdmission, HookAnswer, HookConnectRequest, HookJoinGroupRequest, HookMessageRequest,
        HookTellRequest, HookTellResponse, HookVerdict,
    };

    use super::{hook, refused, signature, start};
    use crate::sandbox::eventually;

    const KEY: &str = "a-key-for-the-grpc-hook";

    #[derive(Clone, Default)]
    struct Application {
        told: Arc<Mutex<Vec<String>>>,
        signed: Arc<Mutex<Vec<(String, String, String)>>>,
    }

    #[tonic::async_trait]
    impl HookService for Application {
        async fn connect_client(
            &self,
            request: Request<HookConnectRequest>,
        ) -> Result<Response<HookAdmission>, Status> {
            let of = |name: &str| {
                request
                    .metadata()
                    .get(name)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            };
            let signed = (
                of("wsc-timestamp"),
                of("wsc-signature"),
                request.get_ref().id.clone(),
            );
            self.signed.lock().push(signed);
            let client = request.into_inner().client.unwrap();
            Ok(Response::new(match client.user.as_str() {
                "mallory" => HookAdmission {
                    action: "deny".to_owned(),
                    reason: "we have met".to_owned(),
                    ..HookAdmission::default()
                },
                "grouped" => HookAdmission {
                    groups: vec!["blue".to_owned()],
                    ..HookAdmission::default()
                },
                _ => HookAdmission {
                    attributes: [("team".to_owned(), "blue".to_owned())].into(),
                    ..HookAdmission::default()
                },
            }))
        }

        async fn message(
            &self,
            request: Request<HookMessageRequest>,
        ) -> Result<Response<HookVerdict>, Status> {
            let request = request.into_inner();
            let team = request.client.unwrap().attributes["team"].clone();
            let message = request.message.unwrap();
            let verdict = match message.content_json.as_str() {
                r#""fail""# => return Err(Status::internal("broken")),
                r#""answer""# => HookVerdict {
                    action: "answer".to_owned(),
                    answer: Some(HookAnswer {
                        r#type: "team".to_owned(),
                        content_json: json!(team).to_string(),
                        ..HookAnswer::default()
                    }),
                    ..HookVerdict::default()
                },
                _ => HookVerdict {
                    action: "change".to_owned(),
                    content_json: r#""changed""#.to_owned(),
                    ..HookVerdict::default()
                },
            };
            Ok(Response::new(verdict))
        }

        async fn join_group(
            &self,
            _: Request<HookJoinGroupRequest>,
        ) -> Result<Response<HookAdmission>, Status> {
            Ok(Response::new(HookAdmission::default()))
        }

        async fn tell(
            &self,
            request: Request<HookTellRequest>,
        ) -> Result<Response<HookTellResponse>, Status> {
            let events = request.into_inner().events.into_iter();
            self.told.lock().extend(events.map(|event| event.r#type));
            Ok(Response::new(HookTellResponse {}))
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_same_goes_over_grpc() {
        let application = Application::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let served = tonic::transport::Server::builder()
            .add_service(HookServiceServer::new(application.clone()))
            .serve(address);
        tokio::spawn(served);
        let rules = "transport: grpc, points: [connect, message, disconnect], timeout: 5s, retry: {maxAttempts: 2, baseDelay: 5ms}";
        let keys = std::collections::BTreeMap::from([("app".to_owned(), KEY.to_owned())]);
        let node = start(&[hook("app", address.port(), rules)], |secrets| {
            secrets.hook_keys = keys;
        })
        .await;
        assert_eq!(refused(&node, "mallory").await.0["message"], "we have met");
        let mut alice = node.connect("alice").await;
        let mut say = async |content: &str| {
            let frame =
                json!({"type": "text", "to": "alice", "content": content, "durable": false});
            alice.send(frame).await;
            alice.next().await
        };
        assert_eq!(say("hi").await["content"], "changed");
        let team = say("answer").await;
        assert_eq!(
            (&team["type"], &team["content"]),
            (&json!("team"), &json!("blue"))
        );
        assert_eq!(say("fail").await["code"], "unavailable");
        let off = node.connect("grouped").await.next().await;
        let said = (&off["code"], off["message"].as_str().unwrap());
        assert_eq!(said.0, "not_supported", "it was put into a group: {off}");
        drop(alice);
        eventually("both ends are told", || async {
            *application.told.lock() == ["dev.wsc.client.disconnected"; 2]
        })
        .await;
        let (timestamp, given, id) = application.signed.lock()[0].clone();
        assert_eq!(
            given,
            signature(KEY, &timestamp, format!("ConnectClient.{id}").as_bytes())
        );
    }
}
