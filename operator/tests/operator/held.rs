//! What goes on while a resource is rejected.

use serde_json::{Value, json};
use wsc_operator::error::Error;
use wsc_operator::gateway::status::Outcome;
use wsc_operator::gateway::unreadable;

use crate::fake::Seen;
use crate::reconcile::{
    CHAT, CONFIG, DEPLOYMENT, SECRETS, SERVICE, World, events, pods_with, writes,
};

const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";

/// A cluster that runs, and then is asked for what needs a Secret that is not there.
async fn rejected(replicas: i32) -> World {
    let world = World::cluster();
    world.settle().await;
    world.set_spec(unrealisable(replicas));
    world.rest().await;
    assert_eq!(world.condition("Accepted")["reason"], "SecretMissing");
    world
}

fn unrealisable(replicas: i32) -> Value {
    json!({
        "replicas": replicas,
        "wsc": {
            "path": "/other",
            "distributed": {"enabled": true},
            "security": {"jwt": {"secretRef": {"name": "ours", "key": "signing"}}},
        },
    })
}

fn of(seen: &[Seen], resource: &str) -> Vec<String> {
    let lines = seen.iter().map(Seen::line);
    lines.filter(|line| line.contains(resource)).collect()
}

#[tokio::test]
async fn what_was_realised_is_remembered_once_for_each_change_and_without_the_number_of_gateways() {
    let world = World::cluster();
    world.settle().await;
    let names = |world: &World| {
        let all = world.fake.list(REVISIONS);
        let names = all.iter().map(|found| found["metadata"]["name"].clone());
        names.collect::<Vec<_>>()
    };
    let first = names(&world);
    assert_eq!(first.len(), 1);

    world.set_spec(json!({"replicas": 4, "wsc": {"distributed": {"enabled": true}}}));
    assert_eq!(
        of(&world.reconcile().await, "controllerrevisions"),
        Vec::<String>::new()
    );
    assert_eq!(names(&world), first);

    let other = json!({"replicas": 4, "wsc": {"path": "/other", "distributed": {"enabled": true}}});
    world.set_spec(other);
    world.settle().await;
    let second = names(&world);
    assert_eq!(second.len(), 1);
    assert_ne!(second, first);
}

#[tokio::test]
async fn what_is_not_realised_as_a_whole_is_not_remembered() {
    let world = World::cluster();
    world.settle().await;
    let before = world.fake.list(REVISIONS);
    world.set_spec(json!({"wsc": {"path": "/other", "distributed": {"enabled": true}}}));
    world.fake.fail("APPLY services/chat", 422);
    world.fake.fail("MERGE services/chat", 422);
    world
        .fake
        .edit(SERVICE, |found| found["spec"]["ports"] = json!([]));
    assert!(world.try_reconcile().await.is_err());
    assert_eq!(world.fake.list(REVISIONS), before);
}

#[tokio::test]
async fn a_rejected_resource_goes_on_holding_what_was_realised_last() {
    let world = rejected(3).await;
    let kept = [DEPLOYMENT, SERVICE, CONFIG].map(|path| (path, world.fake.get(path).unwrap()));
    for (path, wanted) in kept {
        world.fake.remove(path);
        let (outcome, seen) = world.try_reconcile().await.unwrap();
        assert_eq!(outcome, Outcome::Waiting);
        assert_eq!(writes(&seen).len(), 1, "{:?}", writes(&seen));
        let there = world.fake.get(path).unwrap();
        assert_eq!(
            (&there["spec"], &there["data"]),
            (&wanted["spec"], &wanted["data"])
        );
    }
    world.fake.edit(DEPLOYMENT, |found| {
        found["spec"]["template"]["spec"]["serviceAccountName"] = json!("another");
    });
    assert_eq!(writes(&world.reconcile().await), ["APPLY deployments/chat"]);
    let accepted = world.condition("Accepted");
    assert_eq!(accepted["status"], "False");
    let words = accepted["message"].as_str().unwrap();
    assert!(words.ends_with("what was realised last is held"), "{words}");
    // The file is that which was realised, not the one that waits for its Secret.
    let file = world.fake.get(CONFIG).unwrap()["data"].to_string();
    assert!(!file.contains("/other"), "{file}");
    world.rest().await;
}

#[tokio::test]
async fn a_hook_that_is_stored_with_the_former_name_of_points_is_rejected_and_what_runs_is_held() {
    let hook = |key: &str| {
        let mut hook =
            json!({"name": "rules", "target": {"service": {"name": "rules", "port": 80}}});
        hook[key] = json!(["connect"]);
        json!({"wsc": {"distributed": {"enabled": true}}, "hooks": [hook]})
    };
    let world = World::cluster();
    world.set_spec(hook("points"));
    world.settle().await;
    let file = world.fake.get(CONFIG).unwrap()["data"].clone();
    // Stored before the rule was: the API server would refuse it now.
    world.fake.edit(CHAT, |chat| {
        chat["spec"] = hook("on");
        chat["metadata"]["generation"] = json!(9);
    });
    world.rest().await;
    let accepted = world.condition("Accepted");
    let said = (&accepted["status"], &accepted["reason"]);
    assert_eq!(said, (&json!("False"), &json!("InvalidConfiguration")));
    let words = accepted["message"].as_str().unwrap();
    assert!(
        words.contains("hooks[0].on: was renamed to points"),
        "{words}"
    );
    assert_eq!(world.fake.get(CONFIG).unwrap()["data"], file);
    assert!(file.to_string().contains("connect"), "{file}");
}

#[tokio::test]
async fn a_rejected_resource_is_scaled_all_the_same_and_the_emptiest_go_first() {
    let world = rejected(3).await;
    pods_with(&world, &[("chat-a", 7), ("chat-b", 3)]);
    world.set_spec(unrealisable(2));
    let mut written = writes(&world.reconcile().await);
    written.retain(|line| !line.contains("status"));
    written.sort();
    assert_eq!(
        written,
        [
            "APPLY deployments/chat",
            "MERGE pods/chat-a",
            "MERGE pods/chat-b"
        ]
    );
    let deployment = world.fake.get(DEPLOYMENT).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    let status = &world.fake.get(CHAT).unwrap()["status"];
    assert!(
        status["selector"]
            .as_str()
            .unwrap()
            .contains("wsc.dev/gateway=chat")
    );
}

#[tokio::test]
async fn gateways_that_are_no_cluster_are_not_made_several_by_a_rejected_one() {
    let world = World::new(json!({}));
    world.settle().await;
    world.set_spec(unrealisable(3));
    world.rest().await;
    assert_eq!(world.fake.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 1);
    // It says of Redis what is so, and not what would be.
    assert_eq!(world.condition("RedisReady")["reason"], "NotNeeded");
}

#[tokio::test]
async fn what_somebody_else_has_put_in_the_place_of_what_is_held_is_theirs() {
    let world = rejected(3).await;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "chat", "namespace": "default"}, "spec": {"theirs": true},
    });
    world.fake.put(SERVICE, theirs);
    world.fake.remove(DEPLOYMENT);
    assert_eq!(
        writes(&world.reconcile().await)[0],
        "APPLY deployments/chat"
    );
    assert_eq!(
        world.fake.get(SERVICE).unwrap()["spec"],
        json!({"theirs": true})
    );
}

#[tokio::test]
async fn what_cannot_be_held_is_told_and_tried_again() {
    let world = rejected(3).await;
    world.fake.remove(SERVICE);
    world.fake.fail("APPLY services/chat", 403);
    assert!(world.try_reconcile().await.is_err());
    assert_eq!(world.condition("Accepted")["reason"], "SecretMissing");
    let degraded = world.condition("Degraded");
    assert_eq!(degraded["reason"], "ApplyFailed");
    assert!(
        degraded["message"]
            .as_str()
            .unwrap()
            .contains("Service/chat")
    );
    world.rest().await;
    assert!(world.fake.get(SERVICE).is_some());
    assert_eq!(world.condition("Degraded")["status"], "False");
}

#[tokio::test]
async fn a_rejected_resource_that_is_paused_is_not_held() {
    let world = rejected(3).await;
    let mut spec = unrealisable(3);
    spec["paused"] = json!(true);
    world.set_spec(spec);
    world.fake.remove(SERVICE);
    assert_eq!(
        writes(&world.reconcile().await),
        ["APPLY websocketgateways/chat/status"]
    );
    assert_eq!(world.condition("Accepted")["status"], "False");
}

#[tokio::test]
async fn once_the_secret_is_there_what_was_asked_for_is_realised() {
    let world = rejected(3).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "ours", "namespace": "default"},
        "data": {"signing": "YS1rZXktb2YtbW9yZS10aGFuLXRoaXJ0eS10d28tYnl0ZXMtaW4tYWxs"},
    });
    world.fake.put(&format!("{SECRETS}/ours"), secret);
    world.settle().await;
    assert_eq!(world.condition("Accepted")["status"], "True");
    let file = world.fake.get(CONFIG).unwrap()["data"].to_string();
    assert!(file.contains("/other"), "{file}");
    // The key never is in what is remembered.
    let revisions = json!(world.fake.list(REVISIONS)).to_string();
    assert!(!revisions.contains("a-key-of-more") && revisions.contains("/other"));
}

#[tokio::test]
async fn a_resource_that_cannot_be_read_says_so_and_is_held_and_scaled() {
    let world = World::cluster();
    world.settle().await;
    world.fake.edit(CHAT, |chat| {
        chat["spec"]["mode"] = json!("Elsewhere");
        chat["spec"]["replicas"] = json!(2);
    });
    world.fake.remove(SERVICE);
    world.catch_up();
    world.fake.take_seen();
    let chat: kube::core::DynamicObject =
        serde_json::from_value(world.fake.get(CHAT).unwrap()).unwrap();
    let why = "unknown variant `Elsewhere`";
    let tell = async || {
        unreadable::tell(&chat.metadata, why, &world.context)
            .await
            .unwrap();
        world.fake.take_seen()
    };
    let seen = tell().await;
    assert_eq!(
        writes(&seen),
        [
            "APPLY websocketgateways/chat/status",
            "APPLY services/chat",
            "APPLY deployments/chat"
        ]
    );
    assert_eq!(events(&seen), ["Unreadable"]);
    assert_eq!(world.fake.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 2);
    let accepted = world.condition("Accepted");
    assert_eq!(
        (&accepted["status"], &accepted["reason"]),
        (&json!("False"), &json!("Unreadable"))
    );
    assert!(accepted["message"].as_str().unwrap().contains(why));
    // The rest of the status is as it was.
    assert_eq!(world.condition("RedisReady")["type"], "RedisReady");
    let status = &world.fake.get(CHAT).unwrap()["status"];
    assert!(status["selector"].is_string());

    world.catch_up();
    let again = tell().await;
    assert!(
        writes(&again).is_empty() && events(&again).is_empty(),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_resource_that_cannot_be_read_is_not_scaled_beyond_its_autoscaler() {
    let world = World::new(json!({
        "replicas": 3,
        "autoscaling": {"enabled": true, "minReplicas": 3, "maxReplicas": 5},
        "wsc": {"distributed": {"enabled": true}},
    }));
    world.settle().await;
    for (asked, runs) in [(json!(1), 3), (json!(9), 5), (json!(4), 4), (json!(0), 0)] {
        world.fake.edit(CHAT, |chat| {
            chat["spec"]["mode"] = json!("Elsewhere");
            chat["spec"]["replicas"] = asked.clone();
        });
        world.catch_up();
        tell_unreadable(&world).await;
        let deployment = world.fake.get(DEPLOYMENT).unwrap();
        assert_eq!(deployment["spec"]["replicas"], runs, "asked for {asked}");
    }
}

#[tokio::test]
async fn where_the_condition_is_refused_an_event_tells_it_once_for_each_generation() {
    let world = World::cluster();
    world.settle().await;
    let mut told = Vec::new();
    for generation in [2, 2, 2, 3, 3] {
        world.fake.edit(CHAT, |chat| {
            chat["spec"]["mode"] = json!("Elsewhere");
            chat["metadata"]["generation"] = json!(generation);
        });
        world.fake.fail("APPLY websocketgateways/chat/status", 422);
        world.catch_up();
        told.push(events(&tell_unreadable(&world).await).len());
    }
    assert_eq!(told, [1, 0, 0, 1, 0]);
}

async fn tell_unreadable(world: &World) -> Vec<Seen> {
    let chat: kube::core::DynamicObject =
        serde_json::from_value(world.fake.get(CHAT).unwrap()).unwrap();
    world.fake.take_seen();
    unreadable::tell(&chat.metadata, "unknown variant", &world.context)
        .await
        .unwrap();
    world.fake.take_seen()
}

#[tokio::test]
async fn a_write_of_what_is_held_that_comes_too_late_is_no_news() {
    let world = rejected(3).await;
    world.fake.remove(SERVICE);
    world.catch_up();
    world.fake.take_seen();
    world.fake.fail("APPLY services/chat", 409);
    let late = world.try_reconcile().await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    let seen = world.fake.take_seen();
    assert_eq!(writes(&seen), ["APPLY services/chat"]);
    assert!(events(&seen).is_empty());
    world.rest().await;
    assert!(world.fake.get(SERVICE).is_some());
}

const AUTH: &str = "/api/v1/namespaces/default/secrets/chat-auth";
const REDIS: &str = "/api/v1/namespaces/default/secrets/chat-redis";
const BUDGET: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/chat";

#[tokio::test]
async fn drawn_keys_that_are_deleted_while_a_resource_is_rejected_are_made_anew_as_when_it_is_accepted()
 {
    let world = rejected(3).await;
    let keys = |path: &str| world.fake.get(path).unwrap()["data"].clone();
    let (auth, redis) = (keys(AUTH), keys(REDIS));
    world.fake.remove(AUTH);
    assert_eq!(
        writes(&world.reconcile().await),
        ["POST secrets/chat-auth"],
        "a key of tokens reaches pods through its file"
    );
    world.fake.remove(REDIS);
    assert_eq!(
        writes(&world.reconcile().await),
        ["POST secrets/chat-redis"],
        "running pods take the new password over"
    );
    for (path, before) in [(AUTH, &auth), (REDIS, &redis)] {
        let made = world.fake.get(path).unwrap();
        let (made, owner) = (&made["data"], &made["metadata"]["ownerReferences"]);
        assert_eq!(owner[0]["name"], "chat");
        for (key, value) in before.as_object().unwrap() {
            assert!(made[key].is_string() && made[key] != *value, "{path} {key}");
        }
    }
    world.rest().await;

    // Accepted again, as it was: nothing is rolled out once more.
    world.set_spec(json!({"replicas": 3, "wsc": {"distributed": {"enabled": true}}}));
    let written = writes(&world.reconcile().await);
    assert_eq!(written, ["APPLY websocketgateways/chat/status"]);
    world.settle().await;
}

#[tokio::test]
async fn a_password_that_is_replaced_or_spoilt_while_a_resource_is_rejected_reaches_redis_and_gateways()
 {
    let world = rejected(3).await;
    world.fake.edit(REDIS, |secret| {
        secret["data"]["redis-password"] = json!("b3RoZXI=");
    });
    assert_eq!(
        writes(&world.reconcile().await),
        ["MERGE secrets/chat-redis"]
    );
    // "requirepass other\n"
    let data = world.fake.get(REDIS).unwrap()["data"].clone();
    assert_eq!(data["auth.conf"], "cmVxdWlyZXBhc3Mgb3RoZXIK");
    world.fake.edit(AUTH, |secret| {
        secret["data"].as_object_mut().unwrap().remove("api-key");
    });
    assert_eq!(
        writes(&world.reconcile().await),
        ["MERGE secrets/chat-auth"]
    );
    world.rest().await;
}

#[tokio::test]
async fn a_secret_that_somebody_else_put_in_the_place_of_drawn_keys_is_theirs() {
    let world = rejected(3).await;
    world.fake.remove(REDIS);
    let theirs = json!({
        "metadata": {"name": "chat-redis", "namespace": "default"},
        "data": {"redis-password": "dGhlaXJz"},
    });
    world.fake.put(REDIS, theirs.clone());
    world.rest().await;
    assert_eq!(world.fake.get(REDIS).unwrap()["data"], theirs["data"]);
}

#[tokio::test]
async fn the_budget_of_a_rejected_resource_comes_and_goes_with_the_number_of_its_gateways() {
    let world = World::new(json!({"replicas": 1, "wsc": {"distributed": {"enabled": true}}}));
    world.settle().await;
    let mut seen = Vec::new();
    for replicas in [1, 2, 1, 0, 3] {
        world.set_spec(unrealisable(replicas));
        world.rest().await;
        seen.push((replicas, world.fake.get(BUDGET).is_some()));
    }
    let wanted = [(1, false), (2, true), (1, false), (0, false), (3, true)];
    assert_eq!(seen, wanted);
    let budget = world.fake.get(BUDGET).unwrap();
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
}

#[tokio::test]
async fn no_budget_is_held_where_none_was_wanted() {
    let wsc = json!({"distributed": {"enabled": true}});
    let world = World::new(json!({"replicas": 1, "disruption": {"enabled": false}, "wsc": wsc}));
    world.settle().await;
    world.set_spec(unrealisable(3));
    world.rest().await;
    assert_eq!(world.fake.get(BUDGET), None);
}
