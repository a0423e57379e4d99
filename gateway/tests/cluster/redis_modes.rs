//! The kinds of Redis that a cluster of nodes can live in, each with real processes: TLS, a user with few rights, Sentinels
//! and their failover, a Redis Cluster and a slot that moves, and how many connections a node holds.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::log::RETENTION;
use crate::support::nodes::{Node, params, within};
use crate::support::redis::{RedisServer, Scratch, free_port};
use redis::{Pipeline, Script};
use tokio::time::Instant;
use wsc_gateway::cluster::redis::{RedisInterest, RedisLink};
use wsc_gateway::cluster::{
    Address, Backend, Interest, Link, Password, RedisParams, RedisTls, Sentinels, Topology,
};
use wsc_gateway::log::{Append, Log, Most, RedisLog};
use wsc_gateway::protocol::{GroupId, LogId, UserId};
use wsc_gateway::telemetry::RedisPart;

const TIMEOUT: Duration = Duration::from_secs(6);

fn node(name: &str, redis: &RedisParams) -> Node {
    Node::start(params(name, &Backend::Redis(redis.clone()), TIMEOUT))
}

async fn pair(redis: &RedisParams) -> [Node; 2] {
    let nodes = ["a", "b"].map(|name| node(name, redis));
    for node in &nodes {
        node.ready().await;
        node.knows(1).await;
    }
    nodes
}

fn why_down(node: &Node) -> String {
    match node.cluster.status().link {
        Link::Down { last_error, .. } => last_error,
        Link::Alone | Link::Up => String::new(),
    }
}

fn address(port: u16) -> Address {
    let host = "127.0.0.1".to_owned();
    Address { host, port }
}

fn of_alice(id: &str) -> Append {
    Append {
        id: id.to_owned(),
        sender: "alice".to_owned(),
        own_id: true,
        json: "{}".into(),
        at: 1,
        ack: true,
        trace: None,
    }
}

async fn stored_in(log: &dyn Log, inbox: &LogId) -> usize {
    log.read(inbox, None, Most::messages(100))
        .await
        .unwrap()
        .entries
        .len()
}

/// Sends until it arrives: right after a failover a node may not know yet that its link is gone.
async fn reaches(from: &Node, to: &Node, user: &str, text: &str) {
    within(10, "a message crosses", async || {
        let _ = from.send(&[user], text).await;
        to.hub.got(user).iter().any(|got| got == text)
    })
    .await;
}

fn openssl(dir: &Path, args: &str) {
    let done = Command::new("openssl")
        .current_dir(dir)
        .args(args.split_whitespace())
        .output()
        .unwrap();
    assert!(done.status.success(), "openssl {args}: {done:?}");
}

/// An authority, and a certificate of its for `redis.test`.
fn certificates(dir: &Path) -> String {
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(
        dir,
        &format!("{new} -keyout ca.key -out ca.pem -subj /CN=ca"),
    );
    let leaf = "-subj /CN=r -addext subjectAltName=DNS:redis.test -addext basicConstraints=critical,CA:FALSE";
    openssl(
        dir,
        &format!("{new} -CA ca.pem -CAkey ca.key -keyout r.key -out r.pem {leaf}"),
    );
    std::fs::read_to_string(dir.join("ca.pem")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_by_tls_is_known_by_its_authority_and_name() {
    let certificate = Scratch::new();
    let dir = certificate.path();
    let ca = certificates(dir);
    let port = free_port();
    let (tls_port, file) = (port.to_string(), |name: &str| {
        dir.join(name).display().to_string()
    });
    let (cert, key, authority) = (file("r.pem"), file("r.key"), file("ca.pem"));
    let server = RedisServer::with_args(&[
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ]);
    let mut redis = RedisParams::at("127.0.0.1", port);
    let tls = |ca: &str, name: Option<&str>| RedisTls {
        ca: Some(ca.into()),
        server_name: name.map(ToOwned::to_owned),
    };
    redis.tls = Some(tls(&ca, Some("redis.test")));
    let [a, b] = pair(&redis).await;
    b.up("bob");
    a.sees_online(&["bob"]).await;
    reaches(&a, &b, "bob", "by tls").await;
    let clear = server.cli(&["client", "list"]);
    assert_eq!(clear.lines().count(), 1 + 2 * 3, "{clear}");
    let foreign = Scratch::new();
    let other_ca = certificates(foreign.path());
    let wrong = [
        (tls(&ca, None), "certificate"),
        (tls(&other_ca, Some("redis.test")), "certificate"),
        (tls("no pem", Some("redis.test")), "caSecretRef"),
    ];
    for (tls, why) in wrong {
        redis.tls = Some(tls);
        let refused = node("c", &redis);
        within(10, why, async || why_down(&refused).contains(why)).await;
        refused.crash().await;
    }
}

/// The line that `docs/operations.md` gives; documentation that locks out is worse than none.
fn documented_user() -> Vec<String> {
    let docs = include_str!("../../../docs/operations.md");
    let line = docs
        .lines()
        .find(|line| line.starts_with("ACL SETUSER wsc "));
    let line = line.expect("docs/operations.md has the line for the ACL user");
    line.split_whitespace().map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_acl_user_suffices_and_is_as_narrow_as_it_says() {
    let server = RedisServer::start();
    let line: Vec<String> = documented_user();
    let line: Vec<&str> = line
        .iter()
        .map(|word| {
            if word.starts_with('>') {
                ">secret"
            } else {
                word
            }
        })
        .collect();
    assert_eq!(server.cli(&line), "OK");
    let mut redis = RedisParams::at("127.0.0.1", server.port);
    (redis.username, redis.password) = (Some("wsc".to_owned()), Some(Password::new("secret")));
    let [a, b] = pair(&redis).await;
    let session = b.up("bob");
    a.sees_online(&["bob"]).await;
    reaches(&a, &b, "bob", "hello").await;
    b.down(session);
    a.sees_online(&[]).await;
    let link = a.cluster.redis().unwrap();
    let log = RedisLog::new(&link, RETENTION, false);
    let inbox = LogId::Inbox(UserId::new("bob").unwrap());
    let log: &dyn Log = &log;
    log.append(&inbox, &[of_alice("m1")]).await.unwrap();
    assert_eq!(stored_in(log, &inbox).await, 1);
    let ask = async |command: &str, key: &str| {
        let mut pipeline = Pipeline::new();
        pipeline.cmd(command).arg(key);
        let calls = link.calls(RedisPart::Logs);
        let answer: Result<redis::Value, _> = calls.query("test", &pipeline).await;
        answer.is_ok()
    };
    assert!(ask("GET", "wsc:{test:x}:y").await);
    for (command, key) in [("GET", "other:x"), ("KEYS", "wsc:*"), ("FLUSHALL", "ASYNC")] {
        assert!(!ask(command, key).await, "{command} {key}");
    }
    assert_eq!(
        server.cli(&["acl", "log"]).matches("reason").count(),
        3,
        "and nothing else was refused"
    );
    b.crash().await;
    a.knows(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_sentinel_failover_nodes_write_again_within_ten_seconds() {
    let mut primary = RedisServer::start();
    let of = primary.port.to_string();
    let replica = primary.replica();
    within(20, "the replica is in step", async || replica.is_in_step()).await;
    let watch = format!(
        "sentinel monitor main 127.0.0.1 {of} 2\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
    );
    let sentinels = [(); 3].map(|()| RedisServer::sentinel(&watch));
    for sentinel in &sentinels {
        let ready = async || {
            let known = sentinel.cli(&["sentinel", "master", "main"]);
            let value = |of: &str| {
                known
                    .lines()
                    .skip_while(|line| *line != of)
                    .nth(1)
                    .map(ToOwned::to_owned)
            };
            value("num-slaves").as_deref() == Some("1")
                && value("num-other-sentinels").as_deref() == Some("2")
        };
        within(30, "the Sentinels know each other", ready).await;
    }
    let mut redis = RedisParams::at("", 0);
    redis.topology = Topology::Sentinel(Sentinels {
        master: "main".to_owned(),
        addresses: sentinels
            .iter()
            .map(|sentinel| address(sentinel.port))
            .collect(),
    });
    let [a, b] = pair(&redis).await;
    b.up("bob");
    a.sees_online(&["bob"]).await;
    let killed = Instant::now();
    primary.kill();
    within(5, "noticed", async || {
        !why_down(&a).is_empty() && !why_down(&b).is_empty()
    })
    .await;
    let back = async || a.is_linked() && b.is_linked();
    within(15, "linked again", back).await;
    b.up("eve");
    a.sees_online(&["bob", "eve"]).await;
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(replica.cli(&["role"]).starts_with("master"));
    reaches(&a, &b, "eve", "over the new primary").await;
    redis.topology = Topology::Sentinel(Sentinels {
        master: "unheard-of".to_owned(),
        addresses: vec![address(sentinels[0].port)],
    });
    let lost = node("c", &redis);
    within(5, "named", async || why_down(&lost).contains("masterName")).await;
}

/// Three servers that are one Redis Cluster.
async fn three() -> [RedisServer; 3] {
    let members = [(); 3].map(|()| {
        let bus = free_port().to_string();
        RedisServer::with_args(&[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            "2000",
        ])
    });
    let mut create: Vec<String> = ["--cluster", "create"].map(ToOwned::to_owned).into();
    create.extend(
        members
            .iter()
            .map(|member| format!("127.0.0.1:{}", member.port)),
    );
    create.push("--cluster-yes".to_owned());
    let create: Vec<&str> = create.iter().map(String::as_str).collect();
    let made = members[0].cli(&create);
    assert!(made.contains("All 16384 slots covered"), "{made}");
    for member in &members {
        let whole = async || {
            member
                .cli(&["cluster", "info"])
                .contains("cluster_state:ok")
        };
        within(20, "the cluster is whole", whole).await;
    }
    members
}

fn id(member: &RedisServer) -> String {
    member.cli(&["cluster", "myid"])
}

/// Moves one slot with all its keys, as an operator would, while it is in use.
fn move_slot(members: &[RedisServer; 3], slot: &str, (from, to): (usize, usize)) {
    let (from, to) = (&members[from], &members[to]);
    assert_eq!(
        to.cli(&["cluster", "setslot", slot, "importing", &id(from)]),
        "OK"
    );
    assert_eq!(
        from.cli(&["cluster", "setslot", slot, "migrating", &id(to)]),
        "OK"
    );
    let port = to.port.to_string();
    loop {
        let keys = from.cli(&["cluster", "getkeysinslot", slot, "100"]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            break;
        }
        let mut migrate = vec!["migrate", "127.0.0.1", &port, "", "0", "5000", "keys"];
        migrate.extend(keys);
        let _ = from.cli(&migrate);
    }
    for member in [to, from] {
        assert_eq!(
            member.cli(&["cluster", "setslot", slot, "node", &id(to)]),
            "OK"
        );
    }
}

/// Whether it can be told who holds each of three groups when one of them has no such list.
async fn told_of_three_groups(link: &Arc<RedisLink>, member: &RedisServer) -> [bool; 3] {
    let groups = ["one", "two", "three"].map(|group| GroupId::new(group).unwrap());
    let key = link.key("g:two", "nodes");
    assert_eq!(member.cli(&["-c", "set", &key, "no hash"]), "OK");
    let held = RedisInterest::new(link).holders(&groups).await;
    let told: Vec<bool> = held.iter().map(Result::is_ok).collect();
    told.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_live_in_a_redis_cluster_and_outlive_the_move_of_their_slot() {
    let members = three().await;
    let mut redis = RedisParams::at("127.0.0.1", members[0].port);
    redis.topology = Topology::Cluster(vec![address(members[1].port)]);
    let [a, b] = pair(&redis).await;
    b.up("bob");
    a.sees_online(&["bob"]).await;
    reaches(&a, &b, "bob", "sharded").await;
    let channels = members
        .each_ref()
        .map(|member| member.cli(&["pubsub", "shardchannels"]));
    assert!(
        channels.iter().any(|all| all.contains(":to:a")),
        "{channels:?}"
    );
    // What others keep lies all over the cluster, scripts and all.
    let link = a.cluster.redis().unwrap().calls(RedisPart::Logs);
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for n in 0..50 {
        let mut call = script.key(link.key(&format!("u:{n}"), "count"));
        let count: u64 = link.run("test", call.arg(n + 1)).await.unwrap();
        assert_eq!(count, n + 1);
    }
    // Without replicas what waits for one does so where its log lies, and says so.
    let replicated = RedisLog::new(&a.cluster.redis().unwrap(), RETENTION, true);
    for n in 0..3 {
        let inbox = LogId::Inbox(UserId::new(&format!("r{n}")).unwrap());
        let log: &dyn Log = &replicated;
        let waited = log.append(&inbox, &[of_alice("m1")]).await;
        let error = waited.unwrap_err();
        assert_eq!(error.label(), "not_replicated", "{error}");
        assert_eq!(stored_in(log, &inbox).await, 1);
    }
    let told = told_of_three_groups(&a.cluster.redis().unwrap(), &members[0]).await;
    assert_eq!(told, [true, false, true], "each lies where it does");
    let sizes = members
        .each_ref()
        .map(|member| member.cli(&["dbsize"]).parse::<u64>().unwrap());
    assert!(sizes.iter().all(|size| *size > 5), "{sizes:?}");
    let slot = members[0].cli(&["cluster", "keyslot", "wsc:{test}:nodes"]);
    let holds = |member: &RedisServer| member.cli(&["cluster", "countkeysinslot", &slot]) != "0";
    let from = members.iter().position(holds).unwrap();
    let to = (from + 1) % 3;
    move_slot(&members, &slot, (from, to));
    let moved = Instant::now();
    assert!(holds(&members[to]));
    b.up("eve");
    a.sees_online(&["bob", "eve"]).await;
    reaches(&a, &b, "eve", "after the move").await;
    a.up("amy");
    b.sees_online(&["amy", "bob", "eve"]).await;
    reaches(&b, &a, "amy", "the other way").await;
    assert!(
        moved.elapsed() < Duration::from_secs(10),
        "{:?}",
        moved.elapsed()
    );
    within(10, "the link is up", async || {
        a.is_linked() && b.is_linked()
    })
    .await;
}

#[tokio::test]
async fn a_node_holds_as_many_connections_as_the_pool_says_and_one_for_messages() {
    let server = RedisServer::start();
    let mut redis = RedisParams::at("127.0.0.1", server.port);
    redis.pool = 5;
    let a = node("a", &redis);
    a.ready().await;
    let clients = server.cli(&["client", "list"]);
    let own = clients
        .lines()
        .filter(|line| !line.contains("cmd=client"))
        .count();
    assert_eq!(own, 6, "{clients}");
    let link = a.cluster.redis().unwrap().calls(RedisPart::Logs);
    for _ in 0..50 {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg("wsc:{test}:x");
        let _: (Option<String>,) = link.query("test", &pipeline).await.unwrap();
    }
    let used = server.cli(&["client", "list"]);
    let used = used
        .lines()
        .filter(|line| line.contains("cmd=get "))
        .count();
    assert!(used >= 4, "{used}: the work is spread");
}
