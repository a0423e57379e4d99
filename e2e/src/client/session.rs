//! One connection of a client: the handshake at a pod, then frames both ways until it ends.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::log::{Event, Log};
use crate::forward;
use crate::gateway::{Gateway, WS_PORT};

/// Longest a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long after a `reconnect` frame the client waits for the server's close before it hangs up itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to connect and with what.
pub(super) struct Dial<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) pod: &'a str,
    pub(super) token: &'a str,
}

/// How a connection ended.
pub(super) struct Ended {
    pub(super) code: Option<u16>,
    pub(super) reason: String,
}

pub(super) async fn dial(
    to: Dial<'_>,
) -> Result<WebSocketStream<impl AsyncRead + AsyncWrite + Unpin + Send + 'static + use<>>> {
    let mut request = format!("ws://{}/ws", to.pod).into_client_request()?;
    let headers = request.headers_mut();
    headers.insert(
        "authorization",
        HeaderValue::from_str(&format!("Bearer {}", to.token))?,
    );
    headers.insert(
        "sec-websocket-protocol",
        HeaderValue::from_static("wsc.v1.json"),
    );
    let handshake = async {
        let stream = forward::open(&to.gateway.client(), &to.gateway.port(to.pod, WS_PORT)).await?;
        anyhow::Ok(client_async(request, stream).await?.0)
    };
    tokio::time::timeout(HANDSHAKE, handshake)
        .await
        .with_context(|| format!("handshake with {}: not within {HANDSHAKE:?}", to.pod))?
        .with_context(|| format!("handshake with {}", to.pod))
}

pub(super) async fn talk<S>(
    mut socket: WebSocketStream<S>,
    log: &Log,
    queue: &mut mpsc::Receiver<Value>,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let patience = tokio::time::sleep(Duration::MAX / 1000);
    tokio::pin!(patience);
    loop {
        tokio::select! {
            incoming = socket.next() => match incoming {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.to_string()));
                    if frame["type"] == "reconnect" {
                        patience.as_mut().reset(tokio::time::Instant::now() + PATIENCE);
                    }
                    log.push(Event::Frame(frame));
                }
                Some(Ok(Message::Close(frame))) => {
                    let _ = socket.close(None).await; // the answer to the close; the connection is over either way
                    return Ended {
                        code: frame.as_ref().map(|f| f.code.into()),
                        reason: frame.map(|f| f.reason.to_string()).unwrap_or_default(),
                    };
                }
                Some(Ok(_)) => {} // pings are answered by the library
                Some(Err(error)) => return Ended { code: None, reason: error.to_string() },
                None => return Ended { code: None, reason: String::from("end of stream") },
            },
            Some(frame) = queue.recv() => {
                if let Err(error) = socket.send(Message::text(frame.to_string())).await {
                    return Ended { code: None, reason: error.to_string() };
                }
            }
            () = &mut patience => return Ended { code: None, reason: String::from("told to reconnect, never closed") },
        }
    }
}
