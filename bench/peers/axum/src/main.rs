//! A WebSocket server as one writes it first with axum: a task that reads and one that writes for each connection, a
//! channel between them, rooms in a map. Speaks the plain dialect: `P` publishes to the room, `E` echoes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;

type Room = Vec<mpsc::Sender<Message>>;
type Rooms = Arc<Mutex<HashMap<String, Room>>>;

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).expect("usage: bench-axum PORT");
    let app = Router::new()
        .route(
            "/ws",
            get(
                async |upgrade: WebSocketUpgrade,
                       Query(query): Query<HashMap<String, String>>,
                       State(rooms): State<Rooms>| {
                    let room = query.get("room").cloned().unwrap_or_default();
                    upgrade.on_upgrade(|socket| serve(socket, room, rooms))
                },
            ),
        )
        .with_state(Rooms::default());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}"))
        .await
        .expect("bind")
        .tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
    println!("axum {}", env!("AXUM"));
    axum::serve(listener, app).await.expect("serve");
}

async fn serve(socket: WebSocket, room: String, rooms: Rooms) {
    let (mut sink, mut stream) = socket.split();
    let (sender, mut outbox) = mpsc::channel(256);
    rooms
        .lock()
        .unwrap()
        .entry(room.clone())
        .or_default()
        .push(sender.clone());
    let writer = tokio::spawn(async move {
        while let Some(message) = outbox.recv().await {
            if sink.send(message).await.is_err() {
                break;
            }
        }
    });
    let _ = sender.send(Message::text("ready")).await;
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let body = text
            .as_str()
            .get(1..)
            .map(Utf8Bytes::from)
            .unwrap_or_default();
        if text.starts_with('E') {
            let _ = sender.send(Message::Text(body)).await;
            continue;
        }
        let members = rooms
            .lock()
            .unwrap()
            .get(&room)
            .cloned()
            .unwrap_or_default();
        for member in members {
            // A reader that does not keep up goes without.
            let _ = member.try_send(Message::Text(body.clone()));
        }
    }
    writer.abort();
}
