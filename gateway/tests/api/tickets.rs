//! The calls about tickets, agents and queues over real sockets, by HTTP and gRPC: what reaches the service, what comes back.

use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;
use wsc_proto::v1;
use wsc_proto::v1::ticket_service_client::TicketServiceClient;
use wsc_proto::v1::transfer_ticket_request::To;

use super::support::grpc::{GrpcApi, keyed};
use super::support::http::HttpApi;
use super::support::service::Call;
use super::support::tickets::{OPENED, failures};

fn named(call: &'static str, names: &[&str]) -> Call {
    Call::Desk(call, names.iter().map(|name| (*name).to_owned()).collect())
}

/// Every refusal with its status, its gRPC code and the documented word.
const ANSWERS: [(&str, u16, Code, &str); 21] = [
    ("missing", 404, Code::NotFound, "missing"),
    ("taken", 409, Code::AlreadyExists, "exists"),
    ("not-yours", 403, Code::PermissionDenied, "forbidden"),
    ("not-offered", 409, Code::FailedPrecondition, "rejected"),
    ("nothing-waits", 409, Code::FailedPrecondition, "rejected"),
    ("no-agent", 409, Code::FailedPrecondition, "rejected"),
    ("not-online", 409, Code::FailedPrecondition, "rejected"),
    ("there", 409, Code::FailedPrecondition, "rejected"),
    ("full", 409, Code::FailedPrecondition, "limit_reached"),
    (
        "transferred-enough",
        409,
        Code::FailedPrecondition,
        "limit_reached",
    ),
    (
        "many-of-customer",
        409,
        Code::FailedPrecondition,
        "limit_reached",
    ),
    (
        "many-observers",
        409,
        Code::FailedPrecondition,
        "limit_reached",
    ),
    ("transfer-off", 501, Code::Unimplemented, "not_supported"),
    ("desk-full", 429, Code::ResourceExhausted, "busy"),
    ("store", 503, Code::Unavailable, "unavailable"),
    ("store-busy", 429, Code::ResourceExhausted, "busy"),
    ("desk-busy", 429, Code::ResourceExhausted, "busy"),
    ("off", 501, Code::Unimplemented, "not_supported"),
    ("ended", 503, Code::Unavailable, "unavailable"),
    ("nobody", 404, Code::NotFound, "missing"),
    ("invalid", 400, Code::InvalidArgument, "bad_request"),
];

#[tokio::test]
async fn each_path_is_its_call() {
    let api = HttpApi::start().await;
    let opened = api
        .call(
            Method::POST,
            "/v1/tickets",
            r#"{"ticket_id":"t/1","customer":"alice","skills":["lang:de","billing"],"priority":"high","subject":"late"}"#,
        )
        .await;
    let ticket = json!({"ticket_id": "t/1", "customer": "alice", "status": "waiting",
        "queue": "billing+lang:de", "skills": ["billing", "lang:de"], "priority": "high",
        "subject": "a wrong invoice", "opened_at": OPENED, "position": 2, "waited_ms": 5000,
        "transfers": 1, "observers": ["olga"]});
    assert_eq!(opened, (200, ticket));
    let by = r#"{"agent":"ann","by":"boss"}"#;
    for (method, path, body, status) in [
        (Method::GET, "/v1/tickets/t%2F1", "", "assigned"),
        (Method::POST, "/v1/tickets/t1/assign", by, "active"),
        (Method::POST, "/v1/tickets/t1/transfer", by, "waiting"),
        (
            Method::POST,
            "/v1/tickets/t1/transfer",
            r#"{"skills":[]}"#,
            "waiting",
        ),
        (Method::POST, "/v1/tickets/t1/close", "{}", "closed"),
    ] {
        let (code, ticket) = api.call(method, path, body).await;
        assert_eq!((code, &ticket["status"]), (200, &json!(status)), "{path}");
    }
    let query = "status=active&customer=alice&agent=ann&queue=lang:de+billing&limit=5&cursor=t0";
    let path = format!("/v1/tickets?{query}");
    let (_, list) = api.call(Method::GET, &path, "").await;
    assert_eq!(list["tickets"][0]["agent"], "ann");
    assert_eq!(list["next_cursor"], "t1");
    let sent = api
        .call(
            Method::POST,
            "/v1/tickets/t1/messages",
            r#"{"content":"hi","from":"shop"}"#,
        )
        .await;
    assert_eq!(
        sent,
        (200, json!({"id": "m1", "pos": "7.3", "repeated": true}))
    );
    let calls = api.recorder.calls();
    let expected = [
        named("open", &["t/1", "alice", "billing+lang:de", "high", "late"]),
        named("get", &["t/1"]),
        named("assign", &["t1", "ann", "boss"]),
        named("transfer", &["t1", "agent ann", "boss"]),
        named("transfer", &["t1", "queue general", "system"]),
        named("close", &["t1", "system"]),
        named(
            "list",
            &["active", "alice", "ann", "billing+lang:de", "t0", "5"],
        ),
    ];
    assert_eq!(calls[..7], expected);
    let Call::TicketSend(ticket, message) = &calls[7] else {
        panic!("{:?}", calls[7])
    };
    let said = (ticket.as_str(), message.content.as_deref());
    assert_eq!(said, ("t1", Some(r#""hi""#)));
    assert_eq!(message.from.as_deref(), Some("shop"));
}

#[tokio::test]
async fn agents_queues_and_steps_are_told_as_they_are() {
    let api = HttpApi::start().await;
    let agent = |status: &str| {
        json!({"agent": "ann", "status": status, "connected": true, "skills": ["billing"],
            "tickets": 2, "max": 0})
    };
    let page = api.call(Method::GET, "/v1/agents?limit=1&cursor=a", "");
    assert_eq!(
        page.await,
        (
            200,
            json!({"agents": [agent("online")], "next_cursor": "ann"})
        )
    );
    let one = api.call(Method::GET, "/v1/agents/ann", "").await;
    assert_eq!(one, (200, agent("offline")));
    let put = api.request(Method::PUT, "/v1/agents/ann");
    let set = HttpApi::answer(put.json(&json!({"status": "away", "max": 0}))).await;
    assert_eq!(set, (200, agent("away")));
    let queues = api.call(Method::GET, "/v1/queues", "").await;
    let general = json!({"queue": "general", "skills": [], "length": 4, "longest_wait_ms": 60_000});
    assert_eq!(queues, (200, json!({"queues": [general]})));
    let (_, steps) = api.call(Method::GET, "/v1/tickets/t1/steps", "").await;
    let steps = steps["steps"].as_array().unwrap();
    let offered = json!({"ticket": "t1", "at": OPENED, "step": "assigned", "agent": "ann",
        "until": OPENED + 30_000, "waited": 700});
    assert_eq!((steps.len(), &steps[2]), (11, &offered));
    let expected = [
        named("agents", &["a", "1"]),
        named("agent", &["ann"]),
        named("set_agent", &["ann", "away", "Some(0)"]),
        named("queues", &[]),
        named("steps", &["t1"]),
    ];
    assert_eq!(api.recorder.calls(), expected);
}

#[tokio::test]
async fn every_error_of_the_desk_has_its_status_and_its_documented_code() {
    let api = HttpApi::start().await;
    assert_eq!(ANSWERS.len(), failures().len());
    let page = include_str!("../../../docs/api.md");
    for (ticket, status, code, word) in ANSWERS {
        let path = format!("/v1/tickets/{ticket}");
        let (answered, body) = api.call(Method::GET, &path, "").await;
        let told = body["error"]["code"].as_str();
        assert_eq!((answered, told), (status, Some(word)), "{ticket}: {body}");
        let row = page
            .lines()
            .find(|row| row.starts_with(&format!("| `{word}` | {status}")));
        let row = row.unwrap_or_else(|| panic!("{word} is not in docs/api.md as {status}"));
        let code = format!("{code:?}").to_lowercase();
        assert!(row.replace('_', "").to_lowercase().contains(&code), "{row}");
    }
}

#[tokio::test]
async fn grpc_refuses_with_the_code_that_says_why() {
    let api = GrpcApi::start().await;
    let mut client = TicketServiceClient::new(api.channel().await);
    for (ticket, _, code, _) in ANSWERS {
        let request = v1::GetTicketRequest {
            ticket_id: ticket.to_owned(),
        };
        let refused = client.get_ticket(keyed(request)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{ticket}: {refused:?}");
    }
    let request = v1::SetAgentRequest {
        agent: "ann".to_owned(),
        status: "busy".to_owned(),
        max: None,
    };
    let refused = client.set_agent(keyed(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("status: "), "{refused:?}");
}

#[tokio::test]
async fn a_wrong_request_is_refused_with_its_field() {
    let api = HttpApi::start().await;
    let posts = [
        ("/v1/tickets", "{}", "customer"),
        ("/v1/tickets", r#"{"customer":"a","x":1}"#, "x"),
        ("/v1/tickets", r#"{"customer":""}"#, "customer"),
        (
            "/v1/tickets",
            r#"{"customer":"a","skills":["b c"]}"#,
            "skills[0]",
        ),
        (
            "/v1/tickets",
            r#"{"customer":"a","priority":"urgent"}"#,
            "priority",
        ),
        ("/v1/tickets/t/assign", r#"{"by":"boss"}"#, "agent"),
        ("/v1/tickets/t/assign", r#"{"agent":"a","by":""}"#, "by"),
        ("/v1/tickets/t/transfer", "{}", "agent"),
        (
            "/v1/tickets/t/transfer",
            r#"{"agent":"a","skills":[]}"#,
            "skills",
        ),
    ];
    let gets = [
        ("/v1/tickets?limit=0", "limit"),
        ("/v1/tickets?customer=", "customer"),
        ("/v1/tickets?queue=a%2Fb", "queue"),
        ("/v1/tickets?state=active", "state"),
        ("/v1/agents?limit=1001", "limit"),
    ];
    let posts = posts.map(|(path, body, field)| (Method::POST, path, body, field));
    let gets = gets.map(|(path, field)| (Method::GET, path, "", field));
    for (method, path, body, field) in posts.into_iter().chain(gets) {
        let (status, answer) = api.call(method, path, body).await;
        assert_eq!(status, 400, "{path} {body}: {answer}");
        let said = answer["error"].to_string();
        assert!(said.contains(field), "{path} {body}: {answer}");
    }
    let put = api.request(Method::PUT, "/v1/agents/ann");
    let (status, answer) = HttpApi::answer(put.json(&json!({"status": "busy"}))).await;
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("status")));
    assert!(api.recorder.calls().is_empty());
    for path in [
        "/v1/tickets",
        "/v1/tickets/t1/steps",
        "/v1/agents",
        "/v1/queues",
    ] {
        let keyless = reqwest::get(api.url(path)).await.unwrap();
        assert_eq!(keyless.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn grpc_makes_the_same_calls() {
    let api = GrpcApi::start().await;
    let mut client = TicketServiceClient::new(api.channel().await);
    let text = str::to_owned;
    let request = v1::OpenTicketRequest {
        ticket_id: text("t1"),
        customer: text("alice"),
        skills: vec![text("billing")],
        ..v1::OpenTicketRequest::default()
    };
    let ticket = client
        .open_ticket(keyed(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (ticket.status.as_str(), ticket.position, ticket.waited_ms),
        ("waiting", 2, 5000)
    );
    let request = v1::ListTicketsRequest {
        status: text("active"),
        queue: text("general"),
        ..v1::ListTicketsRequest::default()
    };
    let page = client
        .list_tickets(keyed(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.tickets[0].agent, "ann");
    assert_eq!(page.next_cursor, "t1");
    let request = v1::AssignTicketRequest {
        ticket_id: text("t1"),
        agent: text("ann"),
        by: text("boss"),
    };
    client.assign_ticket(keyed(request)).await.unwrap();
    let skills = vec![text("lang:de")];
    for to in [To::Agent(text("ben")), To::Skills(v1::Skills { skills })] {
        let request = v1::TransferTicketRequest {
            ticket_id: text("t1"),
            to: Some(to),
            by: String::new(),
        };
        client.transfer_ticket(keyed(request)).await.unwrap();
    }
    let request = v1::CloseTicketRequest {
        ticket_id: text("t1"),
        by: text("boss"),
    };
    let closed = client
        .close_ticket(keyed(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (
            closed.closed_at,
            closed.closed_by.as_str(),
            closed.reason.as_str()
        ),
        (OPENED + 9000, "boss", "asked")
    );
    let request = v1::SendToTicketRequest {
        ticket_id: text("t1"),
        message: None,
    };
    let sent = client
        .send_to_ticket(keyed(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((sent.pos.as_str(), sent.repeated), ("7.3", true));
    let calls = api.recorder.calls();
    let expected = [
        named("open", &["t1", "alice", "billing", "normal", ""]),
        named("list", &["active", "", "", "general", "", "100"]),
        named("assign", &["t1", "ann", "boss"]),
        named("transfer", &["t1", "agent ben", "system"]),
        named("transfer", &["t1", "queue lang:de", "system"]),
        named("close", &["t1", "boss"]),
    ];
    assert_eq!(calls[..6], expected);
}

#[tokio::test]
async fn grpc_tells_of_agents_queues_and_every_kind_of_step() {
    let api = GrpcApi::start().await;
    let mut client = TicketServiceClient::new(api.channel().await);
    let request = v1::ListAgentsRequest {
        limit: 0,
        cursor: "a".to_owned(),
    };
    let page = client
        .list_agents(keyed(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((page.agents[0].tickets, page.agents[0].max), (2, Some(0)));
    let agent = || "ann".to_owned();
    let request = v1::GetAgentRequest { agent: agent() };
    client.get_agent(keyed(request)).await.unwrap();
    for max in [None, Some(0)] {
        let request = v1::SetAgentRequest {
            agent: agent(),
            status: "away".to_owned(),
            max,
        };
        client.set_agent(keyed(request)).await.unwrap();
    }
    let queues = client.list_queues(keyed(v1::ListQueuesRequest {})).await;
    let queues = queues.unwrap().into_inner().queues;
    assert_eq!((queues[0].length, queues[0].longest_wait_ms), (4, 60_000));
    let request = v1::ListStepsRequest {
        ticket_id: "t1".to_owned(),
    };
    let steps = client
        .list_steps(keyed(request))
        .await
        .unwrap()
        .into_inner()
        .steps;
    let http = HttpApi::start().await;
    let (_, same) = http.call(Method::GET, "/v1/tickets/t1/steps", "").await;
    let same = same["steps"].as_array().unwrap();
    assert_eq!(steps.len(), same.len());
    for (step, same) in steps.iter().zip(same) {
        assert_eq!(step.step, same["step"]);
        for (field, value) in [
            ("agent", &step.agent),
            ("customer", &step.customer),
            ("by", &step.by),
            ("from", &step.from),
            ("user", &step.user),
            ("because", &step.because),
        ] {
            assert_eq!(
                same[field].as_str().unwrap_or_default(),
                value,
                "{field} of {same}"
            );
        }
        let numbers = [
            ("position", u64::from(step.position)),
            ("until", step.until),
            ("waited", step.waited_ms),
            ("attempt", u64::from(step.attempt)),
        ];
        for (field, value) in numbers {
            assert_eq!(
                same[field].as_u64().unwrap_or_default(),
                value,
                "{field} of {same}"
            );
        }
        assert_eq!(
            same["queue"] != Value::Null,
            !step.queue.is_empty(),
            "{same}"
        );
    }
    let expected = [
        named("agents", &["a", "100"]),
        named("agent", &["ann"]),
        named("set_agent", &["ann", "away", "None"]),
        named("set_agent", &["ann", "away", "Some(0)"]),
        named("queues", &[]),
        named("steps", &["t1"]),
    ];
    assert_eq!(api.recorder.calls(), expected);
}
