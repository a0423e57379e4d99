//! Groups over real sockets: who may do what, who gets what on which node, and what becomes of it when things break.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wsc_config::DistributedConfig;
use wsc_gateway::app::Gateway;
use wsc_gateway::cluster::redis::RedisLink;
use wsc_gateway::cluster::{Listener, RedisParams};
use wsc_gateway::group::rules::Verdict;
use wsc_gateway::group::{Bounds, Entry, GroupStore as _, RedisGroups};
use wsc_gateway::log::{Append, Log, RedisLog, Retention};
use wsc_gateway::protocol::{GroupId, LogId, NodeId, UserId};
use wsc_gateway::security::Scopes;
use wsc_gateway::service::{self, Doorkeeper, Event, Rejection};

use crate::client::Client;
use crate::redis::RedisServer;
use crate::sandbox::{Node, alone, cluster, config, eventually, options, token, token_into};

const ON: &str = "wsc.group.enabled=true";

/// An hour in milliseconds.
const HOUR: i64 = 3_600_000;

/// A command and its answer, whatever else comes before it.
pub async fn ask(client: &mut Client, command: &str, data: Value) -> Value {
    client
        .send(json!({"type": command, "id": command, "data": data}))
        .await;
    loop {
        let frame = client.next().await;
        if frame["ref"] == command {
            return frame;
        }
    }
}

async fn done(client: &mut Client, command: &str, group: &str) -> Value {
    let answer = ask(client, command, json!({"group": group})).await;
    assert_eq!(answer["type"], "result", "{answer}");
    answer["data"].clone()
}

async fn refused(client: &mut Client, command: &str, data: Value) -> (String, String) {
    let answer = ask(client, command, data).await;
    assert_eq!(answer["type"], "error", "{answer}");
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

/// A member of the group, who has made or joined it.
async fn member(node: &Node, user: &str, group: &str) -> Client {
    let mut client = node.connect_with(user, Scopes::GROUPS).await;
    let made = ask(&mut client, "group.create", json!({"group": group})).await;
    if made["type"] == "error" {
        assert_eq!(made["code"], "exists", "{made}");
        done(&mut client, "group.join", group).await;
    }
    client
}

/// The next message, past events and receipts.
async fn message(client: &mut Client) -> Value {
    loop {
        let frame = client.next().await;
        if frame["content"].is_string() {
            return frame;
        }
        assert_ne!(frame["type"], "error", "{frame}");
    }
}

async fn hears(client: &mut Client) -> String {
    message(client).await["content"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The next event of this type.
async fn event(client: &mut Client, kind: &str) -> Value {
    loop {
        let frame = client.next().await;
        if frame["type"] == kind {
            return frame["data"].clone();
        }
        assert_ne!(frame["type"], "error", "{frame}");
    }
}

/// Nothing but events waits for this client.
async fn hears_nothing(client: &mut Client) {
    client.send(json!({"type": "ping", "id": "quiet"})).await;
    loop {
        let frame = client.next().await;
        if frame["type"] == "pong" {
            return;
        }
        assert!(frame["content"].is_null(), "{frame}");
    }
}

async fn say(client: &mut Client, group: &str, content: &str) {
    client
        .send(json!({"type": "text", "id": content, "group": group, "content": content}))
        .await;
}

/// Hears nothing.
struct Deaf;

impl Listener for Deaf {
    fn offer(&self, _: bytes::Bytes) {}
}

/// A message in the log of a group, stamped by a clock that is so many milliseconds ahead (or, below zero, behind).
async fn put(link: &Arc<RedisLink>, group: &str, (id, skew): (&str, i64)) {
    let hour = Duration::from_hours(1);
    let retention = Retention {
        age: 2 * hour,
        messages: 100,
        tickets: hour,
        dedupe: hour,
        records: None,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    let json = json!({"type": "text", "id": id, "group": group, "content": id});
    let message = Append {
        id: id.to_owned(),
        sender: "alice".to_owned(),
        own_id: true,
        json: json.to_string().into(),
        at: now.checked_add_signed(skew).unwrap(),
        ack: false,
        trace: None,
    };
    let log: &dyn Log = &RedisLog::new(link, retention, false);
    let group = LogId::Group(GroupId::new(group).unwrap());
    log.append(&group, &[message]).await.unwrap();
}

/// Redis itself, past every node.
async fn link(redis: &RedisServer) -> Arc<RedisLink> {
    let params = RedisParams::at("127.0.0.1", redis.port);
    let cluster = DistributedConfig::default().cluster().to_owned();
    let link = RedisLink::standalone(&params, &cluster);
    let node = NodeId::new("the test itself");
    tokio::spawn(
        link.clone()
            .keep(node, Arc::new(Deaf), CancellationToken::new()),
    );
    link.connected().await;
    link
}

async fn store(redis: &RedisServer) -> RedisGroups {
    RedisGroups::new(&link(redis).await)
}

fn id(group: &str, user: &str) -> (GroupId, UserId) {
    (GroupId::new(group).unwrap(), UserId::new(user).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_on_all_nodes_get_a_message_once_and_in_order_and_nobody_else_does() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &[ON, "wsc.group.broadcastRateLimit=0"]).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut bob = member(&two, "bob", "room").await;
    let mut bob_here = one.connect("bob").await;
    let mut carol = member(&three, "carol", "room").await;
    let mut eve = three.connect_with("eve", Scopes::GROUPS).await;
    for n in 0..50 {
        say(&mut alice, "room", &n.to_string()).await;
    }
    for client in [&mut alice, &mut bob, &mut bob_here, &mut carol] {
        for n in 0..50 {
            let heard = message(client).await;
            assert_eq!(heard["content"], n.to_string(), "{heard}");
            assert_eq!(
                (&heard["group"], &heard["from"]),
                (&"room".into(), &"alice".into())
            );
        }
    }
    hears_nothing(&mut eve).await;
    hears_nothing(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_crosses_once_per_node_that_holds_members_and_never_to_others() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &[ON, "wsc.group.broadcastRateLimit=0"]).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut there = Vec::new();
    for n in 0..5 {
        there.push(member(&two, &format!("user-{n}"), "room").await);
    }
    let _stranger = three.connect("stranger").await;
    let received = |node: &Node| node.0.cluster().stats().received.load(Relaxed);
    let (at_two, at_three) = (received(&two), received(&three));
    for n in 0..10 {
        say(&mut alice, "room", &n.to_string()).await;
    }
    for client in &mut there {
        for n in 0..10 {
            assert_eq!(hears(client).await, n.to_string());
        }
    }
    assert_eq!(received(&two) - at_two, 10, "one envelope a message");
    assert_eq!(received(&three) - at_three, 0, "nobody is there");
}

/// Where a member goes on after this message to the room.
fn resuming(node: &Node, message: &Value) -> String {
    let resume = json!({"group:room": message["pos"]}).to_string();
    let resume: Vec<String> = resume.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("{}?resume={}", node.ws(), resume.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_off_neither_hides_messages_from_members_nor_shows_what_was_before()
{
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[ON]).await;
    let link = link(&redis).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut bob = member(&two, "bob", "room").await;
    say(&mut alice, "room", "m1").await;
    let first = message(&mut bob).await;
    drop(bob);
    for message in [("late", -HOUR), ("early", HOUR)] {
        put(&link, "room", message).await;
    }
    drop(member(&two, "carol", "room").await);
    put(&link, "room", ("late again", -HOUR)).await;
    let expected: [(&str, &[&str]); 2] = [
        ("bob", &["late", "early", "late again"]),
        ("carol", &["late again"]),
    ];
    for (user, expected) in expected {
        let url = resuming(&two, &first);
        let token = token(user, Scopes::NONE);
        let mut client = Client::connect(&url, &token).await.unwrap();
        for content in expected {
            assert_eq!(hears(&mut client).await, *content, "{user}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_survives_the_connection_and_a_member_gets_what_was_missed_on_another_node() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &[ON]).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut bob = member(&two, "bob", "room").await;
    say(&mut alice, "room", "m1").await;
    let first = message(&mut bob).await;
    drop(bob);
    for id in ["m2", "m3"] {
        say(&mut alice, "room", id).await;
        assert_eq!(
            hears(&mut alice).await.as_str(),
            if id == "m2" { "m1" } else { "m2" }
        );
    }
    eventually("m3 is stored", || async {
        let (_, log) = one.call("GET", "/v1/groups/room/log", Value::Null).await;
        log["messages"].as_array().is_some_and(|all| all.len() == 3)
    })
    .await;
    let url = resuming(&three, &first);
    let mut bob = Client::connect(&url, &token("bob", Scopes::NONE))
        .await
        .unwrap();
    assert_eq!(bob.welcome["data"]["resumed"], true, "{}", bob.welcome);
    say(&mut alice, "room", "m4").await;
    for id in ["m2", "m3", "m4"] {
        assert_eq!(hears(&mut bob).await, id);
    }
    // Who names no place goes on from now.
    let mut elsewhere = two.connect("bob").await;
    say(&mut alice, "room", "m5").await;
    assert_eq!(hears(&mut elsewhere).await, "m5");
    // A stranger names one in vain.
    let mut eve = Client::connect(&url, &token("eve", Scopes::NONE))
        .await
        .unwrap();
    assert_eq!(eve.welcome["data"]["resumed"], false);
    say(&mut alice, "room", "m6").await;
    assert_eq!(hears(&mut bob).await, "m5");
    assert_eq!(hears(&mut bob).await, "m6");
    hears_nothing(&mut eve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_and_leaves_reach_the_users_sessions_on_all_nodes_at_once() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &[ON, "wsc.group.broadcastRateLimit=0"]).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut there = three.connect("bob").await;
    let mut bob = member(&two, "bob", "room").await;
    let joined = event(&mut there, "group.joined").await;
    assert_eq!(
        (&joined["group"], &joined["user"]),
        (&"room".into(), &"bob".into())
    );
    assert_eq!(event(&mut alice, "group.joined").await["user"], "alice");
    assert_eq!(event(&mut alice, "group.joined").await["user"], "bob");
    say(&mut alice, "room", "hi").await;
    assert_eq!(
        (hears(&mut bob).await, hears(&mut there).await),
        ("hi".into(), "hi".into())
    );
    done(&mut bob, "group.leave", "room").await;
    assert_eq!(event(&mut there, "group.left").await["user"], "bob");
    assert_eq!(event(&mut alice, "group.left").await["user"], "bob");
    say(&mut alice, "room", "not for bob").await;
    assert_eq!(hears(&mut alice).await, "not for bob");
    hears_nothing(&mut bob).await;
    hears_nothing(&mut there).await;
    let (code, _) = refused(&mut bob, "group.leave", json!({"group": "room"})).await;
    assert_eq!(code, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_disbanded_by_its_owner_alone_and_is_over_for_everyone() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &[ON]).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut bob = member(&two, "bob", "room").await;
    let mut carol = member(&three, "carol", "room").await;
    let (code, why) = refused(&mut bob, "group.disband", json!({"group": "room"})).await;
    assert_eq!((code.as_str(), why.contains("owner")), ("forbidden", true));
    done(&mut alice, "group.disband", "room").await;
    for client in [&mut alice, &mut bob, &mut carol] {
        assert_eq!(event(client, "group.disbanded").await["group"], "room");
    }
    say(&mut bob, "room", "late").await;
    let answer = bob.next().await;
    assert_eq!(
        (&answer["code"], &answer["ref"]),
        (&"not_found".into(), &"late".into())
    );
    // A group of the same name is another one.
    let mut dora = member(&one, "dora", "room").await;
    say(&mut dora, "room", "new").await;
    assert_eq!(hears(&mut dora).await, "new");
    hears_nothing(&mut carol).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_across_nodes() {
    let redis = RedisServer::start();
    let sets = [
        ON,
        "wsc.group.maxGroupSize=3",
        "wsc.group.maxGroupsPerUser=2",
    ];
    let nodes: [Node; 3] = cluster(redis.port, &sets).await;
    let mut first = member(&nodes[0], "user-0", "room").await;
    let mut clients = Vec::new();
    for n in 1..9 {
        let node = &nodes[n % 3];
        clients.push(
            node.connect_with(&format!("user-{n}"), Scopes::GROUPS)
                .await,
        );
    }
    let asked = clients
        .iter_mut()
        .map(|client| ask(client, "group.join", json!({"group": "room"})));
    let answers = futures_util::future::join_all(asked).await;
    let (joined, refused_all): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer["type"] == "result");
    assert_eq!(joined.len(), 2, "with the founder three: {answers:?}");
    for answer in refused_all {
        assert_eq!(answer["code"], "limit_reached", "{answer}");
        assert!(
            answer["message"].as_str().unwrap().contains("maxGroupSize"),
            "{answer}"
        );
    }
    done(&mut first, "group.create", "second").await;
    let (code, why) = refused(&mut first, "group.create", json!({"group": "third"})).await;
    assert_eq!(code, "limit_reached");
    assert!(why.contains("maxGroupsPerUser"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_sends_so_many_messages_a_minute_on_all_nodes_together() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &[ON, "wsc.group.broadcastRateLimit=4"]).await;
    let mut here = member(&one, "alice", "room").await;
    let mut there = two.connect("alice").await;
    let mut bob = member(&three, "bob", "room").await;
    for n in 0..4 {
        let client = if n % 2 == 0 { &mut here } else { &mut there };
        say(client, "room", &n.to_string()).await;
        assert_eq!(hears(&mut bob).await, n.to_string());
    }
    for client in [&mut here, &mut there] {
        say(client, "room", "too much").await;
        let told = loop {
            let frame = client.next().await;
            if frame["type"] == "error" {
                break frame;
            }
        };
        assert_eq!(
            (&told["code"], &told["ref"]),
            (&"rate_limited".into(), &"too much".into())
        );
        let retry = told["retry_after_ms"].as_u64().unwrap();
        assert!((1..=60_000).contains(&retry), "{told}");
    }
    say(&mut bob, "room", "bob has his own").await;
    assert_eq!(hears(&mut bob).await, "bob has his own");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_and_leaves_all_the_time_ends_up_where_the_store_says() {
    let redis = RedisServer::start();
    // Bob has four sessions.
    let sets = [
        ON,
        "wsc.group.broadcastRateLimit=0",
        "wsc.maxConnectionsPerUser=0",
    ];
    let [one, two, three] = cluster(redis.port, &sets).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut watching = three.connect("bob").await;
    let mut hands = [
        one.connect_with("bob", Scopes::GROUPS).await,
        two.connect_with("bob", Scopes::GROUPS).await,
        three.connect_with("bob", Scopes::GROUPS).await,
    ];
    for round in 0..30 {
        let both = hands.iter_mut().enumerate().map(|(n, client)| async move {
            let command = if (round + n) % 2 == 0 {
                "group.join"
            } else {
                "group.leave"
            };
            ask(client, command, json!({"group": "room"})).await
        });
        futures_util::future::join_all(both).await;
    }
    let store = store(&redis).await;
    let words = ["group.leave", "group.join", "group.leave", "group.join"];
    for (round, last) in words.into_iter().enumerate() {
        ask(&mut hands[0], last, json!({"group": "room"})).await;
        let (group, bob) = id("room", "bob");
        let is_in = store.membership(&group, &bob).await.is_ok();
        assert_eq!(is_in, last == "group.join");
        let mark = format!("{round} after {last}");
        // A change may still be on its way to the other node; the last word there must be the store's.
        eventually("every session is where the store says", || async {
            [&one, &two, &three].iter().all(|node| {
                let roster = node.0.hub().groups().roster();
                roster.stay(&bob, &group).is_some() == is_in
            })
        })
        .await;
        eventually("their sessions have followed", || async {
            let sessions = three.0.hub().groups().index().find(&group, None).1;
            sessions == if is_in { 2 } else { 0 }
        })
        .await;
        say(&mut alice, "room", &mark).await;
        assert_eq!(hears(&mut alice).await, mark);
        if is_in {
            loop {
                if hears(&mut watching).await == mark {
                    break;
                }
            }
        } else {
            hears_nothing(&mut watching).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_go_on_after_redis_was_restarted_and_what_was_missed_comes_late() {
    let mut redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[ON, "wsc.group.broadcastRateLimit=0"]).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut bob = member(&two, "bob", "room").await;
    say(&mut alice, "room", "m1").await;
    assert_eq!(hears(&mut bob).await, "m1");
    redis.kill();
    eventually("the loss of redis is noticed", || async {
        !one.ready().await
    })
    .await;
    let refusal = loop {
        say(&mut alice, "room", "m2").await;
        let frame = alice.next().await;
        if frame["type"] == "error" {
            break frame;
        }
    };
    assert_eq!(refusal["code"], "unavailable", "{refusal}");
    redis.restart();
    let mut accepted = Value::Null;
    while accepted["data"]["state"] != "accepted" || accepted["data"]["ref"] != "m2" {
        say(&mut alice, "room", "m2").await;
        accepted = alice.next().await;
    }
    assert_eq!(hears(&mut bob).await, "m2");
    say(&mut bob, "room", "m3").await;
    while hears(&mut alice).await != "m3" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_no_event_told_of_is_found_when_the_copy_has_expired_and_nothing_since_is_missing()
 {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[ON, "wsc.group.cacheExpire=1s"]).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut bob = two.connect("bob").await;
    let link = link(&redis).await;
    let store = RedisGroups::new(&link);
    let (group, user) = id("room", "bob");
    let bounds = Bounds {
        group_size: 9,
        groups_per_user: 9,
    };
    store
        .join(&group, &user, Entry::Existing, bounds)
        .await
        .unwrap();
    put(&link, "room", ("late", -HOUR)).await;
    for content in ["m1", "m2"] {
        say(&mut alice, "room", content).await;
    }
    for content in ["late", "m1", "m2"] {
        assert_eq!(hears(&mut bob).await, content);
    }
    store.leave(&group, &user).await.unwrap();
    eventually("the end is found out, too", || async {
        two.0.hub().groups().index().find(&group, None).1 == 0
    })
    .await;
    say(&mut alice, "room", "m3").await;
    while hears(&mut alice).await != "m3" {}
    hears_nothing(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_takes_a_pattern_of_the_token_or_a_scope() {
    let node = alone(&[ON]).await;
    let mut owner = node.connect_with("owner", Scopes::GROUPS).await;
    for group in ["room-7", "team-1"] {
        done(&mut owner, "group.create", group).await;
    }
    let mut bob = Client::connect(&node.ws(), &token_into("bob", &["room-*"]))
        .await
        .unwrap();
    let data = done(&mut bob, "group.join", "room-7").await;
    assert_eq!(data["already"], false, "{data}");
    assert_eq!(
        done(&mut bob, "group.join", "room-7").await["already"],
        true
    );
    let (code, why) = refused(&mut bob, "group.join", json!({"group": "team-1"})).await;
    assert_eq!(
        (code.as_str(), why.contains("claim groups")),
        ("forbidden", true),
        "{why}"
    );
    let (code, _) = refused(&mut bob, "group.create", json!({"group": "room-8"})).await;
    assert_eq!(code, "forbidden", "making one takes the scope");
    let mut eve = node.connect("eve").await;
    for (command, group) in [("group.join", "room-7"), ("group.members", "room-7")] {
        let (code, _) = refused(&mut eve, command, json!({"group": group})).await;
        assert_eq!(code, "forbidden", "{command}");
    }
    say(&mut eve, "room-7", "hi").await;
    assert_eq!(eve.next().await["code"], "forbidden");
    for (data, word) in [
        (json!({}), "group"),
        (json!({"group": ""}), "1 to 128"),
        (json!({"group": "g", "x": 1}), "x"),
        (json!(["g"]), "data.group"),
    ] {
        let (code, why) = refused(&mut bob, "group.join", data.clone()).await;
        assert_eq!(
            (code.as_str(), why.contains(word)),
            ("bad_frame", true),
            "{data}: {why}"
        );
    }
    let (code, _) = refused(&mut bob, "group.rename", json!({"group": "g"})).await;
    assert_eq!(code, "not_supported");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_in_pages_and_so_are_ones_own_groups() {
    let node = alone(&[ON]).await;
    let mut owner = member(&node, "user-0", "room").await;
    for n in 1..5 {
        member(&node, &format!("user-{n}"), "room").await;
    }
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let data = json!({"group": "room", "limit": 2, "cursor": cursor});
        let page = ask(&mut owner, "group.members", data).await["data"].clone();
        for one in page["members"].as_array().unwrap() {
            assert!(one["since"].is_u64(), "{one}");
            seen.push(one["user"].as_str().unwrap().to_owned());
        }
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, ["user-0", "user-1", "user-2", "user-3", "user-4"]);
    done(&mut owner, "group.create", "other").await;
    let list = ask(&mut owner, "group.list", Value::Null).await;
    let names: Vec<&Value> = list["data"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["group"])
        .collect();
    assert_eq!(names, ["other", "room"]);
    for wrong in [
        json!({"group": "room", "limit": 0}),
        json!({"group": "room", "cursor": "x"}),
    ] {
        assert_eq!(
            refused(&mut owner, "group.members", wrong).await.0,
            "bad_frame"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_auto_create_joining_makes_the_group_and_it_ends_with_its_last_member() {
    for auto in [true, false] {
        let node = alone(&[ON, &format!("wsc.group.autoCreate={auto}")]).await;
        let mut bob = Client::connect(&node.ws(), &token_into("bob", &["room-*"]))
            .await
            .unwrap();
        if auto {
            done(&mut bob, "group.join", "room-1").await;
            done(&mut bob, "group.leave", "room-1").await;
            let data = json!({"group": "room-1"});
            assert_eq!(refused(&mut bob, "group.leave", data).await.0, "not_found");
        } else {
            let data = json!({"group": "room-1"});
            assert_eq!(refused(&mut bob, "group.join", data).await.0, "not_found");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_broadcast_only_backends_and_admins_send() {
    let node = alone(&[ON, "wsc.group.enableBroadcast=false"]).await;
    let mut bob = member(&node, "bob", "room").await;
    say(&mut bob, "room", "hi").await;
    let told = loop {
        let frame = bob.next().await;
        if frame["type"] == "error" {
            break frame;
        }
    };
    assert_eq!(told["code"], "forbidden");
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .contains("enableBroadcast"),
        "{told}"
    );
    let both = Scopes::ADMIN.with(Scopes::GROUPS);
    let mut admin = node.connect_with("root", both).await;
    done(&mut admin, "group.join", "room").await;
    say(&mut admin, "room", "from above").await;
    assert_eq!(hears(&mut bob).await, "from above");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_records_messages_are_delivered_on_all_nodes_and_not_kept() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[ON, "wsc.group.enableMessageRecord=false"]).await;
    let mut alice = member(&one, "alice", "room").await;
    let mut bob = member(&two, "bob", "room").await;
    say(&mut alice, "room", "m1").await;
    let heard = message(&mut bob).await;
    assert_eq!(
        (&heard["content"], &heard["pos"]),
        (&"m1".into(), &Value::Null)
    );
    let (_, log) = one.call("GET", "/v1/groups/room/log", Value::Null).await;
    assert_eq!(log["messages"], json!([]), "{log}");
    alice
        .send(json!({"type": "text", "id": "d", "group": "room", "durable": true}))
        .await;
    let told = loop {
        let frame = alice.next().await;
        if frame["ref"] == "d" {
            break frame;
        }
    };
    assert_eq!(told["code"], "not_supported", "{told}");
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .contains("enableMessageRecord"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_cannot_be_asked_of_a_group() {
    let node = alone(&[ON, "wsc.ack.enabled=true"]).await;
    let mut bob = member(&node, "bob", "room").await;
    bob.send(json!({"type": "text", "id": "a", "group": "room", "require_ack": true}))
        .await;
    let told = loop {
        let frame = bob.next().await;
        if frame["ref"] == "a" {
            break frame;
        }
    };
    assert_eq!(told["code"], "not_supported", "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_groups_are_off_nothing_about_them_is_taken() {
    let node = alone(&[]).await;
    let mut bob = node.connect_with("bob", Scopes::GROUPS).await;
    let (code, why) = refused(&mut bob, "group.join", json!({"group": "g"})).await;
    assert_eq!(
        (code.as_str(), why.contains("wsc.group.enabled")),
        ("not_supported", true)
    );
    say(&mut bob, "g", "hi").await;
    assert_eq!(bob.next().await["code"], "not_supported");
}

/// What a client sees of a key that has just been changed, on a node without groups of its own.
pub async fn key_works(node: &Node, path: &str) {
    let (one, two) = (format!("{path} 1"), format!("{path} 2"));
    let mut owner = node.connect_with("owner", Scopes::GROUPS).await;
    if path != "wsc.group.autoCreate" {
        done(&mut owner, "group.create", &one).await;
    }
    let code = match path {
        "wsc.group.maxGroupSize" => {
            let mut other = node.connect_with("other", Scopes::GROUPS).await;
            refused(&mut other, "group.join", json!({"group": one}))
                .await
                .0
        }
        "wsc.group.maxGroupsPerUser" => {
            refused(&mut owner, "group.create", json!({"group": two}))
                .await
                .0
        }
        "wsc.group.enableBroadcast" | "wsc.group.broadcastRateLimit" => {
            for content in ["m1", "m2"] {
                say(&mut owner, &one, content).await;
            }
            loop {
                let frame = owner.next().await;
                if frame["type"] == "error" {
                    break frame["code"].as_str().unwrap().to_owned();
                }
            }
        }
        "wsc.group.autoCreate" => {
            done(&mut owner, "group.join", &one).await;
            "made".to_owned()
        }
        "wsc.group.enableMessageRecord" => {
            say(&mut owner, &one, "m1").await;
            let heard = message(&mut owner).await;
            assert_eq!(heard["pos"], Value::Null, "{heard}");
            "not kept".to_owned()
        }
        _ => {
            let settings = node.0.config().wsc.group.cache_expire;
            assert_eq!(settings.to_string(), "2s");
            eventually("the copy is read anew", || async { reads(node).await > 1 }).await;
            "read".to_owned()
        }
    };
    let expected = match path {
        "wsc.group.enableBroadcast" => "forbidden",
        "wsc.group.broadcastRateLimit" => "rate_limited",
        "wsc.group.autoCreate" => "made",
        "wsc.group.enableMessageRecord" => "not kept",
        "wsc.group.cacheExpire" => "read",
        _ => "limit_reached",
    };
    assert_eq!(code, expected, "{path}");
    if path == "wsc.group.autoCreate" {
        done(&mut owner, "group.leave", &one).await;
    } else {
        done(&mut owner, "group.disband", &one).await;
    }
}

/// How often the node has read the groups of a user.
async fn reads(node: &Node) -> u64 {
    metric(node, "wsc_groups_reads_total{outcome=\"ok\"}").await
}

async fn metric(node: &Node, name: &str) -> u64 {
    let (_, metrics) = node.admin("/metrics").await;
    let line = metrics.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit_once(' '));
    value
        .unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .1
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_has_not_expired_is_believed() {
    let node = alone(&[ON]).await;
    let _first = member(&node, "bob", "room").await;
    for _ in 0..3 {
        node.connect("bob").await;
    }
    assert_eq!(reads(&node).await, 1);
    let brief = alone(&[ON, "wsc.group.cacheExpire=1s"]).await;
    let _first = member(&brief, "bob", "room").await;
    eventually("it is read again and again", || async {
        reads(&brief).await > 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_about_groups_is_counted() {
    let node = alone(&[ON]).await;
    let mut bob = member(&node, "bob", "room").await;
    refused(&mut bob, "group.create", json!({"group": "room"})).await;
    for (name, count) in [
        ("wsc_groups_local", 1),
        ("wsc_groups_changes_total{change=\"created\"}", 1),
        ("wsc_groups_changes_total{change=\"joined\"}", 1),
        ("wsc_groups_refused_total{reason=\"exists\"}", 1),
        ("wsc_groups_events_dropped_total", 0),
    ] {
        assert_eq!(metric(&node, name).await, count, "{name}");
    }
}

/// A gateway whose application lets only even users into groups, and what it heard of groups.
async fn with_application(
    redis: &RedisServer,
    name: &str,
) -> (Node, Arc<Mutex<Vec<(String, Value)>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let mut options = options(name);
    let events = heard.clone();
    let on_event = move |event: Event| {
        events.lock().push((event.name, event.data));
        async {}
    };
    options.extensions.on_event("group.*", on_event).unwrap();
    options.extensions.use_doorkeeper(Even);
    let port = format!("wsc.redis.port={}", redis.port);
    let sets = [
        ON,
        "wsc.distributed.enabled=true",
        "wsc.redis.host=127.0.0.1",
        &port,
    ];
    (
        Node(Gateway::start(config(&sets), options).await.unwrap()),
        heard,
    )
}

struct Even;

impl Doorkeeper for Even {
    fn name(&self) -> &'static str {
        "even"
    }

    fn join<'a>(
        &'a self,
        client: &'a service::Client,
        group: &'a GroupId,
    ) -> BoxFuture<'a, Result<Verdict, Rejection>> {
        Box::pin(async move {
            assert_eq!(group.as_str(), "room");
            match client.user.as_str() {
                "user-0" => Ok(Verdict::Allowed),
                "user-1" => Ok(Verdict::Denied),
                "user-2" => Err(Rejection::new("not today")),
                _ => Ok(Verdict::Unasked),
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_token_is_silent_the_application_decides() {
    let redis = RedisServer::start();
    let (node, _) = with_application(&redis, "asks").await;
    let mut owner = node.connect_with("owner", Scopes::GROUPS).await;
    done(&mut owner, "group.create", "room").await;
    let mut even = node.connect("user-0").await;
    done(&mut even, "group.join", "room").await;
    for (user, code, word) in [
        ("user-1", "forbidden", "the application refused it"),
        ("user-2", "rejected", "not today"),
        ("user-3", "forbidden", "claim groups"),
    ] {
        let mut client = node.connect(user).await;
        let (told, why) = refused(&mut client, "group.join", json!({"group": "room"})).await;
        assert_eq!(
            (told.as_str(), why.contains(word)),
            (code, true),
            "{user}: {why}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_one_event_on_the_node_that_made_it() {
    let redis = RedisServer::start();
    let (one, at_one) = with_application(&redis, "one").await;
    let (two, at_two) = with_application(&redis, "two").await;
    for node in [&one, &two] {
        eventually("they see each other", || async {
            node.0.cluster().status().peers.len() == 1
        })
        .await;
    }
    let mut alice = member(&one, "alice", "room").await;
    let mut bob = member(&two, "bob", "room").await;
    done(&mut bob, "group.join", "room").await;
    event(&mut alice, "group.joined").await;
    assert_eq!(event(&mut alice, "group.joined").await["user"], "bob");
    let (status, _) = one
        .call("DELETE", "/v1/groups/room/members/bob", Value::Null)
        .await;
    assert_eq!(status, 200);
    event(&mut bob, "group.left").await;
    done(&mut alice, "group.disband", "room").await;
    let names = |heard: &Mutex<Vec<(String, Value)>>| -> Vec<String> {
        heard.lock().iter().map(|(name, _)| name.clone()).collect()
    };
    eventually("the last event has come", || async {
        names(&at_one).contains(&"group.disbanded".to_owned())
    })
    .await;
    let made = [
        "group.created",
        "group.joined",
        "group.left",
        "group.disbanded",
    ];
    assert_eq!(names(&at_one), made);
    assert_eq!(names(&at_two), ["group.joined"]);
    let left = at_one.lock()[2].1.clone();
    assert_eq!(
        (&left["group"], &left["user"]),
        (&"room".into(), &"bob".into())
    );
    assert!(left["generation"].as_u64() > at_two.lock()[0].1["generation"].as_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_make_groups_fill_them_and_send_to_them_on_any_node() {
    let redis = RedisServer::start();
    let sets = [
        ON,
        "wsc.group.broadcastRateLimit=1",
        "wsc.group.enableBroadcast=false",
    ];
    let [one, two, three] = cluster(redis.port, &sets).await;
    let mut bob = three.connect("bob").await;
    let (status, made) = one
        .call("POST", "/v1/groups", json!({"id": "room", "owner": "ann"}))
        .await;
    assert_eq!(
        (status, &made["members"], &made["owner"]),
        (201, &json!(0), &json!("ann"))
    );
    let (status, again) = two.call("POST", "/v1/groups", json!({"id": "room"})).await;
    assert_eq!((status, &again["error"]["code"]), (409, &json!("exists")));
    let (status, added) = two
        .call("PUT", "/v1/groups/room/members/bob", Value::Null)
        .await;
    assert_eq!((status, &added["already"]), (200, &json!(false)));
    assert_eq!(event(&mut bob, "group.joined").await["user"], "bob");
    for n in 0..3 {
        let body = json!({"content": n.to_string(), "id": n.to_string()});
        let (status, sent) = one.call("POST", "/v1/groups/room/messages", body).await;
        assert_eq!((status, &sent["nodes"]), (200, &json!(1)), "{sent}");
        let heard = message(&mut bob).await;
        assert_eq!(
            (&heard["content"], &heard["from"]),
            (&json!(n.to_string()), &json!("system"))
        );
        assert_eq!(heard["pos"], sent["pos"]);
    }
    let (_, members) = three
        .call("GET", "/v1/groups/room/members", Value::Null)
        .await;
    assert_eq!(members["members"][0]["user_id"], "bob");
    let (_, groups) = one.call("GET", "/v1/users/bob/groups", Value::Null).await;
    assert_eq!(groups["groups"][0]["id"], "room");
    let (_, log) = two.call("GET", "/v1/groups/room/log", Value::Null).await;
    assert_eq!(log["messages"].as_array().map(Vec::len), Some(3), "{log}");
    for path in ["/v1/groups/none/messages", "/v1/groups/none/members/bob"] {
        let method = if path.ends_with("bob") { "PUT" } else { "POST" };
        let (status, told) = one.call(method, path, json!({"content": "x"})).await;
        assert_eq!(
            (status, &told["error"]["code"]),
            (404, &json!("missing")),
            "{told}"
        );
    }
    let (status, _) = one.call("DELETE", "/v1/groups/room", Value::Null).await;
    assert_eq!(status, 200);
    event(&mut bob, "group.disbanded").await;
}
