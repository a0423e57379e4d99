//! Statistics: exact counts of this node, read at any time without waiting.
//!
//! `cargo run -p wsc-gateway --example statistics`

use std::time::Duration;

use wsc_config::{GatewayConfig, SecurityConfig, WscConfig};
use wsc_gateway::Gateway;
use wsc_gateway::app::StartError;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let security = SecurityConfig::default().with_enable_auth(false);
    let wsc = WscConfig::default().with_security(security);
    let builder = Gateway::builder().with_config(GatewayConfig::default().with_wsc(wsc));
    let gateway = builder.start().await?;
    let mut every = tokio::time::interval(Duration::from_secs(5));
    let end = tokio::signal::ctrl_c();
    tokio::pin!(end);
    loop {
        tokio::select! {
            _ = every.tick() => println!("{:?}", gateway.stats()),
            _ = &mut end => break,
        }
    }
    gateway.drain().await;
    Ok(())
}
