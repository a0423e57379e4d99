//! Callbacks: who may connect, what may be said, and who hears of it.
//!
//! `cargo run -p wsc-gateway --example callbacks`, then connect to `ws://127.0.0.1:8081/ws?user_id=alice`.

use wsc_config::{GatewayConfig, SecurityConfig, WscConfig};
use wsc_gateway::Gateway;
use wsc_gateway::app::StartError;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let security = SecurityConfig::default().with_enable_auth(false);
    let wsc = WscConfig::default().with_security(security);
    Gateway::builder()
        .with_config(GatewayConfig::default().with_wsc(wsc))
        .on_client_connect(|client| async move {
            if client.user.as_str() == "mallory" {
                return Err("we have met".into());
            }
            Ok(())
        })
        // Asked only about those that the first one let in.
        .on_client_connect(|client| async move {
            println!("{} comes by {}", client.user, client.transport);
            Ok(())
        })
        .on_message_received(|client, message| async move {
            if message.text().is_some_and(|text| text.len() > 1000) {
                return Err("keep it short".into());
            }
            println!("{} says {}", client.user, message.kind);
            Ok(())
        })
        .on_message_sent(|sent| async move {
            println!("{} of {} is on its way", sent.id, sent.client.user);
            Ok(())
        })
        .on_client_disconnect(|client, why| async move {
            println!("{} is gone: {}", client.user, why.label());
            Ok(())
        })
        .on_error(|fault| async move {
            eprintln!(
                "{}: {}: {}",
                fault.severity.as_str(),
                fault.part,
                fault.message
            );
            Ok(())
        })
        .run(tokio::signal::ctrl_c())
        .await
}
