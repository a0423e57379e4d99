//! Tokens over time: a new one over a live session, and those that are taken back, on every node.

use std::time::Duration;

use serde_json::{Value, json};
use wsc_gateway::app::Gateway;
use wsc_gateway::security::Scopes;

use crate::client::Client;
use crate::redis::RedisServer;
use crate::sandbox::{Node, alone, cluster, config, eventually, options, token, token_for};

fn auth(token: &str) -> Value {
    json!({"type": "auth", "id": "r1", "data": {"token": token}})
}

/// The claim `jti` of a token.
fn id_of(token: &str) -> String {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(claims)
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

async fn knock(node: &Node, token: &str) -> u16 {
    match Client::open(&node.ws(), &[("authorization", &format!("Bearer {token}"))]).await {
        Ok(_) => 101,
        Err(tokio_tungstenite::tungstenite::Error::Http(refused)) => refused.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

/// A node that starts when the others have their lists.
async fn late(redis: &RedisServer) -> Node {
    let port = format!("wsc.redis.port={}", redis.port);
    let sets = [
        "wsc.distributed.enabled=true",
        "wsc.redis.host=127.0.0.1",
        &port,
    ];
    let late = Gateway::start(config(&sets), options("late")).await;
    Node(late.unwrap())
}

async fn revoke(node: &Node, body: Value) -> Value {
    let (status, answer) = node.call("POST", "/v1/revocations", body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_gives_a_live_session_its_scopes_and_its_time() {
    let node = alone(&["wsc.security.jwt.leeway=0s"]).await;
    let short = token_for("alice", Scopes::NONE, Duration::from_secs(2));
    let mut alice = Client::connect(&node.ws(), &short).await.unwrap();
    let broadcast = json!({"type": "news", "broadcast": true, "content": "x"});
    alice.send(broadcast.clone()).await;
    assert_eq!(alice.next().await["code"], "forbidden");

    alice.send(auth(&token("alice", Scopes::BROADCAST))).await;
    let answer = alice.next().await;
    assert_eq!(
        (&answer["type"], &answer["ref"]),
        (&"result".into(), &"r1".into())
    );
    assert!(answer["data"]["expires_at"].as_u64().unwrap() > 1_700_000_000);
    alice.send(broadcast.clone()).await;
    assert_eq!(
        alice.next().await["content"],
        "x",
        "the new scope counts at once"
    );

    // Past the end of the first token.
    let over = tokio::time::Instant::now() + Duration::from_secs(3);
    eventually("the first token is over", || async {
        tokio::time::Instant::now() > over
    })
    .await;
    alice.send(auth(&token("alice", Scopes::NONE))).await;
    assert_eq!(alice.next().await["type"], "result", "the session went on");
    alice.send(broadcast).await;
    assert_eq!(
        alice.next().await["code"],
        "forbidden",
        "a scope that is gone is gone"
    );

    let last = token_for("alice", Scopes::NONE, Duration::from_secs(1));
    alice.send(auth(&last)).await;
    assert_eq!(alice.closed().await.1, 4002, "and ends with the last one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_leaves_the_session_as_it_is() {
    let node = alone(&[]).await;
    let mut alice = node.connect_with("alice", Scopes::BROADCAST).await;
    for (token, code) in [
        (token("bob", Scopes::ADMIN), "forbidden"),
        ("nonsense".to_owned(), "unauthenticated"),
        (
            format!("{}x", token("alice", Scopes::NONE)),
            "unauthenticated",
        ),
    ] {
        alice.send(auth(&token)).await;
        let answer = alice.next().await;
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&"error".into(), &code.into()),
            "{answer}"
        );
    }
    alice
        .send(json!({"type": "news", "broadcast": true, "content": "x"}))
        .await;
    assert_eq!(alice.next().await["content"], "x");
    assert_eq!(alice.welcome["data"]["user_id"], "alice");
    let open = alone(&["wsc.security.enableAuth=false"]).await;
    let mut eve = Client::open(&format!("{}?user_id=eve", open.ws()), &[])
        .await
        .unwrap();
    eve.next().await;
    eve.send(auth(&token("eve", Scopes::ADMIN))).await;
    assert_eq!(
        eve.next().await["code"],
        "not_supported",
        "nobody judges tokens here"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_session_and_lets_nobody_in() {
    let node = alone(&[]).await;
    let (one, other) = (token("alice", Scopes::NONE), token("alice", Scopes::NONE));
    let mut first = Client::connect(&node.ws(), &one).await.unwrap();
    let mut second = Client::connect(&node.ws(), &other).await.unwrap();
    let answer = revoke(&node, json!({"token_id": id_of(&one)})).await;
    assert!(answer["until"].as_u64().unwrap() > 1_700_000_000 && answer["before"].is_null());
    assert_eq!(first.closed().await.1, 4012);
    assert_eq!(knock(&node, &one).await, 401);
    assert_eq!(knock(&node, &other).await, 101);
    second.send(auth(&one)).await;
    assert_eq!(second.next().await["code"], "unauthenticated");
    let mut late = Client::open(&node.ws(), &[]).await.unwrap();
    late.send(auth(&one)).await;
    assert_eq!(late.closed().await.1, 4012);

    revoke(&node, json!({"user_id": "alice"})).await;
    assert_eq!(second.closed().await.1, 4012);
    assert_eq!(knock(&node, &other).await, 401);
    assert_eq!(knock(&node, &token("bob", Scopes::NONE)).await, 101);
    eventually("a token of a later second is good", || async {
        knock(&node, &token("alice", Scopes::NONE)).await == 101
    })
    .await;
    let metrics = node.admin("/metrics").await.1;
    assert!(metrics.contains("wsc_tokens_refused_total{reason=\"revoked\"}"));
    for wrong in [
        json!({}),
        json!({"token_id": "a", "user_id": "b"}),
        json!({"token_id": ""}),
        json!({"token_id": "a", "before": 1}),
    ] {
        assert_eq!(node.call("POST", "/v1/revocations", wrong).await.0, 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_holds_on_every_node_and_for_those_that_come_later() {
    let redis = RedisServer::start();
    let [a, b] = cluster(redis.port, &[]).await;
    let tokens = [token("alice", Scopes::NONE), token("alice", Scopes::NONE)];
    let mut here = Client::connect(&a.ws(), &tokens[0]).await.unwrap();
    let mut there = Client::connect(&b.ws(), &tokens[1]).await.unwrap();
    revoke(&a, json!({"token_id": id_of(&tokens[1])})).await;
    assert_eq!(there.closed().await.1, 4012);
    eventually("the other node knows", || async {
        knock(&b, &tokens[1]).await == 401
    })
    .await;
    here.say("alice", "still here").await;
    assert_eq!(here.hear().await, "still here");
    revoke(&b, json!({"user_id": "alice"})).await;
    assert_eq!(here.closed().await.1, 4012);

    // A node that starts later reads the list before long.
    let late = late(&redis).await;
    eventually("a late node knows", || async {
        knock(&late, &tokens[0]).await == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_last_known_list_holds_and_nothing_is_revoked_by_halves() {
    let mut redis = RedisServer::start();
    let [a, b] = cluster(redis.port, &[]).await;
    let (old, new) = (token("alice", Scopes::NONE), token("bob", Scopes::NONE));
    revoke(&a, json!({"token_id": id_of(&old)})).await;
    eventually("both know", || async { knock(&b, &old).await == 401 }).await;
    let mut bob = Client::connect(&b.ws(), &new).await.unwrap();

    redis.kill();
    eventually("the link is down", || async {
        !a.ready().await && !b.ready().await
    })
    .await;
    assert_eq!(knock(&b, &old).await, 401, "the last known list");
    let (status, _) = a
        .call("POST", "/v1/revocations", json!({"user_id": "bob"}))
        .await;
    assert_eq!(status, 503);
    bob.say("bob", "x").await;
    let told = bob.next().await;
    assert_ne!(told["type"], "kicked", "{told}");

    // Redis comes back, and then loses its data: the nodes give it what they know.
    redis.restart();
    eventually("the link is up", || async {
        a.ready().await && b.ready().await
    })
    .await;
    redis.cli(&["FLUSHALL"]);
    let port = format!("wsc.redis.port={}", redis.port);
    let sets = [
        "wsc.distributed.enabled=true",
        "wsc.redis.host=127.0.0.1",
        &port,
    ];
    eventually("it is stored again", || async {
        a.call("POST", "/v1/revocations", json!({"token_id": id_of(&new)}))
            .await
            .0
            == 200
    })
    .await;
    assert_eq!(bob.closed().await.1, 4012);
    let late = Node(
        Gateway::start(config(&sets), options("late"))
            .await
            .unwrap(),
    );
    eventually("a node that starts now knows of all of it", || async {
        knock(&late, &old).await == 401 && knock(&late, &new).await == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_list_makes_room_by_what_is_over_and_takes_again_what_it_has() {
    // In pieces: one script for all of it would keep Redis from everybody for longer than nodes wait.
    const FILL: &str = "for i = ARGV[2] + 1, ARGV[2] + 5000 do
        redis.call('ZADD', KEYS[1], i, 'x' .. i)
        redis.call('ZADD', KEYS[2], ARGV[1], 'x' .. i)
    end";
    let redis = RedisServer::start();
    let [node] = cluster(redis.port, &[]).await;
    let known = revoke(&node, json!({"token_id": "known"})).await;
    let until = known["until"].as_u64().unwrap();
    let lines = redis.cli(&["KEYS", "*revoked*lines"]);
    let ends = redis.cli(&["KEYS", "*revoked*until"]);
    let fill = |until: u64| {
        for from in (0..100_000).step_by(5000) {
            let (until, from) = (until.to_string(), from.to_string());
            redis.cli(&["EVAL", FILL, "2", &lines, &ends, &until, &from]);
        }
    };
    fill(1);
    revoke(&node, json!({"token_id": "all the others are over"})).await;

    fill(until);
    let (status, answer) = node
        .call("POST", "/v1/revocations", json!({"token_id": "new"}))
        .await;
    assert_eq!(status, 503, "{answer}");
    // What will be asked for in the next seconds, word by word.
    for until in until..until + 60 {
        let line = format!(r#"{{"what":{{"token":"known"}},"until":{until}}}"#);
        redis.cli(&["ZADD", &lines, "1", &line]);
    }
    revoke(&node, json!({"token_id": "known"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_redis_lost_is_given_back_however_often_that_fails() {
    let redis = RedisServer::start();
    let [a, _b] = cluster(redis.port, &[]).await;
    let first = token("alice", Scopes::NONE);
    revoke(&a, json!({"token_id": id_of(&first)})).await;
    // More than is written at once.
    for number in 0..300 {
        revoke(&a, json!({"token_id": format!("t{number}")})).await;
    }
    let keys =
        ["lines", "until", "meta"].map(|name| redis.cli(&["KEYS", &format!("*revoked*{name}")]));
    // Lost, with something in its place that no line can be added to.
    let lose = "redis.call('DEL', unpack(KEYS)) redis.call('SET', KEYS[1], 'x')";
    redis.cli(&["CONFIG", "RESETSTAT"]);
    redis.cli(&["EVAL", lose, "3", &keys[0], &keys[1], &keys[2]]);
    eventually("both nodes have failed to give it back", || async {
        let errors = redis.cli(&["INFO", "errorstats"]);
        let failed = errors.split("errorstat_WRONGTYPE:count=").nth(1);
        let failed = failed.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        failed.is_some_and(|failed| failed >= 2)
    })
    .await;
    redis.cli(&["DEL", &keys[0]]);
    let lines = ["ZCARD", &keys[0]];
    eventually("all of it is stored again", || async {
        redis.cli(&lines) == "301"
    })
    .await;
    let late = late(&redis).await;
    eventually("a node that starts now knows", || async {
        knock(&late, &first).await == 401
    })
    .await;
}
