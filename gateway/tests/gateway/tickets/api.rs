//! Tickets by the API of a node on which neither the customer nor the agent is.

use serde_json::{Value, json};

use super::{done, heard, next, say};
use crate::redis::RedisServer;
use crate::sandbox::{Node, alone, cluster, eventually};

async fn post(node: &Node, path: &str, body: Value) -> Value {
    let (status, answer) = node.call("POST", path, body).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn get(node: &Node, path: &str) -> Value {
    let (status, answer) = node.call("GET", path, Value::Null).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn refused(node: &Node, path: &str, body: Value) -> (u16, String) {
    let (status, answer) = node.call("POST", path, body).await;
    (status, answer["error"]["code"].as_str().unwrap().to_owned())
}

/// Waits until the desk counts the agent as online, seen from this node.
async fn there(node: &Node, agent: &str) {
    let path = format!("/v1/agents/{agent}");
    eventually("the agent is online", || async {
        let (_, known) = node.call("GET", &path, Value::Null).await;
        known["status"] == "online"
    })
    .await;
}

/// What the nodes say of one sample, together; `None`: one says nothing of it.
async fn summed(nodes: &[Node], sample: &str) -> Option<f64> {
    let mut sum = 0.0;
    for node in nodes {
        let (_, text) = node.admin("/metrics").await;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
        sum += value.parse::<f64>().unwrap();
    }
    Some(sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_serves_a_customer_and_an_agent_of_other_nodes() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &["wsc.ticket.enableAck=false"]).await;
    let mut alice = one.connect("alice").await;
    let opened = post(
        &three,
        "/v1/tickets",
        json!({"ticket_id": "t1", "customer": "alice", "skills": ["billing"], "subject": "late"}),
    )
    .await;
    assert_eq!(
        (&opened["status"], &opened["position"], &opened["queue"]),
        (&json!("waiting"), &json!(1), &json!("billing"))
    );
    assert_eq!(next(&mut alice, "ticket.queued").await["ticket_id"], "t1");
    let again = json!({"ticket_id": "t1", "customer": "alice"});
    assert_eq!(
        post(&three, "/v1/tickets", again).await["opened_at"],
        opened["opened_at"]
    );
    let queues = get(&two, "/v1/queues").await;
    let queue = &queues["queues"][0];
    assert_eq!(
        (&queue["queue"], &queue["length"]),
        (&json!("billing"), &json!(1))
    );

    let mut ann = two.agent("ann", &["billing"]).await;
    assert_eq!(next(&mut ann, "ticket.assigned").await["ticket_id"], "t1");
    let by = json!({"agent": "ann", "by": "boss"});
    let active = post(&three, "/v1/tickets/t1/assign", by).await;
    assert_eq!(
        (&active["status"], &active["agent"]),
        (&json!("active"), &json!("ann"))
    );
    assert_eq!(
        next(&mut alice, "ticket.accepted").await["data"]["agent"],
        "ann"
    );

    let message = json!({"content": "we are here", "from": "shop"});
    let sent = post(&three, "/v1/tickets/t1/messages", message).await;
    assert!(sent["pos"].is_string(), "{sent}");
    assert_eq!(heard(&mut alice).await, ["we are here"]);
    assert_eq!(heard(&mut ann).await, ["we are here"]);
    say(&mut alice, "t1", "at last").await;
    let log = get(&three, "/v1/tickets/t1/log").await;
    let said = log["messages"].as_array().unwrap().iter();
    let said: Vec<&Value> = said
        .map(|logged| &logged["message"])
        .filter(|message| message["type"] == "text")
        .map(|message| &message["content"])
        .collect();
    assert_eq!(said, ["we are here", "at last"]);

    let closed = post(&three, "/v1/tickets/t1/close", json!({"by": "boss"})).await;
    assert_eq!(
        (&closed["status"], &closed["closed_by"], &closed["reason"]),
        (&json!("closed"), &json!("boss"), &json!("asked"))
    );
    let told = next(&mut ann, "ticket.closed").await;
    assert_eq!(told["data"]["by"], "boss", "{told}");
    let steps = get(&one, "/v1/tickets/t1/steps").await;
    let words: Vec<&Value> = steps["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["step"])
        .collect();
    assert_eq!(
        words,
        ["opened", "queued", "assigned", "accepted", "closed"]
    );
    let found = get(&two, "/v1/tickets?status=closed&agent=ann").await;
    assert_eq!(found["tickets"][0]["ticket_id"], "t1", "{found}");

    let nodes = [one, two, three];
    for (sample, expected) in [
        (r#"wsc_tickets_steps_total{step="opened"}"#, 1.0),
        (r#"wsc_tickets_steps_total{step="assigned"}"#, 1.0),
        (r#"wsc_tickets_closed_total{reason="asked"}"#, 1.0),
        ("wsc_tickets_wait_duration_seconds_count", 1.0),
    ] {
        assert_eq!(summed(&nodes, sample).await, Some(expected), "{sample}");
    }
    eventually("every node knows how many are open", || async {
        summed(&nodes, "wsc_tickets_open").await == Some(0.0)
            && summed(&nodes, "wsc_tickets_agents_online").await == Some(3.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_listed_and_set_and_tickets_handed_on_from_another_node() {
    let redis = RedisServer::start();
    let sets = [
        "wsc.ticket.enableAck=false",
        "wsc.ticket.transferMaxTimes=2",
    ];
    let [one, two, three] = cluster(redis.port, &sets).await;
    let mut ann = one.agent("ann", &["billing"]).await;
    there(&three, "ann").await;
    let _alice = two.connect("alice").await;
    post(
        &three,
        "/v1/tickets",
        json!({"ticket_id": "t1", "customer": "alice"}),
    )
    .await;
    next(&mut ann, "ticket.assigned").await;
    done(&mut ann, "ticket.accept", json!({"ticket_id": "t1"})).await;
    let mut ben = two.agent("ben", &["lang:de"]).await;
    there(&three, "ben").await;
    let page = get(&three, "/v1/agents?limit=1").await;
    assert_eq!(page["next_cursor"], "ann", "{page}");
    let known = &page["agents"][0];
    assert_eq!(
        (&known["agent"], &known["tickets"], &known["skills"]),
        (&json!("ann"), &json!(1), &json!(["billing"]))
    );
    let page = get(&three, "/v1/agents?cursor=ann").await;
    assert_eq!(page["agents"][0]["agent"], "ben", "{page}");
    assert!(page.get("next_cursor").is_none(), "{page}");

    let to_ben = || json!({"agent": "ben", "by": "boss"});
    post(&three, "/v1/tickets/t1/transfer", to_ben()).await;
    let offer = next(&mut ben, "ticket.assigned").await;
    assert_eq!(offer["ticket_id"], "t1");
    let transfer = "/v1/tickets/t1/transfer";
    let there_already = refused(&three, transfer, to_ben()).await;
    assert_eq!(there_already, (409, "rejected".to_owned()));
    done(&mut ben, "ticket.accept", json!({"ticket_id": "t1"})).await;

    let away = json!({"status": "away", "max": 1});
    let (status, set) = three.call("PUT", "/v1/agents/ann", away.clone()).await;
    assert_eq!(
        (status, &set["status"], &set["max"]),
        (200, &json!("away"), &json!(1))
    );
    let waits = post(&three, transfer, json!({"skills": ["lang:fr"]})).await;
    assert_eq!(
        (&waits["status"], &waits["queue"]),
        (&json!("waiting"), &json!("lang:fr"))
    );
    let enough = refused(&three, transfer, to_ben()).await;
    assert_eq!(enough, (409, "limit_reached".to_owned()));
    let (status, set) = three.call("PUT", "/v1/agents/nobody", away).await;
    assert_eq!((status, &set["error"]["code"]), (404, &json!("missing")));
    // Who is back online gets what waits.
    let online = json!({"status": "online"});
    let (_, set) = three.call("PUT", "/v1/agents/ann", online).await;
    assert_eq!(set["status"], "online");
    assert_eq!(next(&mut ann, "ticket.assigned").await["ticket_id"], "t1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_desk_refuses_is_told_as_it_is() {
    let node = alone(&[
        "wsc.ticket.enableAck=false",
        "wsc.ticket.enableTransfer=false",
    ])
    .await;
    let subject = "x".repeat(257);
    let long = json!({"customer": "alice", "subject": subject});
    let (status, answer) = node.call("POST", "/v1/tickets", long).await;
    assert_eq!(
        (status, &answer["error"]["field"]),
        (400, &json!("subject"))
    );
    post(
        &node,
        "/v1/tickets",
        json!({"ticket_id": "t1", "customer": "alice"}),
    )
    .await;
    let taken = json!({"ticket_id": "t1", "customer": "bob"});
    let table = [
        ("/v1/tickets", taken, 409, "exists"),
        ("/v1/tickets/none/close", json!({}), 404, "missing"),
        (
            "/v1/tickets/t1/assign",
            json!({"agent": "ann"}),
            409,
            "rejected",
        ),
        (
            "/v1/tickets/t1/transfer",
            json!({"skills": []}),
            501,
            "not_supported",
        ),
        (
            "/v1/tickets/none/messages",
            json!({"content": 1}),
            404,
            "missing",
        ),
        (
            "/v1/tickets/t1/messages",
            json!({"require_ack": true}),
            400,
            "bad_request",
        ),
    ];
    for (path, body, status, code) in table {
        let answer = refused(&node, path, body).await;
        assert_eq!(answer, (status, code.to_owned()), "{path}");
    }
    for path in [
        "/v1/tickets?status=lost",
        "/v1/tickets?status=closed&cursor=t1",
    ] {
        assert_eq!(node.call("GET", path, Value::Null).await.0, 400, "{path}");
    }
    for n in 1..20 {
        let ticket = json!({"ticket_id": format!("n{n}"), "customer": "alice"});
        post(&node, "/v1/tickets", ticket).await;
    }
    let enough = refused(&node, "/v1/tickets", json!({"customer": "alice"})).await;
    assert_eq!(enough, (409, "limit_reached".to_owned()));
    let page = get(&node, "/v1/tickets?limit=7&queue=general").await;
    assert_eq!(page["next_cursor"], "n15", "{page}");
}
