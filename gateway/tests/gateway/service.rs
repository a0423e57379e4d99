//! Extensions of a whole gateway, in process: who gets in, what becomes of messages, who hears of what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next as Onward, from_fn};
use axum::response::Response;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::interval;
use wsc_gateway::app::Gateway;
use wsc_gateway::protocol::Target;
use wsc_gateway::security::Scopes;
use wsc_gateway::service::{
    Admission, Answer, Attributes, Client as Who, Event, Extensions, Gatekeeper, Incoming,
    Interceptor, Next, Rejection, Verdict,
};
use wsc_wire::Opcode;

use crate::client::Client;
use crate::event_stream::post_to;
use crate::grpc_stream::GrpcStream;
use crate::redis::RedisServer;
use crate::sandbox::{Node, config, eventually, options, token, token_of};
use crate::wire::{Form, Wire, masked};

#[path = "../../examples/chat.rs"]
#[allow(dead_code)]
mod chat;

async fn start(sets: &[&str], register: impl FnOnce(&mut Extensions)) -> Node {
    let mut options = options("extended");
    register(&mut options.extensions);
    Node(Gateway::start(config(sets), options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_a_callback_refuses_is_told_why_and_closed_with_4010() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let node = start(&[], |extensions| {
        extensions.on_client_connect(|client| async move {
            if client.user.as_str() == "mallory" {
                return Err("we have met".into());
            }
            Ok(())
        });
        extensions.on_client_connect(move |_| {
            counted.fetch_add(1, Relaxed);
            async { Ok(()) }
        });
    })
    .await;
    let _alice = node.connect("alice").await;
    let bearer = format!("Bearer {}", token("mallory", Scopes::NONE));
    let headers = [("authorization", bearer.as_str())];
    let mut mallory = Client::open(&node.ws(), &headers).await.unwrap();
    let (frames, code) = mallory.closed().await;
    assert_eq!(code, 4010);
    assert_eq!(
        (frames.len(), &frames[0]["code"], &frames[0]["message"]),
        (1, &json!("rejected"), &json!("we have met"))
    );
    // The same for an identity that comes in a first frame.
    let mut mallory = Client::open(&node.ws(), &[]).await.unwrap();
    let token = token("mallory", Scopes::NONE);
    mallory
        .send(json!({"type": "auth", "data": {"token": token}}))
        .await;
    assert_eq!(mallory.closed().await.1, 4010);
    assert_eq!(asked.load(Relaxed), 1, "the first error stops the chain");
    assert_eq!(node.online().await, ["alice"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_is_not_closed_as_a_stranger_while_the_application_thinks() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let asked = Arc::new(AtomicUsize::new(0));
    let (closed, counted) = (gate.clone(), asked.clone());
    let sets = ["wsc.security.authTimeout=1s"];
    let node = start(&sets, move |extensions| {
        extensions.on_client_connect(move |_| {
            let closed = closed.clone();
            counted.fetch_add(1, Relaxed);
            async move {
                drop(closed.acquire().await);
                Ok(())
            }
        });
    })
    .await;
    let bearer = format!("Bearer {}", token("alice", Scopes::NONE));
    let headers = [("authorization", bearer.as_str())];
    let mut by_header = Client::open(&node.ws(), &headers).await.unwrap();
    let mut by_frame = Client::open(&node.ws(), &[]).await.unwrap();
    let token = token("bob", Scopes::NONE);
    by_frame
        .send(json!({"type": "auth", "data": {"token": token}}))
        .await;
    eventually("both are asked about", || async {
        asked.load(Relaxed) == 2
    })
    .await;
    // When one that came later has had its time, they have had theirs.
    let mut stranger = Client::open(&node.ws(), &[]).await.unwrap();
    assert_eq!(stranger.closed().await.1, 4001);
    gate.add_permits(2);
    for client in [&mut by_header, &mut by_frame] {
        assert_eq!(client.next().await["type"], "welcome");
    }
}

struct Desk;

impl Gatekeeper for Desk {
    fn name(&self) -> &'static str {
        "desk"
    }

    fn admit<'a>(&'a self, client: &'a Who) -> BoxFuture<'a, Result<Admission, Rejection>> {
        let badge = format!("badge of {}", client.user);
        Box::pin(async move { Ok(Attributes::from([("badge".to_owned(), badge)]).into()) })
    }
}

/// Does what the content says.
/// Makes an agent of everyone, who may tell everyone.
struct Promotion;

impl Gatekeeper for Promotion {
    fn name(&self) -> &'static str {
        "promotion"
    }

    fn admit<'a>(&'a self, _: &'a Who) -> BoxFuture<'a, Result<Admission, Rejection>> {
        Box::pin(async {
            Ok(Admission {
                user_type: Some("agent".to_owned()),
                scopes: Scopes::BROADCAST,
                ..Admission::default()
            })
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gatekeeper_gave_outlives_the_token_it_was_given_with() {
    let node = start(&[], |extensions| {
        extensions.use_gatekeeper(Promotion);
    })
    .await;
    let mut anna = node.connect("anna").await;
    assert_eq!(anna.welcome["data"]["user_type"], "agent");
    let renew = |token: String| json!({"type": "auth", "id": "r", "data": {"token": token}});
    // A token as the first was: the user's type in it is the user's own.
    anna.send(renew(token("anna", Scopes::PRESENCE))).await;
    let answer = anna.next().await;
    assert_eq!(answer["type"], "result", "{answer}");
    anna.send(json!({"type": "news", "broadcast": true, "content": "hi"}))
        .await;
    let heard = anna.next().await;
    assert_eq!(
        (&heard["content"], &heard["from_type"]),
        (&json!("hi"), &json!("agent")),
        "{heard}"
    );
    anna.send(json!({"type": "presence.subscribe", "id": "s", "data": {"users": ["anna"]}}))
        .await;
    assert_eq!(anna.next().await["type"], "result", "the token's scope");
    let other = token_of("anna", "agent", (Scopes::NONE, &[]));
    anna.send(renew(other)).await;
    assert_eq!(anna.next().await["code"], "forbidden");
}

struct Obedient;

impl Interceptor for Obedient {
    fn name(&self) -> &'static str {
        "obedient"
    }

    fn intercept<'a>(
        &'a self,
        client: &'a Who,
        mut message: Incoming,
        next: Next<'a>,
    ) -> BoxFuture<'a, Result<Verdict, Rejection>> {
        Box::pin(async move {
            match message.text().as_deref() {
                Some("refuse") => Err("no".into()),
                Some("answer") => Ok(Verdict::Answer(Answer::text(
                    "badge",
                    &client.attributes["badge"],
                ))),
                Some("swallow") => Ok(Verdict::Swallow),
                Some("change") => {
                    message.content = serde_json::value::to_raw_value("changed").ok();
                    next.run(message).await
                }
                _ => next.run(message).await,
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interceptor_changes_answers_swallows_and_refuses_and_order_is_kept() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = sent.clone();
    let node = start(&[], |extensions| {
        extensions.use_gatekeeper(Desk);
        extensions.use_interceptor(Obedient);
        extensions.on_message_sent(move |message| {
            seen.lock().push(message.id);
            async { Ok(()) }
        });
    })
    .await;
    let mut alice = node.connect("alice").await;
    let mut bob = node.connect("bob").await;
    for (id, what) in ["one", "refuse", "answer", "swallow", "change", "last"]
        .into_iter()
        .enumerate()
    {
        let frame = json!({"type": "text", "id": id.to_string(), "to": "bob", "content": what});
        alice.feed(frame).await;
    }
    alice.flush().await;
    let heard = [bob.hear().await, bob.hear().await, bob.hear().await];
    assert_eq!(heard, ["one", "changed", "last"]);
    let refused = alice.next().await;
    assert_eq!(
        (&refused["type"], &refused["code"], &refused["ref"]),
        (&json!("error"), &json!("rejected"), &json!("1"))
    );
    let answer = alice.next().await;
    assert_eq!(
        (&answer["type"], &answer["content"], &answer["reply_to"]),
        (&json!("badge"), &json!("badge of alice"), &json!("2"))
    );
    eventually("what was sent is told", || async {
        *sent.lock() == ["0", "4", "5"]
    })
    .await;
    let stats = node.0.stats();
    assert_eq!(stats.total_messages_received, 6);
}

/// Passes a message as it is, when it gets leave to.
struct Patient(Arc<Semaphore>);

impl Interceptor for Patient {
    fn name(&self) -> &'static str {
        "patient"
    }

    fn intercept<'a>(
        &'a self,
        _: &'a Who,
        message: Incoming,
        next: Next<'a>,
    ) -> BoxFuture<'a, Result<Verdict, Rejection>> {
        Box::pin(async move {
            self.0.acquire().await.unwrap().forget();
            next.run(message).await
        })
    }
}

/// Texts to bob as they come from a client, for one write.
fn burst(texts: impl IntoIterator<Item = String>) -> Vec<u8> {
    let frames = texts.into_iter().map(|text| {
        let frame = json!({"type": "text", "to": "bob", "content": text});
        masked(&wsc_wire::encode(
            Opcode::Text,
            frame.to_string().as_bytes(),
        ))
    });
    frames.collect::<Vec<_>>().concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_close_frame_is_dealt_with_however_long_that_takes() {
    let leave = Arc::new(Semaphore::new(0));
    let node = start(&[], |extensions| {
        extensions.use_interceptor(Patient(leave.clone()));
    })
    .await;
    let mut bob = node.connect("bob").await;
    let mut alice = Wire::connect(&node, Form::Json, "alice", Scopes::NONE).await;
    let mut all = burst(["one".to_owned(), "two".to_owned()]);
    all.extend(masked(&wsc_wire::encode_close(1000, "")));
    alice.send_bytes(&all).await;
    leave.add_permits(2);
    assert_eq!([bob.hear().await, bob.hear().await], ["one", "two"]);
    assert_eq!(alice.closed().await.1, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_not_given_up_for_what_an_extension_is_slow_at() {
    let leave = Arc::new(Semaphore::new(0));
    let sets = ["wsc.heartbeatInterval=1s", "wsc.clientTimeout=2s"];
    let node = start(&sets, |extensions| {
        extensions.use_interceptor(Patient(leave.clone()));
    })
    .await;
    let mut bob = Wire::connect(&node, Form::Json, "bob", Scopes::NONE).await;
    let mut alice = Wire::connect(&node, Form::Json, "alice", Scopes::NONE).await;
    let texts = (0..10).map(|number| number.to_string());
    alice.send_bytes(&burst(texts)).await;
    // More than three seconds for what came at once, and no word of hers is read meanwhile.
    let mut pace = interval(Duration::from_millis(400));
    for number in 0..10 {
        pace.tick().await;
        leave.add_permits(1);
        assert_eq!(bob.next().await["content"], number.to_string());
    }
    leave.add_permits(1);
    alice.say("bob", "still here").await;
    assert_eq!(bob.next().await["content"], "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_posted_and_wait_take_no_handshakes_place() {
    let (leave, taken) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = taken.clone();
    let node = start(&["wsc.security.maxHandshakesPerAddress=3"], |extensions| {
        extensions.use_interceptor(Patient(leave.clone()));
        extensions.on_message_received(move |_, _| {
            counted.fetch_add(1, Relaxed);
            async { Ok(()) }
        });
    })
    .await;
    let _bob = node.connect("bob").await;
    let url = node.public("/sse/messages");
    let mut posts = Vec::new();
    // More than may begin at once from one address.
    for number in 0..6 {
        let (url, frame) = (
            url.clone(),
            json!({"type": "n", "to": "bob", "id": number.to_string()}),
        );
        posts.push(tokio::spawn(async move {
            post_to(&url, &token("alice", Scopes::NONE), frame.to_string()).await
        }));
        eventually("it waits", || async { taken.load(Relaxed) > number }).await;
    }
    node.connect("carol").await;
    leave.add_permits(6);
    for post in posts {
        let (status, answer) = post.await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_hears_of_what_was_sent_and_not_of_what_was_refused_or_repeated() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = sent.clone();
    let node = start(&[], |extensions| {
        extensions.on_message_sent(move |message| {
            seen.lock().push(message.id);
            async { Ok(()) }
        });
    })
    .await;
    let mut alice = node.connect("alice").await;
    let mut bob = node.connect("bob").await;
    let frames = [
        (json!({"type": "typing", "to": "nobody"}), "offline"),
        (json!({"type": "text", "broadcast": true}), "forbidden"),
        (json!({"type": "text", "ticket_id": "none"}), "not_found"),
        (json!({"type": "text", "to": "bob"}), "accepted"),
        (json!({"type": "text", "to": "bob"}), "accepted"),
    ];
    for (number, (mut frame, expected)) in frames.into_iter().enumerate() {
        // The last two are one message, said twice.
        frame["id"] = number.min(3).to_string().into();
        alice.send(frame).await;
        let answer = alice.next().await;
        let told = answer["code"].as_str().or(answer["data"]["state"].as_str());
        assert_eq!(told, Some(expected), "{answer}");
    }
    alice
        .send(json!({"type": "typing", "id": "here", "to": "bob"}))
        .await;
    assert_eq!(bob.next().await["id"], "3");
    assert_eq!(bob.next().await["id"], "here");
    eventually("the last is told", || async {
        sent.lock().last().is_some_and(|id| id == "here")
    })
    .await;
    assert_eq!(*sent.lock(), ["3", "here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_does_not_take_was_not_sent_and_is_an_error_to_the_application() {
    let mut redis = RedisServer::start();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (sent, faults) = (told.clone(), told.clone());
    let port = format!("wsc.redis.port={}", redis.port);
    let sets = [
        "wsc.distributed.enabled=true",
        "wsc.redis.host=127.0.0.1",
        &port,
    ];
    let node = start(&sets, |extensions| {
        extensions.on_message_sent(move |message| {
            sent.lock().push(format!("sent {}", message.id));
            async { Ok(()) }
        });
        extensions.on_error(move |fault| {
            let whose = fault.client.map(|client| client.user.to_string());
            let whose = whose.unwrap_or_default();
            let (severity, part) = (fault.severity.as_str(), fault.part);
            faults.lock().push(format!("{severity} {part} {whose}"));
            async { Ok(()) }
        });
    })
    .await;
    let mut alice = node.connect("alice").await;
    redis.kill();
    alice
        .send(json!({"type": "text", "id": "lost", "to": "bob"}))
        .await;
    assert_eq!(alice.next().await["code"], "unavailable");
    alice
        .send(json!({"type": "text", "id": "no", "broadcast": true}))
        .await;
    assert_eq!(alice.next().await["code"], "forbidden");
    let expected = [
        "error unavailable alice",
        "warning forbidden alice",
        "critical cluster ",
    ];
    eventually("all is told", || async {
        let told = told.lock();
        expected
            .iter()
            .all(|one| told.iter().any(|told| told == one))
    })
    .await;
    assert!(!told.lock().iter().any(|one| one.starts_with("sent")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_the_end_of_a_session_that_never_began() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (seen, ended) = (told.clone(), told.clone());
    let sets = [
        "wsc.connectionPolicy=kickNew",
        "wsc.maxConnectionsPerUser=1",
    ];
    let node = start(&sets, |extensions| {
        let began = move |event: Event| {
            seen.lock().push(event.name);
            async {}
        };
        extensions.on_event("client.*", began).unwrap();
        extensions.on_client_disconnect(move |client, _| {
            ended.lock().push(format!("end of {}", client.user));
            async { Ok(()) }
        });
    })
    .await;
    let first = node.connect("alice").await;
    let mut second = Client::open(&node.ws(), &[]).await.unwrap();
    let frame = json!({"type": "auth", "data": {"token": token("alice", Scopes::NONE)}});
    second.send(frame).await;
    assert_eq!(second.closed().await.1, 4023);
    drop(second);
    eventually("its place is free", || async {
        node.0.hub().connections() == 1
    })
    .await;
    drop(first);
    eventually("the end of the other is told", || async {
        let mut told = told.lock().clone();
        told.sort();
        assert!(told.len() <= 3, "{told:?}");
        told == ["client.connected", "client.disconnected", "end of alice"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_without_target_goes_to_the_application_alone() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let seen = heard.clone();
    let node = start(&[], |extensions| {
        extensions.on_message_received(move |_, message| {
            if message.target == Target::Application {
                seen.lock().push(message.kind.clone());
            }
            async { Ok(()) }
        });
    })
    .await;
    let mut alice = node.connect("alice").await;
    alice.send(json!({"type": "order", "content": 1})).await;
    alice.send(json!({"type": "ping", "id": "p"})).await;
    assert_eq!(alice.next().await["type"], "pong", "no error came before");
    assert_eq!(*heard.lock(), ["order"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn middleware_stands_around_the_upgrade_with_the_first_added_outermost() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let node = start(&[], |extensions| {
        for name in ["outer", "inner"] {
            let order = order.clone();
            extensions.use_middleware(from_fn(move |request: Request, next: Onward| {
                let order = order.clone();
                async move {
                    order.lock().push(format!("{name} in"));
                    let response: Response = next.run(request).await;
                    order.lock().push(format!("{name} out"));
                    response
                }
            }));
        }
    })
    .await;
    let through = ["outer in", "inner in", "inner out", "outer out"];
    node.connect("alice").await;
    assert_eq!(std::mem::take(&mut *order.lock()), through);
    let _bob = GrpcStream::connect(&node, &token("bob", Scopes::NONE)).await;
    assert_eq!(*order.lock(), through, "a stream of gRPC is a session too");
    node.grpc()
        .await
        .get_stats(wsc_proto::v1::GetStatsRequest {})
        .await
        .unwrap();
    assert_eq!(order.lock().len(), through.len(), "the API is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_of_the_life_of_a_gateway_and_its_clients_in_order() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let node = start(&[], |extensions| {
        let handler = move |event: wsc_gateway::service::Event| {
            let subject = event.subject.unwrap_or_default();
            let reason = event.data["reason"].as_str().unwrap_or_default();
            seen.lock()
                .push(format!("{} {subject} {reason}", event.name));
            async {}
        };
        extensions.on_event("*", handler).unwrap();
    })
    .await;
    let alice = node.connect("alice").await;
    drop(alice);
    eventually("alice is gone", || async { events.lock().len() >= 4 }).await;
    node.0.drain().await;
    assert_eq!(
        *events.lock(),
        [
            "websocket.initialize extended ",
            "websocket.started extended ",
            "client.connected alice ",
            "client.disconnected alice connection_lost",
            "websocket.stopped extended ",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_for_an_event_that_there_is_not_fails_the_start() {
    let builder = Gateway::builder().on_event("client.conected", |_| async {});
    let error = builder.start().await.err().unwrap();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(why, "no event is called `client.conected`");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_exact_however_many_clients_talk_at_once() {
    const CLIENTS: usize = 20;
    const EACH: usize = 50;
    let node = Arc::new(start(&[], |_| {}).await);
    let mut talks = tokio::task::JoinSet::new();
    for index in 0..CLIENTS {
        let node = node.clone();
        talks.spawn(async move {
            let me = format!("user-{index}");
            let mut client = node.connect(&me).await;
            for _ in 0..EACH {
                client.say(&me, "0123456789").await;
            }
            for _ in 0..EACH {
                assert_eq!(client.hear().await, "0123456789");
            }
            client
        });
    }
    let clients = talks.join_all().await;
    let total = (CLIENTS * EACH) as u64;
    // Each client's welcome was written, too. What was written in one turn is counted by the next.
    eventually("all that was read is counted", || async {
        node.0.stats().total_messages_sent >= total + CLIENTS as u64
    })
    .await;
    let stats = node.0.stats();
    assert_eq!(stats.total_messages_sent, total + CLIENTS as u64);
    assert_eq!(stats.total_messages_received, total);
    assert_eq!(stats.current_connections, CLIENTS as u64);
    assert_eq!(
        stats.by_user_type,
        [("customer".to_owned(), CLIENTS as u64)]
    );
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chat_example_greets_remembers_filters_and_lists() {
    let source = include_str!("../../examples/chat.rs");
    assert!(source.lines().count() < 100, "{}", source.lines().count());
    let node = Node(
        chat::chat(config(&["wsc.security.enableAuth=false"]))
            .start()
            .await
            .unwrap(),
    );
    let url = |user: &str| format!("{}?user_id={user}", node.ws());
    let mut alice = Client::open(&url("alice"), &[]).await.unwrap();
    assert_eq!(alice.next().await["type"], "welcome");
    assert_eq!(alice.hear().await, "hello");
    alice
        .send(json!({"type": "chat", "content": "first"}))
        .await;
    assert_eq!(alice.hear().await, "first");
    let mut bob = Client::open(&url("bob"), &[]).await.unwrap();
    assert_eq!(bob.next().await["type"], "welcome");
    let past = [bob.hear().await, bob.hear().await, bob.hear().await];
    assert_eq!(past, ["hello", "first", "hello"]);
    let frame = json!({"type": "chat", "content": "damn"});
    bob.send(frame).await;
    assert_eq!(bob.next().await["message"], "mind your language");
    bob.send(json!({"type": "who"})).await;
    assert_eq!(bob.hear().await, "alice, bob");
    bob.say("alice", "psst").await;
    assert_eq!(alice.next().await["from"], "bob");
    assert_eq!(alice.hear().await, "psst");
    drop(bob);
    let bye = alice.next().await;
    assert_eq!(
        (&bye["from"], &bye["content"]),
        (&json!("bob"), &json!("bye"))
    );
    let page = reqwest::get(node.ws().replace("ws:", "http:").replace("/ws", "/"))
        .await
        .unwrap();
    assert!(page.text().await.unwrap().contains("<title>chat</title>"));
}
