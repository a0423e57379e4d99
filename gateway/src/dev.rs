//! `--dev`: a gateway for one machine, with keys made up for the run and a page where two browser tabs can chat.
//!
//! Listens on loopback only. Nothing of it is reachable in a pod: the flag is refused there.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::Router;
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use uuid::Uuid;
use wsc_config::{GatewayConfig, LogFormat};

use crate::app::Addresses;
use crate::group::GroupPatterns;
use crate::protocol::UserId;
use crate::security::{NewToken, Scopes, TokenError, TokenVerifier};
use crate::settings::Secrets;
use crate::ticket::Queue;

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
        ..Secrets::default()
    }
}

/// Who can chat on the page, each with a token for an hour.
#[derive(Clone, Debug)]
pub struct Dev(Vec<(&'static str, String)>);

impl Dev {
    /// Mints the tokens.
    pub fn new(verifier: &TokenVerifier) -> Result<Self, TokenError> {
        let tokens = USERS.map(|user| token(verifier, user).map(|token| (user, token)));
        tokens.into_iter().collect::<Result<_, _>>().map(Self)
    }

    /// The chat page.
    pub fn pages(&self) -> Router {
        let tokens: serde_json::Map<_, _> = self
            .0
            .iter()
            .map(|(user, token)| ((*user).to_owned(), token.as_str().into()))
            .collect();
        let tokens = serde_json::Value::Object(tokens).to_string();
        let page = include_str!("dev/chat.html").replace("{{tokens}}", &tokens);
        Router::new().route(
            "/",
            get(async move |headers: HeaderMap| answer(&headers, page)),
        )
    }

    /// Prints where the page is, and the tokens for other clients.
    pub fn greet(&self, addresses: Addresses) {
        let Some(ws) = addresses.ws else { return };
        println!("\n  Open two tabs and chat:");
        for (user, _) in &self.0 {
            println!("    http://{ws}/#{user}");
        }
        println!("\n  Or connect any client to ws://{ws}/ws with `Authorization: Bearer TOKEN`:");
        for (user, token) in &self.0 {
            println!("    {user}: {token}");
        }
        let Addresses {
            ws: _,
            http,
            grpc,
            admin,
        } = addresses;
        println!(
            "\n  HTTP API on http://{http}, gRPC on {grpc}, health and metrics on http://{admin}\n"
        );
    }
}

/// The page holds tokens, so only a browser that knows itself on this machine gets it: a foreign name that was made to
/// point here (DNS rebinding) does not.
fn answer(headers: &HeaderMap, page: String) -> Response {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match name {
        "127.0.0.1" | "localhost" | "[::1]" => Html(page).into_response(),
        _ => StatusCode::MISDIRECTED_REQUEST.into_response(),
    }
}

fn token(verifier: &TokenVerifier, user: &str) -> Result<String, TokenError> {
    let user = UserId::new(user).map_err(|_| TokenError::Subject)?;
    let user_type = "customer".to_owned();
    verifier.mint(&NewToken {
        user,
        user_type,
        scopes: Scopes::BROADCAST,
        groups: GroupPatterns::default(),
        skills: Queue::default(),
        device: None,
        lifetime: Duration::from_hours(1),
        key_id: None,
    })
}
