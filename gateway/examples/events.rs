//! Events: what happens, by name or by family. Handlers run beside traffic and never hold it up; what they do about it, to
//! groups and tickets too, goes through the `Outbound` handle.
//!
//! `cargo run -p wsc-gateway --example events`, then connect to `ws://127.0.0.1:8081/ws?user_id=alice` and send
//! `{"type":"help","content":"my parcel is lost"}`.

use std::sync::Arc;

use wsc_config::{GatewayConfig, GroupConfig, SecurityConfig, WscConfig};
use wsc_gateway::api::ApiMessage;
use wsc_gateway::app::StartError;
use wsc_gateway::service::{Client, Event, Incoming, Outbound, OutboundError, Rejection};
use wsc_gateway::ticket::NewTicket;
use wsc_gateway::{Gateway, GatewayBuilder};

const LOBBY: &str = "lobby";

/// Everyone who comes is in the lobby, and the others there hear of it.
async fn welcome(out: Outbound, user: String) -> Result<(), OutboundError> {
    out.join(LOBBY, &user).await?;
    let text = format!("{user} is here");
    let hello = ApiMessage::text("news", "reception", &text);
    out.send_to_group(LOBBY, hello).await?;
    Ok(())
}

/// Who asks for help gets a ticket: an agent is found for it, and the question is the first thing said in it.
async fn help(out: Outbound, client: Client, asked: Arc<Incoming>) -> Result<(), Rejection> {
    if asked.kind != "help" {
        return Ok(());
    }
    let open = async {
        let ticket = out.open_ticket(NewTicket::of(client.user.clone())).await?;
        let question = asked.text().unwrap_or_default();
        let question = ApiMessage::text("text", client.user.as_str(), &question);
        out.send_to_ticket(&ticket.ticket_id, question).await
    };
    let opened: Result<_, OutboundError> = open.await;
    opened.map(drop).map_err(|error| {
        eprintln!("no ticket for {}: {error}", client.user);
        Rejection::unavailable("nobody can be asked now")
    })
}

/// The reception, on a gateway with this configuration.
pub fn reception(config: GatewayConfig) -> GatewayBuilder {
    let builder = Gateway::builder().with_config(config);
    let (comes, asks) = (builder.outbound(), builder.outbound());
    builder
        .on_event(Event::STARTED, |event| async move {
            println!("{} serves", event.subject.unwrap_or_default());
        })
        .on_event(Event::CONNECTED, move |event| {
            let welcome = welcome(comes.clone(), event.subject.unwrap_or_default());
            async {
                if let Err(error) = welcome.await {
                    eprintln!("no welcome: {error}");
                }
            }
        })
        .on_event("ticket.*", |event| async move {
            println!("{} {:?} {}", event.name, event.subject, event.data);
        })
        .on_message_received(move |client, message| help(asks.clone(), client, message))
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let security = SecurityConfig::default().with_enable_auth(false);
    let groups = GroupConfig::default()
        .with_enabled(true)
        .with_auto_create(true);
    let wsc = WscConfig::default()
        .with_security(security)
        .with_group(groups);
    let config = GatewayConfig::default().with_wsc(wsc);
    reception(config).run(tokio::signal::ctrl_c()).await
}
