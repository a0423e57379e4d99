//! `--dev`: a gateway for one machine, with keys made up for the run and a page where two browser tabs can chat.
//!
//! Listens on loopback only. Nothing of it is reachable in a pod: the flag is refused there.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use uuid::Uuid;
use wsc_config::{GatewayConfig, LogFormat};

use crate::app::Addresses;
use crate::protocol::UserId;
use crate::security::{NewToken, Scopes, TokenError, TokenVerifier};
use crate::settings::Secrets;

/// Who can chat on the page.
const USERS: [&str; 2] = ["alice", "bob"];

/// Binds everything to loopback and writes the log for people.
pub fn only_here(config: &mut GatewayConfig) {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    config.wsc.node_ip = loopback;
    config.http.host = loopback;
    config.grpc.host = loopback;
    config.admin.host = loopback;
    config.log.format = LogFormat::Text;
    // Nobody has to hear of it first, and nobody wants to wait for the prompt.
    config.drain.unready_delay = Duration::ZERO.into();
    config.drain.window = Duration::ZERO.into();
}

/// Keys for this run.
pub fn secrets() -> Secrets {
    // 244 random bits in printable form.
    let key = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    Secrets {
        jwt_key: Some(key()),
        api_key: Some(key()),
        redis_password: None,
    }
}

/// The chat page, with a token for each of its users.
pub fn pages(verifier: &TokenVerifier) -> Result<Router, TokenError> {
    let tokens = USERS.iter().map(|user| Ok((*user, token(verifier, user)?)));
    let tokens: serde_json::Map<_, _> = tokens
        .map(|token| token.map(|(user, token)| (user.to_owned(), token.into())))
        .collect::<Result<_, TokenError>>()?;
    let page = include_str!("dev/chat.html")
        .replace("{{tokens}}", &serde_json::Value::Object(tokens).to_string());
    Ok(Router::new().route("/", get(async move || Html(page))))
}

/// Prints where the page is.
pub fn greet(addresses: Addresses) {
    let Some(ws) = addresses.ws else { return };
    println!("\n  Open two tabs and chat:");
    for user in USERS {
        println!("    http://{ws}/#{user}");
    }
    println!(
        "  HTTP API on http://{}, health and metrics on http://{}\n",
        addresses.http, addresses.admin
    );
}

fn token(verifier: &TokenVerifier, user: &str) -> Result<String, TokenError> {
    let user = UserId::new(user).map_err(|_| TokenError::Subject)?;
    let user_type = "customer".to_owned();
    verifier.mint(&NewToken {
        user,
        user_type,
        scopes: Scopes::BROADCAST,
        device: None,
        lifetime: Duration::from_hours(1),
    })
}
