//! Groups that a connect hook gives: joined as any group is, within the limits of groups, and no reason to be refused.

use serde_json::{Value, json};
use wsc_gateway::app::Gateway;
use wsc_gateway::service::{Admission, Client as Who, Gatekeeper, Rejection};

use super::hook;
use crate::client::Client;
use crate::hook_target::{Target, says};
use crate::redis::RedisServer;
use crate::sandbox::{Node, cluster, config, eventually, options};

const ON: &str = "wsc.group.enabled=true";
const MAKES: &str = "wsc.group.autoCreate=true";

/// A target that puts everyone into these groups.
async fn putting_into(groups: &[&str]) -> Target {
    let groups = json!({ "groups": groups });
    Target::start(move |_| says(&groups)).await
}

fn gate(target: &Target) -> String {
    format!("hooks=[{}]", hook("gate", target.port, "points: [connect]"))
}

async fn members(node: &Node, group: &str) -> Vec<Value> {
    let path = format!("/v1/groups/{group}/members");
    let (_, body) = node.call("GET", &path, Value::Null).await;
    body["members"].as_array().cloned().unwrap_or_default()
}

async fn next(client: &mut Client, kind: &str) -> Value {
    loop {
        let frame = client.next().await;
        if frame["type"] == kind {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_in_the_groups_that_a_hook_gave_before_anything_that_it_says() {
    let redis = RedisServer::start();
    let target = putting_into(&["red", "blue"]).await;
    let nodes: [Node; 2] = cluster(redis.port, &[ON, MAKES, &gate(&target)]).await;
    let mut alice = nodes[0].connect("alice").await;
    // At once, without a word about joining, and her token says nothing of groups.
    let hello = json!({"type": "text", "id": "h", "group": "red", "content": "hello"});
    alice.send(hello).await;
    let receipt = next(&mut alice, "receipt").await;
    assert_eq!(receipt["data"]["state"], "accepted", "{receipt}");
    let mut bob = nodes[1].connect("bob").await;
    // From when he hears that he is in it, he gets what is said there.
    for group in ["red", "blue"] {
        let joined = next(&mut bob, "group.joined").await["data"].take();
        assert_eq!(
            (&joined["group"], &joined["user"]),
            (&group.into(), &"bob".into())
        );
        assert_eq!(members(&nodes[0], group).await.len(), 2);
    }
    let more = json!({"type": "text", "id": "m", "group": "blue", "content": "more"});
    alice.send(more).await;
    assert_eq!(next(&mut bob, "text").await["content"], "more");
    // Who is in is not put in again, and is not told.
    let before = members(&nodes[0], "red").await;
    let _again = nodes[0].connect("alice").await;
    assert_eq!(members(&nodes[0], "red").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_groups_hold_for_them_and_the_session_goes_on() {
    let target = putting_into(&["one", "two", "three"]).await;
    let sets = [ON, MAKES, "wsc.group.maxGroupsPerUser=2", &gate(&target)];
    let node = Gateway::start(config(&sets), options("hooked"));
    let node = Node(node.await.unwrap());
    let mut alice = node.connect("alice").await;
    let error = next(&mut alice, "error").await;
    assert_eq!(error["code"], "limit_reached", "{error}");
    assert!(error["message"].as_str().unwrap().contains('2'), "{error}");
    let list = json!({"type": "group.list", "id": "l"});
    alice.send(list).await;
    let listed = next(&mut alice, "result").await;
    let groups = listed["data"]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_there_is_not_is_made_only_where_joining_makes_groups() {
    let target = putting_into(&["nowhere"]).await;
    let node = Gateway::start(config(&[ON, &gate(&target)]), options("hooked"));
    let node = Node(node.await.unwrap());
    let mut alice = node.connect("alice").await;
    let error = next(&mut alice, "error").await;
    assert_eq!(error["code"], "not_found", "{error}");
    alice.send(json!({"type": "ping"})).await;
    next(&mut alice, "pong").await;
}

/// Puts everyone into one group, in process.
struct Usher;

impl Gatekeeper for Usher {
    fn name(&self) -> &'static str {
        "usher"
    }

    fn admit<'a>(
        &'a self,
        _: &'a Who,
    ) -> futures_util::future::BoxFuture<'a, Result<Admission, Rejection>> {
        let groups = vec![wsc_gateway::protocol::GroupId::new("red").unwrap()];
        Box::pin(std::future::ready(Ok(Admission {
            groups,
            ..Admission::default()
        })))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gatekeeper_in_process_gives_groups_too_beside_those_of_a_hook() {
    let target = putting_into(&["red", "blue"]).await;
    let mut options = options("hooked");
    options.extensions.use_gatekeeper(Usher);
    let sets = [ON, MAKES, &gate(&target)];
    let node = Node(Gateway::start(config(&sets), options).await.unwrap());
    let _alice = node.connect("alice").await;
    eventually("she is in both", || async {
        members(&node, "red").await.len() == 1 && members(&node, "blue").await.len() == 1
    })
    .await;
}
