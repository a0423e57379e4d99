//! `Session`: one connection of `tail`, from the handshake to the reason it ended.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use wsc_gateway::protocol::{Disconnect, Position};

use crate::Failure;
use crate::api::encode;
use crate::connection::Secret;
use crate::endpoint::{Endpoint, Stream};
use crate::output::printable;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long nothing at all may come before the welcome frame says better.
const SILENCE: Duration = Duration::from_secs(90);

/// A connection that was let in.
pub(super) struct Session {
    socket: WebSocketStream<Box<dyn Stream>>,
    silence: Duration,
    /// What a `reconnect` frame asked for.
    after: Duration,
}

/// Why it ended.
pub(super) enum Ended {
    /// Nothing more is wanted.
    Enough,
    /// The client should not come back by itself.
    Stay(Failure),
    /// It should, after this time.
    ComeBack {
        /// For whoever watches.
        why: String,
        /// Beside the pause of the client's own.
        after: Duration,
    },
}

impl Ended {
    fn come_back(why: impl std::fmt::Display) -> Self {
        Self::ComeBack {
            why: printable(&why.to_string()),
            after: Duration::ZERO,
        }
    }
}

impl Session {
    /// Connects and is let in, or hears why not.
    pub(super) async fn open(
        endpoint: &Endpoint,
        token: Option<&Secret>,
        after: Option<Position>,
    ) -> Result<Self, Ended> {
        let socket = endpoint.connect().await.map_err(Ended::from)?;
        let scheme = if endpoint.is_tls() { "wss" } else { "ws" };
        let mut uri = format!("{scheme}://{}{}", endpoint.authority(), endpoint.path());
        if let Some(after) = after {
            let resume = json!({"inbox": after.to_string()}).to_string();
            let mark = if uri.contains('?') { '&' } else { '?' };
            uri = format!("{uri}{mark}resume={}", encode(&resume));
        }
        let mut request = Request::builder()
            .uri(uri)
            .header("Host", endpoint.authority())
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key())
            .header("Sec-WebSocket-Protocol", "wsc.v1.json");
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        let request = request
            .body(())
            .map_err(|error| Ended::Stay(Failure::Usage(error.to_string())))?;
        match timeout(HANDSHAKE, client_async(request, socket)).await {
            Ok(Ok((socket, _))) => Ok(Self {
                socket,
                silence: SILENCE,
                after: Duration::ZERO,
            }),
            Ok(Err(Error::Http(refusal))) => Err(refused(&refusal)),
            Ok(Err(error)) => Err(Ended::come_back(endpoint.unreachable(error))),
            Err(_) => Err(Ended::come_back(endpoint.unreachable("no answer in time"))),
        }
    }

    /// Hands over every frame until `take` says that it was the last, or the connection ends.
    pub(super) async fn read(
        &mut self,
        mut take: impl FnMut(&str) -> Result<bool, Failure>,
    ) -> Result<Ended, Failure> {
        loop {
            let next = tokio::select! {
                next = timeout(self.silence, self.socket.next()) => next,
                _ = tokio::signal::ctrl_c() => return Ok(self.farewell().await),
            };
            let message = match next {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => {
                    return Ok(self.back(&format!("the connection broke: {error}")));
                }
                Ok(None) => return Ok(self.back("the connection ended without a close frame")),
                Err(_) => return Ok(self.back("nothing came for too long")),
            };
            match message {
                Message::Text(text) => {
                    self.heed(&text);
                    if !take(&text)? {
                        return Ok(self.farewell().await);
                    }
                }
                Message::Close(frame) => return Ok(self.closed(frame.as_ref())),
                // The library answers pings; the gateway sends no binary frames in this subprotocol.
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Takes over what the gateway says about the connection itself.
    fn heed(&mut self, text: &str) {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let data = |name| {
            frame
                .get("data")
                .and_then(|data| data.get(name))
                .and_then(Value::as_u64)
        };
        match frame.get("type").and_then(Value::as_str) {
            Some("welcome") => {
                if let Some(timeout) = data("client_timeout_ms") {
                    self.silence = Duration::from_millis(timeout);
                }
            }
            Some("reconnect") => {
                self.after = Duration::from_millis(data("after_ms").unwrap_or_default());
            }
            _ => {}
        }
    }

    async fn farewell(&mut self) -> Ended {
        // Politeness only: the gateway notices a socket that is gone.
        let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
        Ended::Enough
    }

    fn back(&self, why: &str) -> Ended {
        Ended::ComeBack {
            why: printable(why),
            after: self.after,
        }
    }

    fn closed(&self, frame: Option<&CloseFrame>) -> Ended {
        let Some(frame) = frame else {
            return self.back("closed without a code");
        };
        let code = u16::from(frame.code);
        let why = printable(&format!("closed with {code}: {}", frame.reason));
        if reconnects(code) {
            return self.back(&why);
        }
        Ended::Stay(match code {
            4001 | 4003 => Failure::Refused(why),
            _ => Failure::Failed(why),
        })
    }
}

/// What the gateway's table of close codes says; codes of proxies are judged by RFC 6455 §7.4.
fn reconnects(code: u16) -> bool {
    let known = Disconnect::ALL
        .iter()
        .map(|disconnect| disconnect.describe());
    let known = known.into_iter().find(|told| told.code == code);
    known.map_or(matches!(code, 1001 | 1005 | 1006 | 1011..=1014), |told| {
        told.reconnect
    })
}

/// A refusal of the handshake: 429 and 5xx pass, the others do not.
fn refused(refusal: &Response<Option<Vec<u8>>>) -> Ended {
    let status = refusal.status();
    let body = refusal.body().as_deref().unwrap_or_default();
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = told
        .get("error")
        .and_then(|error| error.get("message"))
        .and_then(Value::as_str);
    let why = printable(&format!(
        "refused with {status}: {}",
        message.unwrap_or("no reason given")
    ));
    let retry = refusal
        .headers()
        .get("Retry-After")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match status.as_u16() {
        429 | 500.. => Ended::ComeBack {
            why,
            after: Duration::from_secs(retry.unwrap_or_default()),
        },
        401 | 403 => Ended::Stay(Failure::Refused(why)),
        404 => Ended::Stay(Failure::NotFound(why)),
        _ => Ended::Stay(Failure::Failed(why)),
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(why) => Self::come_back(why),
            failure => Self::Stay(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_of_the_gateway_is_heeded_as_its_table_says() {
        for disconnect in Disconnect::ALL {
            let told = disconnect.describe();
            assert_eq!(reconnects(told.code), told.reconnect, "{}", told.code);
        }
    }

    #[test]
    fn a_code_of_a_proxy_leads_back_and_one_that_nobody_knows_does_not() {
        assert!(reconnects(1001) && reconnects(1014));
        assert!(!reconnects(4999) && !reconnects(1003));
    }
}
