//! What a message costs in Redis, by Redis' own word: counts that no machine changes.

use serde_json::json;

use crate::client::Client;
use crate::groups::ask;
use crate::redis::{Asked, RedisServer};
use crate::sandbox::{Node, cluster, token_into};

const ON: &str = "wsc.group.enabled=true";
const AUTO: &str = "wsc.group.autoCreate=true";
const OFTEN: &str = "wsc.group.broadcastRateLimit=1000000";

async fn member(node: &Node, user: &str) -> Client {
    let token = token_into(user, &["*"]);
    let mut client = Client::connect(&node.ws(), &token).await.unwrap();
    let joined = ask(&mut client, "group.join", json!({"group": "room"})).await;
    assert_eq!(joined["type"], "result", "{joined}");
    client
}

async fn say_and_hear(sender: &mut Client, reader: &mut Client, content: &str) {
    sender
        .send(json!({"type": "text", "id": content, "group": "room", "content": content}))
        .await;
    loop {
        if reader.next().await["content"] == content {
            return;
        }
    }
}

/// What was asked about the room, without what nodes say again now and then.
fn about_the_room(asked: Vec<String>) -> Vec<String> {
    let about = asked.into_iter().filter(|line| line.contains(":g:room}"));
    about
        .filter(|line| !line.contains("86400000") && !line.contains("HMGET"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_stored_goes_to_redis_in_one_go_with_the_note_of_its_sender() {
    let redis = RedisServer::start();
    let [one] = cluster(redis.port, &[]).await;
    let (mut alice, mut bob) = (one.connect("alice").await, one.connect("bob").await);
    let mut asked = Asked::of(&redis);
    for n in 0..20 {
        let id = format!("n{n}");
        let message = json!({"type": "text", "id": id, "to": "bob", "content": id});
        alice.send(message).await;
        while alice.next().await["data"]["state"] != "accepted" {}
        while bob.next().await["content"] != id.as_str() {}
        let mut about = asked.since(&redis);
        about.retain(|line| line.contains(":s:alice}:sent") || line.contains("}:seen:"));
        if n == 0 {
            // Its script was not known yet.
            continue;
        }
        let command = |line: &String| line.split('"').nth(1).unwrap().to_lowercase();
        let commands: Vec<String> = about.iter().map(command).collect();
        assert_eq!(commands, ["xadd", "xtrim", "pexpire", "evalsha"]);
        let over = |line: &String| line.split_whitespace().nth(2).unwrap().to_owned();
        assert!(about.iter().all(|line| over(line) == over(&about[0])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_a_group_that_is_not_kept_asks_redis_once() {
    let redis = RedisServer::start();
    let unkept = "wsc.group.enableMessageRecord=false";
    let [one, two] = cluster(redis.port, &[ON, AUTO, OFTEN, unkept]).await;
    let (mut alice, mut bob) = (member(&one, "alice").await, member(&two, "bob").await);
    say_and_hear(&mut alice, &mut bob, "scripts are loaded by this").await;
    let mut asked = Asked::of(&redis);
    for n in 0..50 {
        say_and_hear(&mut alice, &mut bob, &format!("n{n}")).await;
    }
    let about = about_the_room(asked.since(&redis));
    assert_eq!(about.len(), 50, "{about:#?}");
}
