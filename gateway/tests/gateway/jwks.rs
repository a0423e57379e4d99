//! Keys that are fetched: from a real server, over HTTP and HTTPS, that rotates them, fails, and is asked no more than needed.

use futures_util::future::join_all;
use wsc_gateway::app::Gateway;

use crate::client::Client;
use crate::issuer::{Server, Signer, set};
use crate::sandbox::{Node, config, eventually, options};

/// A node that fetches its keys there, with further settings.
async fn node(url: &str, ca: Option<&str>, sets: &[&str]) -> Node {
    let url = format!("wsc.security.jwt.jwks.url={url}");
    let mut all = vec![
        "wsc.security.jwt.algorithm=ES256",
        "wsc.security.jwt.jwks.allowHttp=true",
        &url,
    ];
    all.extend(sets);
    let mut options = options("alone");
    options.secrets.jwt_key = None;
    options.secrets.jwt_jwks_ca = ca.map(str::to_owned);
    Node(Gateway::start(config(&all), options).await.unwrap())
}

async fn asking(server: &Server, sets: &[&str]) -> Node {
    let node = node(
        &format!("http://127.0.0.1:{}/jwks.json", server.port),
        None,
        sets,
    )
    .await;
    eventually("the keys are there", || node.ready()).await;
    node
}

/// 101, or the status a token is refused with.
async fn knock(node: &Node, token: &str) -> u16 {
    match Client::open(&node.ws(), &[("authorization", &format!("Bearer {token}"))]).await {
        Ok(_) => 101,
        Err(tokio_tungstenite::tungstenite::Error::Http(refused)) => refused.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

/// Whether the node says of itself that this is wrong.
async fn troubled(node: &Node, why: &str) -> bool {
    node.status().await["problems"].to_string().contains(why)
}

async fn metric(node: &Node, line: &str) -> bool {
    node.admin("/metrics").await.1.contains(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_without_a_refused_client() {
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let server = Server::http(set(&[&old])).await;
    let node = asking(&server, &["wsc.security.jwt.jwks.cooldown=1s"]).await;
    let mut alice = Client::connect(&node.ws(), &old.token("alice"))
        .await
        .unwrap();

    server.publish(200, set(&[&old, &new]));
    eventually("a token of the new key is taken", || async {
        knock(&node, &new.token("bob")).await == 101
    })
    .await;
    assert_eq!(
        knock(&node, &old.token("bob")).await,
        101,
        "beside the old one"
    );

    server.publish(200, set(&[&new]));
    let stranger = Signer::new("k3");
    eventually("the old key is over", || async {
        // Whoever names a key that is not known has the set looked at.
        assert_eq!(knock(&node, &stranger.token("eve")).await, 401);
        knock(&node, &old.token("bob")).await == 401
    })
    .await;
    assert_eq!(knock(&node, &new.token("bob")).await, 101);
    alice.say("alice", "still here").await;
    assert_eq!(alice.hear().await, "still here", "nobody was disconnected");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_frame_has_an_unknown_key_looked_for_as_well() {
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let server = Server::http(set(&[&old])).await;
    let node = asking(&server, &["wsc.security.jwt.jwks.cooldown=1s"]).await;
    server.publish(200, set(&[&new]));
    eventually("a token of the new key is taken", || async {
        let mut client = Client::open(&node.ws(), &[]).await.unwrap();
        let auth = serde_json::json!({"type": "auth", "data": {"token": new.token("bob")}});
        client.send(auth).await;
        matches!(
            client.next_raw().await,
            tokio_tungstenite::tungstenite::Message::Text(_)
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_keeps_the_last_keys() {
    let signer = Signer::new("k1");
    let server = Server::http(set(&[&signer])).await;
    let sets = [
        "wsc.security.jwt.jwks.refreshInterval=1s",
        "wsc.security.jwt.jwks.cooldown=1s",
    ];
    let node = asking(&server, &sets).await;
    let large = format!("{{\"keys\": [{}]}}", " ".repeat(300 * 1024));
    for (status, document) in [
        (500, set(&[])),
        (302, set(&[])),
        (200, "not JSON".to_owned()),
        (200, large),
    ] {
        server.publish(status, document);
        let asked = server.asked();
        eventually("the set is fetched again", || async {
            server.asked() > asked + 1
        })
        .await;
        assert_eq!(knock(&node, &signer.token("alice")).await, 101, "{status}");
        eventually("the status says so", || {
            troubled(&node, "cannot be fetched, the 1 that are known stay")
        })
        .await;
        assert!(node.ready().await, "the keys that are known will do");
    }
    assert!(metric(&node, "wsc_token_key_fetches_total{outcome=\"failed\"}").await);
    server.publish(200, set(&[]));
    eventually("an empty set is believed", || async {
        knock(&node, &signer.token("alice")).await == 401
    })
    .await;
    assert!(troubled(&node, "no key that fits").await);
    server.publish(200, set(&[&signer]));
    eventually("all is well again", || async {
        node.status().await["problems"] == serde_json::json!([])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_keys_causes_one_fetch_at_most() {
    let signer = Signer::new("k1");
    let server = Server::http(set(&[&signer])).await;
    let node = asking(&server, &["wsc.security.jwt.jwks.cooldown=1s"]).await;
    eventually("the pause after the first fetch is over", || async {
        assert_eq!(knock(&node, &signer.token_as("eve", Some("x"))).await, 401);
        server.asked() == 2
    })
    .await;
    let strangers: Vec<_> = (0..40)
        .map(|n| signer.token_as("eve", Some(&format!("x{n}"))))
        .collect();
    let began = std::time::Instant::now();
    let refused = join_all(strangers.iter().map(|token| knock(&node, token))).await;
    assert!(refused.iter().all(|status| *status == 401), "{refused:?}");
    // The pause under way began before this, and may end at once.
    let pauses = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(
        (2..=2 + pauses).contains(&server.asked()),
        "fetched {} times",
        server.asked()
    );
    assert!(metric(&node, "wsc_tokens_refused_total{reason=\"unknown_key\"}").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_believed_by_the_certificates_that_are_given() {
    let signer = Signer::new("k1");
    let (server, certificate) = Server::https(set(&[&signer])).await;
    let url = format!("https://localhost:{}/", server.port);
    let good = node(&url, Some(&certificate), &[]).await;
    eventually("the keys are there", || good.ready()).await;
    assert_eq!(knock(&good, &signer.token("alice")).await, 101);

    let (_, other) = Server::https(set(&[])).await;
    let sets = [
        "wsc.security.jwt.jwks.cooldown=1s",
        "wsc.security.jwt.jwks.timeout=500ms",
    ];
    for ca in [None, Some(other.as_str())] {
        let bad = node(&url, ca, &sets).await;
        eventually("a fetch has failed", || {
            metric(&bad, "wsc_token_key_fetches_total{outcome=\"failed\"}")
        })
        .await;
        assert_eq!(
            knock(&bad, &signer.token("alice")).await,
            503,
            "no keys, no verdict"
        );
        assert!(!bad.ready().await);
    }
}
