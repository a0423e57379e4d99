//! `tail` over WebSocket.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::session::{Ended, Opening};
use super::wire::{Heard, Wire, refused};
use crate::Failure;
use crate::endpoint::Stream;

/// A connection that was let in.
pub(super) struct WebSocket(WebSocketStream<Box<dyn Stream>>);

impl WebSocket {
    pub(super) async fn open(opening: &Opening<'_>) -> Result<Self, Ended> {
        let endpoint = opening.endpoint;
        let socket = endpoint.connect().await.map_err(Ended::from)?;
        let scheme = if endpoint.is_tls() { "wss" } else { "ws" };
        let mut request = Request::builder()
            .uri(format!(
                "{scheme}://{}{}",
                endpoint.authority(),
                opening.path()
            ))
            .header("Host", endpoint.authority())
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key())
            .header("Sec-WebSocket-Protocol", "wsc.v1.json");
        if let Some(token) = opening.bearer() {
            request = request.header("Authorization", token);
        }
        let request = request
            .body(())
            .map_err(|error| Ended::Stay(Failure::Usage(error.to_string())))?;
        match client_async(request, socket).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(refusal)) => {
                let retry = refusal.headers().get("Retry-After");
                let retry = retry.and_then(|value| value.to_str().ok());
                let body = refusal.body().as_deref().unwrap_or_default();
                Err(refused(refusal.status().as_u16(), retry, body))
            }
            Err(error) => Err(Ended::come_back(endpoint.unreachable(error))),
        }
    }
}

impl Wire for WebSocket {
    fn hear(&mut self) -> BoxFuture<'_, Heard> {
        Box::pin(async {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => Heard::Frame(text.as_str().to_owned()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    Heard::Closed(frame.code.into(), frame.reason.as_str().to_owned())
                }
                Some(Ok(Message::Close(None))) => Heard::Broken("closed without a code".to_owned()),
                // The library answers pings; the gateway sends no binary frames in this subprotocol.
                Some(Ok(
                    Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_),
                )) => Heard::Life,
                Some(Err(error)) => Heard::Broken(format!("the connection broke: {error}")),
                None => Heard::Broken("the connection ended without a close frame".to_owned()),
            }
        })
    }

    fn farewell(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Politeness only: the gateway notices a socket that is gone.
            let _ = timeout(Duration::from_secs(1), self.0.close(None)).await;
        })
    }
}
