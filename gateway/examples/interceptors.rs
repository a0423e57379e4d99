//! Interceptors: around each message, by ascending order. One times the others, one translates.
//!
//! `cargo run -p wsc-gateway --example interceptors`, then send `{"type":"text","to":"bob","content":"hello"}`.

use std::time::Instant;

use futures_util::future::BoxFuture;
use wsc_config::{GatewayConfig, SecurityConfig, WscConfig};
use wsc_gateway::Gateway;
use wsc_gateway::app::StartError;
use wsc_gateway::service::{Client, Incoming, Interceptor, Next, Rejection, Verdict};

struct Timing;

impl Interceptor for Timing {
    fn name(&self) -> &'static str {
        "timing"
    }

    fn order(&self) -> i32 {
        -100
    }

    fn intercept<'a>(
        &'a self,
        client: &'a Client,
        message: Incoming,
        next: Next<'a>,
    ) -> BoxFuture<'a, Result<Verdict, Rejection>> {
        Box::pin(async move {
            let began = Instant::now();
            let verdict = next.run(message).await;
            println!("a message of {} took {:?}", client.user, began.elapsed());
            verdict
        })
    }
}

struct Translation;

impl Interceptor for Translation {
    fn name(&self) -> &'static str {
        "translation"
    }

    fn intercept<'a>(
        &'a self,
        _: &'a Client,
        mut message: Incoming,
        next: Next<'a>,
    ) -> BoxFuture<'a, Result<Verdict, Rejection>> {
        if message.text().as_deref() == Some("hello") {
            message.content = serde_json::value::to_raw_value("bonjour").ok();
        }
        next.run(message)
    }
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let security = SecurityConfig::default().with_enable_auth(false);
    let wsc = WscConfig::default().with_security(security);
    Gateway::builder()
        .with_config(GatewayConfig::default().with_wsc(wsc))
        .use_interceptor(Translation)
        .use_interceptor(Timing)
        .run(tokio::signal::ctrl_c())
        .await
}
