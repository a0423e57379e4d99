//! Middleware: tower layers around the upgrade request, the first added outermost.
//!
//! `cargo run -p wsc-gateway --example middleware`. The path `/ws` answers 403 unless `x-invitation` says `please`.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use wsc_config::{GatewayConfig, SecurityConfig, WscConfig};
use wsc_gateway::Gateway;
use wsc_gateway::app::StartError;

async fn log(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    println!("{path} was answered {}", response.status());
    response
}

async fn invited(request: Request, next: Next) -> Result<Response, StatusCode> {
    match request.headers().get("x-invitation") {
        Some(word) if word == "please" => Ok(next.run(request).await),
        _ => Err(StatusCode::FORBIDDEN),
    }
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let security = SecurityConfig::default().with_enable_auth(false);
    let wsc = WscConfig::default().with_security(security);
    Gateway::builder()
        .with_config(GatewayConfig::default().with_wsc(wsc))
        .use_middleware(from_fn(log))
        .use_middleware(from_fn(invited))
        .run(tokio::signal::ctrl_c())
        .await
}
