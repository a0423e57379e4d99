//! How many sessions a user may have in the cluster, and who goes when another one comes.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use wsc_gateway::security::Scopes;

use crate::client::Client;
use crate::redis::RedisServer;
use crate::sandbox::{Node, alone, cluster, eventually, token};

const REFUSE: &str = "wsc.connectionPolicy=kickNew";

fn most(limit: u32) -> String {
    format!("wsc.maxConnectionsPerUser={limit}")
}

/// The session of alice, or the status and code it was refused with.
async fn alice(node: &Node) -> Result<Client, (u16, String)> {
    match Client::connect(&node.ws(), &token("alice", Scopes::NONE)).await {
        Ok(client) => Ok(client),
        Err(Error::Http(refusal)) => {
            assert!(refusal.headers().contains_key("retry-after"));
            let body: Value = serde_json::from_slice(refusal.body().as_ref().unwrap()).unwrap();
            let code = body["error"]["code"].as_str().unwrap().to_owned();
            Err((refusal.status().as_u16(), code))
        }
        Err(error) => panic!("{error}"),
    }
}

async fn is_kicked(mut client: Client) {
    let (before, code) = client.closed().await;
    assert_eq!(code, 4003);
    let told = before.last().unwrap();
    assert_eq!(told["type"], "kicked");
    assert!(
        told["data"]["reason"].as_str().unwrap().contains("newer"),
        "{told}"
    );
}

async fn works(client: &mut Client) {
    client.send(json!({"type": "ping", "id": "p"})).await;
    while client.next().await["type"] != "pong" {}
}

/// Waits until so many sessions of alice have their seats: they begin before that.
async fn seated(redis: &RedisServer, count: usize) {
    eventually("they have their seats", || async {
        let found = redis.cli(&["KEYS", "*seats:alice"]);
        redis.cli(&["ZCARD", found.trim()]).trim() == count.to_string()
    })
    .await;
}

fn sessions(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| node.0.hub().sessions_total()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_session_anywhere_goes_and_is_told_why() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &[&most(2)]).await;
    let first = alice(&one).await.unwrap();
    seated(&redis, 1).await;
    let second = alice(&two).await.unwrap();
    seated(&redis, 2).await;
    let mut third = alice(&three).await.unwrap();
    is_kicked(first).await;
    let mut fourth = alice(&one).await.unwrap();
    is_kicked(second).await;
    works(&mut third).await;
    works(&mut fourth).await;
    let mut bob = two.connect("bob").await;
    works(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_one_login_has_one_and_zero_or_allow_all_is_no_limit() {
    let node = alone(&["wsc.allowMultiLogin=false"]).await;
    let first = alice(&node).await.unwrap();
    let mut second = alice(&node).await.unwrap();
    is_kicked(first).await;
    works(&mut second).await;
    for set in [
        "wsc.maxConnectionsPerUser=0",
        "wsc.connectionPolicy=allowAll",
    ] {
        let node = alone(&[set]).await;
        let mut all = Vec::new();
        for _ in 0..6 {
            all.push(alice(&node).await.unwrap());
        }
        for client in &mut all {
            works(client).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_is_refused_before_the_upgrade_or_after_its_auth_frame() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[REFUSE, &most(2)]).await;
    let first = alice(&one).await.unwrap();
    let mut second = alice(&two).await.unwrap();
    let full = (429, "too_many_sessions".to_owned());
    for node in [&one, &two] {
        assert_eq!(alice(node).await.err(), Some(full.clone()));
    }
    let mut late = Client::open(&two.ws(), &[]).await.unwrap();
    let auth = json!({"type": "auth", "data": {"token": token("alice", Scopes::NONE)}});
    late.send(auth).await;
    let (before, code) = late.closed().await;
    assert_eq!((before.len(), code), (0, 4023));
    works(&mut second).await;
    drop(first);
    eventually("a seat is free again", || async {
        alice(&two).await.is_ok()
    })
    .await;
    let metrics = one.admin("/metrics").await.1;
    assert!(metrics.contains("limit=\"session_refused\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_at_once_over_three_nodes_end_as_exactly_three() {
    let redis = RedisServer::start();
    let nodes: [Node; 3] = cluster(redis.port, &[&most(3)]).await;
    let mut all = join_all((0..30).map(|n| alice(&nodes[n % 3]))).await;
    eventually("three are left", || async { sessions(&nodes) == 3 }).await;
    let mut newest = alice(&nodes[0]).await.unwrap();
    works(&mut newest).await;
    eventually("still three", || async { sessions(&nodes) == 3 }).await;
    all.clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thirty_at_once_exactly_three_get_in_where_the_newest_are_refused() {
    let redis = RedisServer::start();
    let nodes: [Node; 3] = cluster(redis.port, &[REFUSE, &most(3)]).await;
    let knock = async |n: usize| {
        let bearer = format!("Bearer {}", token("alice", Scopes::NONE));
        let headers = [("authorization", bearer.as_str())];
        match Client::open(&nodes[n % 3].ws(), &headers).await {
            // Refused after the upgrade, if several came in this very moment: no welcome comes.
            Ok(mut client) => match client.next_raw().await {
                tokio_tungstenite::tungstenite::Message::Text(_) => Some(client),
                _ => None,
            },
            Err(Error::Http(refusal)) => {
                assert_eq!(refusal.status(), 429);
                None
            }
            Err(error) => panic!("{error}"),
        }
    };
    let mut all: Vec<Client> = join_all((0..30).map(knock))
        .await
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(all.len(), 3);
    for client in &mut all {
        works(client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_node_that_died_do_not_count() {
    let redis = RedisServer::start();
    let [node] = cluster(redis.port, &[REFUSE, &most(2)]).await;
    let first = alice(&node).await.unwrap();
    let found = redis.cli(&["KEYS", "*seats:alice"]);
    let key = found.trim();
    // What a node leaves that had no time to say farewell.
    for ghost in [
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a8058",
    ] {
        redis.cli(&["ZADD", key, "1", &format!("{ghost} 7@ghost")]);
    }
    let second = alice(&node).await.unwrap();
    assert_eq!(redis.cli(&["ZCARD", key]).trim(), "2");
    assert!(alice(&node).await.is_err());
    drop((first, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_redis_a_node_counts_its_own() {
    let mut redis = RedisServer::start();
    let [node] = cluster(redis.port, &[&most(2)]).await;
    let first = alice(&node).await.unwrap();
    seated(&redis, 1).await;
    redis.kill();
    let mut second = alice(&node).await.unwrap();
    works(&mut second).await;
    let mut third = alice(&node).await.unwrap();
    is_kicked(first).await;
    works(&mut second).await;
    works(&mut third).await;
    redis.restart();
    eventually(
        "the node is back, and whoever comes now makes it two again",
        || async {
            let mut last = alice(&node).await.unwrap();
            works(&mut last).await;
            node.ready().await && node.0.hub().sessions_total() == 2
        },
    )
    .await;
}
