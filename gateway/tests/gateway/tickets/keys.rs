//! What each key of `wsc.ticket` means beyond the desk; the keys of the desk itself have their tests beside it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wsc_config::live_keys;

use super::{done, heard, next, refused, say, served};
use crate::redis::RedisServer;
use crate::sandbox::{alone, cluster, config, eventually};
use crate::silently::append_to_ticket;

#[tokio::test(flavor = "multi_thread")]
async fn without_enabled_there_are_no_tickets() {
    let node = alone(&["wsc.ticket.enabled=false"]).await;
    let mut alice = node.connect("alice").await;
    assert_eq!(
        refused(&mut alice, "ticket.open", json!({})).await,
        "not_supported"
    );
    let frame = json!({"type": "text", "id": "x", "ticket_id": "t1", "content": "hello"});
    alice.send(frame).await;
    assert_eq!(next(&mut alice, "error").await["code"], "not_supported");
    let (status, _) = node
        .call("GET", "/v1/tickets", serde_json::Value::Null)
        .await;
    assert_eq!(status, 501);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_acknowledged_is_sent_again_so_often_and_its_sender_is_told() {
    let node = alone(&["wsc.ticket.ackTimeout=300ms", "wsc.ticket.maxRetry=2"]).await;
    let mut ann = node.agent("ann", &[]).await;
    let mut alice = node.connect("alice").await;
    served(&mut alice, &mut ann, "t1").await;
    say(&mut alice, "t1", "hello").await;
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(heard(&mut ann).await, ["hello"]);
    }
    assert!(
        began.elapsed() >= Duration::from_millis(550),
        "{:?}",
        began.elapsed()
    );
    let receipt = next(&mut alice, "receipt").await;
    assert_eq!(receipt["data"]["state"], "expired", "{receipt}");
    assert_eq!(receipt["data"]["by"], "ann", "{receipt}");
    alice
        .send(json!({"type": "text", "to": "ann", "content": "that is all"}))
        .await;
    assert_eq!(heard(&mut ann).await, ["that is all"], "not a third time");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_enable_ack_nothing_is_asked_and_nothing_is_repeated() {
    let node = alone(&["wsc.ticket.enableAck=false", "wsc.ticket.ackTimeout=100ms"]).await;
    let mut ann = node.agent("ann", &[]).await;
    let mut alice = node.connect("alice").await;
    served(&mut alice, &mut ann, "t1").await;
    say(&mut alice, "t1", "hello").await;
    let message = next(&mut ann, "text").await;
    assert!(message.get("require_ack").is_none(), "{message}");
    let data = json!({"id": message["id"]});
    ann.send(json!({"type": "ack", "id": "a", "ticket_id": "t1", "data": data}))
        .await;
    assert_eq!(next(&mut ann, "error").await["code"], "not_supported");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_to_who_was_away_is_there_or_not_as_enable_offline_message_says() {
    for (kept, expected) in [(true, ["while away", "later"]), (false, ["later", "last"])] {
        let set = format!("wsc.ticket.enableOfflineMessage={kept}");
        let node = alone(&[&set, "wsc.ticket.enableAck=false"]).await;
        let mut ann = node.agent("ann", &[]).await;
        let mut alice = node.connect("alice").await;
        served(&mut alice, &mut ann, "t1").await;
        drop(alice);
        eventually("alice is gone", || async {
            !node.online().await.contains(&"alice".to_owned())
        })
        .await;
        // Accepted is not yet handed over, and who comes in between gets it live. Ann's own copy comes when it is.
        ann.send(json!({"type": "text", "ticket_id": "t1", "content": "while away"}))
            .await;
        assert_eq!(heard(&mut ann).await, ["while away"]);
        let mut alice = node.connect("alice").await;
        // Coming back is over once something else has come.
        if kept {
            next(&mut alice, "ticket.opened").await;
        }
        say(&mut ann, "t1", "later").await;
        say(&mut ann, "t1", "last").await;
        assert_eq!(heard(&mut alice).await, expected, "kept: {kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_older_than_offline_message_expire_are_not_brought_to_who_comes_back() {
    assert_eq!(back_after("1m").await, ["new", "last"]);
    assert_eq!(back_after("1h").await, ["old", "new"]);
}

/// What a customer hears first who comes back to a ticket in which something was said two minutes ago.
async fn back_after(expire: &str) -> [String; 2] {
    let redis = RedisServer::start();
    let expire = format!("wsc.ticket.offlineMessageExpire={expire}");
    let sets = [expire.as_str(), "wsc.ticket.enableAck=false"];
    let [node] = cluster(redis.port, &sets).await;
    append_to_ticket(&node, &redis, ("t1", "old"), 120_000).await;
    let mut ann = node.agent("ann", &[]).await;
    let mut alice = node.connect("alice").await;
    served(&mut alice, &mut ann, "t1").await;
    drop(alice);
    say(&mut ann, "t1", "new").await;
    let mut alice = node.connect("alice").await;
    say(&mut ann, "t1", "last").await;
    heard(&mut alice).await
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_run_on_a_node_by_themselves_and_a_reload_reaches_what_is_open() {
    let node = alone(&[]).await;
    let mut alice = node.connect("alice").await;
    done(&mut alice, "ticket.open", json!({"ticket_id": "t1"})).await;
    next(&mut alice, "ticket.queued").await;
    let sets = [
        "wsc.ticket.queueTimeout=1s",
        "wsc.ticket.maxTicketsPerAgent=1",
    ];
    for key in ["wsc.ticket.queueTimeout", "wsc.ticket.maxTicketsPerAgent"] {
        assert!(live_keys().contains(&key), "{key}");
    }
    let new = config(&sets);
    assert_eq!(
        node.0.reload(new).await.unwrap().restart,
        Vec::<String>::new()
    );
    let closed = next(&mut alice, "ticket.closed").await;
    assert_eq!(closed["ticket_id"], "t1", "{closed}");
    assert_eq!(closed["data"]["because"], "queue_timeout", "{closed}");
    let again = "wsc.ticket.queueTimeout=300s";
    node.0.reload(config(&[sets[1], again])).await.unwrap();
    for ticket in ["t2", "t3"] {
        done(&mut alice, "ticket.open", json!({"ticket_id": ticket})).await;
    }
    let _ann = node.agent("ann", &[]).await;
    eventually("ann has one ticket", || async {
        let agents = node.0.tickets().agents(None, 100).await.unwrap().agents;
        agents.first().is_some_and(|agent| agent.tickets == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_who_are_there_when_tickets_are_switched_on_get_them() {
    let node = alone(&["wsc.ticket.enabled=false"]).await;
    let mut ann = node.agent("ann", &[]).await;
    node.0.reload(config(&[])).await.unwrap();
    let mut alice = node.connect("alice").await;
    done(&mut alice, "ticket.open", json!({"ticket_id": "t1"})).await;
    assert_eq!(next(&mut ann, "ticket.assigned").await["ticket_id"], "t1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_in_which_something_is_said_that_is_not_kept_is_not_idle() {
    let sets = ["wsc.ticket.ticketTimeout=2s", "wsc.ticket.notifyTimeout=2s"];
    let node = alone(&sets).await;
    let mut ann = node.agent("ann", &[]).await;
    let mut alice = node.connect("alice").await;
    served(&mut alice, &mut ann, "t1").await;
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        let frame = json!({"type": "text", "ticket_id": "t1", "content": "x", "durable": false});
        alice.send(frame).await;
        assert_eq!(heard(&mut ann).await, ["x"]);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let status = done(&mut alice, "ticket.status", json!({"ticket_id": "t1"})).await;
    assert_eq!(status["ticket"]["status"], "active", "{status}");
    let closed = next(&mut alice, "ticket.closed").await;
    assert_eq!(closed["data"]["because"], "idle", "{closed}");
}
