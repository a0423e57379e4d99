//! What a running gateway's extensions decide and hear.

use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;

use super::super::client::sample;
use super::*;
use crate::protocol::{ErrorCode, Priority, Target};

fn message() -> Incoming {
    Incoming {
        kind: "text".to_owned(),
        id: None,
        target: Target::Application,
        content: None,
        data: None,
        priority: Priority::Normal,
        reply_to: None,
        require_ack: false,
        durable: None,
    }
}

async fn ended(tasks: &TaskTracker, cancel: &CancellationToken) {
    cancel.cancel();
    tasks.close();
    timeout(Duration::from_secs(60), tasks.wait())
        .await
        .expect("ends");
}

#[tokio::test]
async fn with_nothing_registered_nobody_is_asked_or_told() {
    let service = Service::start(
        Extensions::default(),
        &TaskTracker::new(),
        &CancellationToken::new(),
    );
    assert!(!service.decides_clients() && !service.decides_messages());
    assert!(!service.hears_sent() && !service.hears_clients());
    assert!(service.lanes().is_empty());
}

#[tokio::test]
async fn an_error_from_received_refuses_the_message_before_any_interceptor() {
    let mut extensions = Extensions::default();
    extensions.on_message_received(|client, message| async move {
        if client.user.as_str() == "mallory" {
            return Err(format!("no {} from you", message.kind).into());
        }
        Ok(())
    });
    let service = Service::start(extensions, &TaskTracker::new(), &CancellationToken::new());
    assert!(service.decides_messages());
    assert!(service.message(&sample("alice"), message()).await.is_ok());
    let no = service.message(&sample("mallory"), message()).await;
    assert_eq!(no.unwrap_err(), "no text from you".into());
    assert_eq!(service.stats().messages_refused.load(Relaxed), 1);
}

#[tokio::test]
async fn a_panic_or_an_endless_callback_refuses_and_is_told_as_a_fault() {
    let faults = Arc::new(Mutex::new(Vec::new()));
    let heard = faults.clone();
    let mut extensions = Extensions::default();
    extensions.on_client_connect(|client| async move {
        match client.user.as_str() {
            "panic" => panic!("a callback's own mistake"),
            "endless" => std::future::pending().await,
            _ => Ok(()),
        }
    });
    extensions.on_error(move |fault| {
        heard.lock().push((fault.severity, fault.message));
        async { Ok(()) }
    });
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let hasty = Duration::from_millis(50);
    let service = Service::start_with(hasty, extensions, &tasks, &cancel);
    assert!(service.connect(&sample("alice")).await.is_ok());
    for user in ["panic", "endless"] {
        let no = service.connect(&sample(user)).await.unwrap_err();
        assert_eq!(no.code, ErrorCode::Unavailable);
    }
    ended(&tasks, &cancel).await;
    let faults: Vec<_> = faults.lock().iter().map(|(_, what)| what.clone()).collect();
    assert_eq!(
        faults,
        [
            "a callback or an interceptor panicked",
            "a callback or an interceptor took too long"
        ]
    );
    assert_eq!(service.stats().decisions_failed.load(Relaxed), 2);
    assert_eq!(service.stats().clients_refused.load(Relaxed), 2);
}

#[tokio::test]
async fn a_slow_event_handler_delays_neither_the_emitter_nor_other_handlers() {
    let quick = Arc::new(AtomicUsize::new(0));
    let counted = quick.clone();
    let mut extensions = Extensions::default();
    extensions
        .on_event("client.*", |_| std::future::pending())
        .expect("known");
    extensions
        .on_event(Event::CONNECTED, move |_| {
            counted.fetch_add(1, Relaxed);
            async {}
        })
        .expect("known");
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let service = Service::start(extensions, &tasks, &cancel);
    for _ in 0..10_000 {
        service.client_connected(&sample("alice"));
        tokio::task::yield_now().await;
    }
    assert_eq!(quick.load(Relaxed), 10_000);
    let lanes = service.lanes();
    let slow = lanes.iter().find(|(name, _)| *name == "client.*").unwrap();
    // One is being handled, 4096 wait.
    assert_eq!(slow.1.dropped.load(Relaxed), 10_000 - 4096 - 1);
}

#[tokio::test]
async fn disconnects_carry_their_reason_to_callbacks_and_events() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (one, two) = (seen.clone(), seen.clone());
    let mut extensions = Extensions::default();
    extensions.on_client_disconnect(move |client, why| {
        one.lock().push(format!("{} {}", client.user, why.label()));
        async { Ok(()) }
    });
    extensions
        .on_event(Event::DISCONNECTED, move |event| {
            two.lock()
                .push(format!("{:?} {}", event.subject, event.data["reason"]));
            async {}
        })
        .expect("known");
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let service = Service::start(extensions, &tasks, &cancel);
    service.client_disconnected(&sample("alice"), Disconnect::Timeout);
    ended(&tasks, &cancel).await;
    let mut seen = seen.lock().clone();
    seen.sort();
    assert_eq!(seen, ["Some(\"alice\") \"timeout\"", "alice timeout"]);
}
