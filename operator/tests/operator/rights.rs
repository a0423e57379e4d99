//! Rights to see objects that the operator has never had, or has lost.

use std::sync::Arc;

use wsc_operator::error::Error;
use wsc_operator::gateway::reconcile;
use wsc_operator::gateway::status::Outcome;
use wsc_operator::owned::Kind;

use crate::reconcile::{CHAT, SERVICE, World, events, writes};

#[tokio::test]
async fn a_right_that_is_missing_is_named_and_nothing_is_touched_for_it() {
    let world = World::cluster();
    world.settle().await;
    let fresh = World::cluster();
    let chat = world.fake.get(CHAT).unwrap();
    fresh.fake.put(CHAT, chat.clone());
    fresh.catch_up();
    // Another operator, whose role has lost a rule.
    let context = fresh.context_without(Kind::Deployment);
    let gateway = || Arc::new(serde_json::from_value(fresh.fake.get(CHAT).unwrap()).unwrap());
    fresh.fake.take_seen();
    let refused = reconcile(gateway(), &context).await;
    assert!(
        matches!(refused, Err(Error::NotPermitted(_))),
        "{refused:?}"
    );
    let seen = fresh.fake.take_seen();
    assert_eq!(writes(&seen), ["APPLY websocketgateways/chat/status"]);
    assert_eq!(events(&seen), ["NotPermitted"]);
    let degraded = fresh.condition("Degraded");
    assert_eq!(degraded["status"], "True");
    let words = degraded["message"].as_str().unwrap();
    assert!(
        words.contains("may not list and watch deployments.apps"),
        "{words}"
    );
    // Of the rest nothing is claimed.
    assert_eq!(fresh.condition("Ready"), world.condition("Ready"));

    fresh.fake.take_seen();
    assert!(reconcile(gateway(), &context).await.is_err());
    assert_eq!(fresh.fake.take_seen().len(), 0);
}

#[tokio::test]
async fn a_right_that_is_lost_later_is_named_while_all_else_goes_on_and_until_it_is_back() {
    let world = World::cluster();
    world.settle().await;
    let deployments = world.context.stores.owned(Kind::Deployment);
    assert!(deployments.refused());
    world.fake.remove(SERVICE);
    let (outcome, seen) = world.try_reconcile().await.unwrap();
    assert_eq!(outcome, Outcome::Waiting);
    assert_eq!(
        writes(&seen),
        ["APPLY services/chat", "APPLY websocketgateways/chat/status"]
    );
    assert!(events(&seen).contains(&"NotPermitted"));
    let degraded = world.condition("Degraded");
    assert_eq!(degraded["reason"], "NotPermitted");
    let words = degraded["message"].as_str().unwrap();
    assert!(words.contains("list and watch deployments.apps"), "{words}");

    deployments.watched();
    assert!(world.context.stores.gateways().note());
    world.reconcile().await;
    let words = world.condition("Degraded")["message"].to_string();
    assert!(words.contains("websocketgateways.wsc.dev"), "{words}");

    world.context.stores.gateways().clear();
    let (outcome, _) = world.try_reconcile().await.unwrap();
    assert_eq!(outcome, Outcome::Settled);
    assert_ne!(world.condition("Degraded")["reason"], "NotPermitted");
}
