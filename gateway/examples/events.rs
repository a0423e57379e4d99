//! Events: what happens, by name or by family. Handlers run beside traffic and never hold it up.
//!
//! `cargo run -p wsc-gateway --example events`

use wsc_config::{GatewayConfig, SecurityConfig, WscConfig};
use wsc_gateway::Gateway;
use wsc_gateway::app::StartError;
use wsc_gateway::service::Event;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let security = SecurityConfig::default().with_enable_auth(false);
    let wsc = WscConfig::default().with_security(security);
    Gateway::builder()
        .with_config(GatewayConfig::default().with_wsc(wsc))
        .on_event(Event::STARTED, |event| async move {
            println!("{} serves", event.subject.unwrap_or_default());
        })
        .on_event("client.*", |event| async move {
            println!("{} {:?} {}", event.name, event.subject, event.data);
        })
        .on_event("*", |event| async move {
            println!("{} {}", event.id, event.name);
        })
        .run(tokio::signal::ctrl_c())
        .await
}
