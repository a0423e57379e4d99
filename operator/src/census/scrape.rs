//! One question to one pod: `GET /status` on its admin port, with a deadline and a bound on the answer.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::counts::{Phase, PodCount, RedisLink};
use crate::api::ADMIN_PORT;
use crate::stores::PodView;

/// From connecting to the last byte.
const DEADLINE: Duration = Duration::from_secs(2);

/// The longest answer that is read; the list of peers is the only part of it that grows.
const LONGEST: usize = 1024 * 1024;

/// Why a pod's answer is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScrapeError {
    #[error("the pod has no address yet")]
    NoAddress,
    #[error("no answer in time")]
    Deadline,
    #[error("the connection failed")]
    Connect(#[source] std::io::Error),
    #[error("the exchange failed")]
    Http(#[source] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[source] hyper::http::Error),
    #[error("the answer cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is not what a gateway says")]
    Shape(#[source] serde_json::Error),
}

/// The part of the answer that counts.
#[derive(serde::Deserialize)]
struct Answer {
    connections: i64,
    phase: Phase,
    redis: RedisLink,
}

/// Asks a pod.
pub(super) async fn status(pod: &PodView) -> Result<PodCount, ScrapeError> {
    let ip = pod.ip.ok_or(ScrapeError::NoAddress)?;
    let asked = ask(SocketAddr::new(ip, ADMIN_PORT));
    match tokio::time::timeout(DEADLINE, asked).await {
        Ok(answer) => answer.map(|said| PodCount::new(said.connections, said.phase, said.redis)),
        Err(_) => Err(ScrapeError::Deadline),
    }
}

async fn ask(address: SocketAddr) -> Result<Answer, ScrapeError> {
    let socket = TcpStream::connect(address)
        .await
        .map_err(ScrapeError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .map_err(ScrapeError::Http)?;
    let request = Request::get("/status")
        .header("host", address.to_string())
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(ScrapeError::Request)?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(ScrapeError::Http)?;
        let body = Limited::new(response.into_body(), LONGEST)
            .collect()
            .await
            .map_err(ScrapeError::Body)?;
        serde_json::from_slice(&body.to_bytes()).map_err(ScrapeError::Shape)
    };
    // The connection makes progress only while it is polled; it needs no task of its own for one exchange.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => {
            ended.map_err(ScrapeError::Http)?;
            exchange.await
        }
    }
}
