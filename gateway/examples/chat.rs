//! A whole chat application: a room with its history, who is there, private messages, and no swearing.
//!
//! `cargo run -p wsc-gateway --example chat`, then open <http://127.0.0.1:8081/#alice> and <http://127.0.0.1:8081/#bob>.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use axum::{Router, response::Html, routing::get};
use parking_lot::Mutex;
use wsc_config::{GatewayConfig, SecurityConfig, WscConfig};
use wsc_gateway::api::ApiMessage;
use wsc_gateway::app::StartError;
use wsc_gateway::protocol::Target;
use wsc_gateway::service::{Incoming, Outbound, Rejection};
use wsc_gateway::{Gateway, GatewayBuilder};

#[derive(Default)]
struct Room {
    members: Mutex<BTreeSet<String>>,
    history: Mutex<VecDeque<ApiMessage>>,
    out: Outbound,
}

impl Room {
    async fn say(&self, from: &str, text: &str) {
        let message = ApiMessage::text("chat", from, text);
        self.history.lock().push_front(message.clone());
        self.history.lock().truncate(100);
        drop(self.out.broadcast(message).await);
    }

    async fn hear(&self, user: &str, message: &Incoming) -> Result<(), Rejection> {
        let text = message.text().unwrap_or_default();
        if text.contains("damn") {
            return Err("mind your language".into());
        }
        match (&message.target, message.kind.as_str()) {
            (Target::Application, "who") => {
                let members = self.members.lock().clone().into_iter();
                let members = members.collect::<Vec<_>>().join(", ");
                drop(
                    self.out
                        .send(user, ApiMessage::text("who", "chat", &members))
                        .await,
                );
            }
            (Target::Application, _) => self.say(user, &text).await,
            _ => {} // Private messages go their way without us.
        }
        Ok(())
    }

    async fn greet(&self, user: &str) {
        let past: Vec<_> = self.history.lock().iter().rev().cloned().collect();
        for message in past {
            drop(self.out.send(user, message).await);
        }
        self.members.lock().insert(user.to_owned());
        self.say(user, "hello").await;
    }
}

/// The application, on a gateway with this configuration.
pub fn chat(config: GatewayConfig) -> GatewayBuilder {
    let builder = Gateway::builder().with_config(config);
    let room = Arc::new(Room {
        out: builder.outbound(),
        ..Room::default()
    });
    let (comes, goes) = (room.clone(), room.clone());
    let page = Router::new().route("/", get(async || Html(include_str!("chat.html"))));
    builder
        .with_pages(page)
        .on_message_received(move |client, message| {
            let room = room.clone();
            async move { room.hear(client.user.as_str(), &message).await }
        })
        .on_event("client.connected", move |event| {
            let room = comes.clone();
            async move { room.greet(&event.subject.unwrap_or_default()).await }
        })
        .on_event("client.disconnected", move |event| {
            let (room, user) = (goes.clone(), event.subject.unwrap_or_default());
            async move {
                room.members.lock().remove(&user);
                room.say(&user, "bye").await;
            }
        })
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    // Everyone is who they say they are: a chat on one's own machine.
    let security = SecurityConfig::default().with_enable_auth(false);
    let wsc = WscConfig::default().with_security(security);
    println!("http://127.0.0.1:8081/#alice and http://127.0.0.1:8081/#bob");
    let config = GatewayConfig::default().with_wsc(wsc);
    chat(config).run(tokio::signal::ctrl_c()).await
}
