//! Nodes registered in etcd, with everything else in Redis: news by watch, etcd away, frozen, back, cut off, with users, by TLS.

use std::process::Command;
use std::time::Duration;

use crate::support::etcd::EtcdServer;
use crate::support::ground::{ETCD_TIMEOUT, Ground};
use crate::support::nodes::{Node, params, within};
use crate::support::proxy::Proxy;
use crate::support::redis::{RedisServer, Scratch};
use crate::support::subject::{LEASE, info};
use tokio::time::Instant;
use wsc_gateway::cluster::etcd::{EtcdLink, EtcdRegistry};
use wsc_gateway::cluster::{
    Address, Backend, Claim, ClusterError, EtcdParams, EtcdTls, Link, NodeRegistry, Password,
    RedisParams,
};
use wsc_gateway::protocol::{Epoch, NodeId};

/// What etcd said last, if it does not serve.
fn trouble(node: &Node) -> Option<String> {
    let etcd = node.cluster.status().etcd.expect("registered in etcd");
    etcd.down.map(|(_, said)| said)
}

fn is_down(node: &Node) -> bool {
    matches!(node.cluster.status().link, Link::Down { .. })
}

async fn pair(ground: &Ground) -> [Node; 2] {
    let nodes = ground.nodes(["a", "b"]).await;
    nodes[0].up("ann");
    nodes[1].up("bob");
    nodes[0].sees_online(&["ann", "bob"]).await;
    nodes
}

async fn all_is_well(a: &Node, b: &Node) {
    within(20, "both are linked and know each other", async || {
        !is_down(a) && !is_down(b) && a.peers().len() == 1 && b.peers().len() == 1
    })
    .await;
    a.sees_online(&["ann", "bob"]).await;
    let arrives = async || matches!(a.send(&["bob"], "again").await.as_deref(), Ok([1]));
    within(5, "a to b", arrives).await;
    assert_eq!((trouble(a), trouble(b)), (None, None));
}

/// Looks at intervals are ten seconds apart here, and nobody tells the peers but etcd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_is_known_by_the_watch_and_not_by_the_next_look() {
    let ground = Ground {
        timeout: Duration::from_mins(1),
        ..Ground::etcd().await
    };
    let [a, b] = pair(&ground).await;
    let etcd = ground.etcd.as_ref().unwrap();
    let link = EtcdLink::new(&etcd.params(), "test");
    let stranger = EtcdRegistry::new(link, None, LEASE);
    for _ in 0..3 {
        let start = Instant::now();
        let epoch = stranger.claim(&info("c", 0), Claim::Take).await.unwrap();
        within(2, "c came", async || {
            a.peers().contains("c") && b.peers().contains("c")
        })
        .await;
        NodeRegistry::leave(&stranger, &NodeId::new("c"), epoch)
            .await
            .unwrap();
        within(2, "c went", async || {
            a.peers().len() == 1 && b.peers().len() == 1
        })
        .await;
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_that_restarts_within_a_lease_disturbs_nothing() {
    let mut ground = Ground::etcd().await;
    ground.timeout = Duration::from_secs(30);
    let [a, b] = pair(&ground).await;
    let epochs = [&a, &b].map(|node| node.cluster.status().epoch);
    let etcd = ground.etcd.as_mut().unwrap();
    etcd.kill();
    // The next renewal is seconds away: asking for the nodes meets it now.
    assert!(matches!(
        a.cluster.nodes().await,
        Err(ClusterError::Registry { .. })
    ));
    let said = trouble(&a).expect("the status says so");
    assert!(said.contains("not reachable"), "{said}");
    assert!(!is_down(&a) && !is_down(&b), "what was granted holds");
    assert_eq!(a.send(&["bob"], "meanwhile").await.unwrap(), [1]);
    etcd.restart();
    within(10, "etcd serves", async || a.cluster.nodes().await.is_ok()).await;
    all_is_well(&a, &b).await;
    let after = [&a, &b].map(|node| node.cluster.status().epoch);
    assert_eq!(after, epochs, "the same incarnations");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_frozen_for_longer_than_a_lease_is_named_and_everyone_claims_anew() {
    let ground = Ground::etcd().await;
    let [a, b] = pair(&ground).await;
    let epochs = [&a, &b].map(|node| node.cluster.status().epoch);
    let etcd = ground.etcd.as_ref().unwrap();
    etcd.pause();
    within(15, "both say that they are out, and why", async || {
        is_down(&a) && is_down(&b) && trouble(&a).is_some() && trouble(&b).is_some()
    })
    .await;
    let Link::Down { last_error, .. } = a.cluster.status().link else {
        panic!("down");
    };
    assert!(last_error.contains("etcd"), "{last_error}");
    let refused = a.send(&["bob"], "lost").await.unwrap_err();
    assert!(matches!(refused, ClusterError::Disconnected), "{refused:?}");
    etcd.resume();
    all_is_well(&a, &b).await;
    let after = [&a, &b].map(|node| node.cluster.status().epoch);
    assert!(after[0] >= epochs[0] && after[1] >= epochs[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_from_etcd_leaves_the_cluster_and_comes_back_with_a_newer_epoch() {
    let ground = Ground::etcd().await;
    let Backend::Etcd(redis, etcd) = ground.backend.clone() else {
        unreachable!()
    };
    let proxy = Proxy::to(ground.etcd.as_ref().unwrap().port).await;
    let mut through = etcd.clone();
    through.endpoints[0].port = proxy.port;
    let b = Node::start(params("b", &Backend::Etcd(redis, through), ETCD_TIMEOUT));
    let a = ground.node("a");
    for node in [&a, &b] {
        node.ready().await;
        node.knows(1).await;
    }
    a.up("ann");
    b.up("bob");
    a.sees_online(&["ann", "bob"]).await;
    let epoch = b.cluster.status().epoch;
    proxy.cut();
    within(10, "a sees it go", async || a.peers().is_empty()).await;
    a.sees_online(&["ann"]).await;
    within(10, "b knows that it is out", async || {
        is_down(&b) && trouble(&b).is_some()
    })
    .await;
    assert!(!is_down(&a) && trouble(&a).is_none(), "a is not concerned");
    proxy.mend();
    all_is_well(&a, &b).await;
    assert!(b.cluster.status().epoch > epoch, "a new incarnation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_taken_while_its_holder_was_cut_off_is_not_taken_back() {
    let ground = Ground::etcd().await;
    let Backend::Etcd(redis, etcd) = ground.backend.clone() else {
        unreachable!()
    };
    let proxy = Proxy::to(ground.etcd.as_ref().unwrap().port).await;
    let mut through = etcd.clone();
    through.endpoints[0].port = proxy.port;
    let old = Node::start(params("a", &Backend::Etcd(redis, through), ETCD_TIMEOUT));
    old.ready().await;
    proxy.cut();
    within(10, "it is out", async || is_down(&old)).await;
    let new = ground.node("a");
    new.ready().await;
    new.up("bob");
    proxy.mend();
    let fenced = tokio::time::timeout(Duration::from_secs(10), old.cluster.fenced()).await;
    assert_eq!(fenced.unwrap(), new.cluster.status().epoch);
    old.up("eve");
    new.sees_online(&["bob"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_is_newer_than_any_that_redis_or_a_lost_etcd_gave() {
    let ground = Ground::etcd().await;
    let redis = ground.server.as_ref().unwrap();
    redis.cli(&["set", "wsc:{test}:epoch:a", "1700000000000000"]);
    let [a] = ground.nodes(["a"]).await;
    assert_eq!(a.cluster.status().epoch, Epoch(1_700_000_000_000_001));
    let shadow = redis.cli(&["get", "wsc:{test}:lease:a"]);
    assert!(shadow.contains(r#""epoch":1700000000000001"#), "{shadow}");
    a.cluster.leave().await.unwrap();
    assert_eq!(redis.cli(&["get", "wsc:{test}:lease:a"]), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_another_overwrote_is_put_right() {
    let ground = Ground::etcd().await;
    let [a, b] = pair(&ground).await;
    let (redis, epoch) = (ground.server.as_ref().unwrap(), a.cluster.status().epoch);
    redis.cli(&["set", "wsc:{test}:lease:a", r#"{"node":"a","epoch":7}"#]);
    within(10, "claimed anew, and found again", async || {
        a.cluster.status().epoch > epoch && b.online().await == ["ann", "bob"]
    })
    .await;
    all_is_well(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_gone_is_left_for_the_next() {
    let (redis, etcd) = (RedisServer::start(), EtcdServer::start());
    let mut params_of_etcd = etcd.params();
    let nobody = Address {
        host: "127.0.0.1".to_owned(),
        port: 1,
    };
    params_of_etcd.endpoints.insert(0, nobody);
    let backend = Backend::Etcd(RedisParams::at("127.0.0.1", redis.port), params_of_etcd);
    let node = Node::start(params("a", &backend, ETCD_TIMEOUT));
    node.ready().await;
    assert_eq!(trouble(&node), None);
}

/// Over etcd's JSON gateway: its own client is another package.
async fn post(etcd: &EtcdServer, path: &str, body: &str) {
    let url = format!("http://127.0.0.1:{}/v3/{path}", etcd.port);
    let answer = reqwest::Client::new().post(url).body(body.to_owned());
    let answer = answer.send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_known_by_its_password_and_a_wrong_one_is_a_state_not_a_crash() {
    let (redis, etcd) = (RedisServer::start(), EtcdServer::start());
    post(
        &etcd,
        "auth/user/add",
        r#"{"name":"root","password":"hunter2"}"#,
    )
    .await;
    post(&etcd, "auth/role/add", r#"{"name":"root"}"#).await;
    post(&etcd, "auth/user/grant", r#"{"user":"root","role":"root"}"#).await;
    post(&etcd, "auth/enable", "{}").await;
    let redis = RedisParams::at("127.0.0.1", redis.port);
    let with = |name: &str, password: Option<&str>| {
        let mut etcd = etcd.params();
        etcd.user = password.map(|password| ("root".to_owned(), Password::new(password)));
        Node::start(params(
            name,
            &Backend::Etcd(redis.clone(), etcd),
            ETCD_TIMEOUT,
        ))
    };
    let (wrong, nobody) = (with("w", Some("wrong")), with("n", None));
    for node in [&wrong, &nobody] {
        within(10, "the status says why", async || {
            trouble(node).is_some_and(|said| {
                said.contains("authentication failed") || said.contains("user name is empty")
            })
        })
        .await;
        assert!(is_down(node));
    }
    let good = with("a", Some("hunter2"));
    good.ready().await;
    good.knows(0).await;
}

fn openssl(dir: &std::path::Path, args: &str) {
    let done = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("openssl is installed");
    assert!(done.status.success(), "openssl {args}: {done:?}");
}

/// An authority, and a certificate of its for `etcd.test` that a client may show as well.
fn certificates(dir: &std::path::Path) {
    openssl(
        dir,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=authority",
    );
    openssl(
        dir,
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout e.key -out e.csr -subj /CN=etcd.test",
    );
    std::fs::write(
        dir.join("e.ext"),
        "subjectAltName=DNS:etcd.test\nextendedKeyUsage=serverAuth,clientAuth\n",
    )
    .unwrap();
    openssl(
        dir,
        "x509 -req -in e.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile e.ext -out e.pem",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_known_by_its_certificate_and_knows_the_node_by_its_own() {
    let dir = Scratch::new();
    certificates(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let etcd = EtcdServer::with_args(&[
        "--cert-file",
        &file("e.pem"),
        "--key-file",
        &file("e.key"),
        "--trusted-ca-file",
        &file("ca.pem"),
        "--client-cert-auth",
    ]);
    let redis = RedisServer::start();
    let with = |name: &str, tls: EtcdTls| {
        let etcd = EtcdParams {
            tls: Some(tls),
            ..etcd.params()
        };
        let redis = RedisParams::at("127.0.0.1", redis.port);
        Node::start(params(name, &Backend::Etcd(redis, etcd), ETCD_TIMEOUT))
    };
    let right = EtcdTls {
        ca: Some(read("ca.pem").into()),
        identity: Some((read("e.pem").into(), Password::new(&read("e.key")))),
        server_name: Some("etcd.test".to_owned()),
    };
    let strangers = [
        EtcdTls {
            ca: None,
            ..right.clone()
        },
        EtcdTls {
            server_name: None,
            ..right.clone()
        },
        EtcdTls {
            identity: None,
            ..right.clone()
        },
        EtcdTls {
            ca: Some("no certificate".into()),
            ..right.clone()
        },
    ];
    let strangers = strangers.map(|tls| with("stranger", tls));
    for stranger in &strangers {
        within(10, "it says so", async || trouble(stranger).is_some()).await;
    }
    let good = with("a", right);
    good.ready().await;
    assert!(strangers.iter().all(is_down));
}
