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
use super::problems::Problem;
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
    /// Absent from gateways of the release before.
    #[serde(default)]
    rebalance: Rebalance,
    /// What is wrong, a line each. Absent from gateways of the release before.
    #[serde(default)]
    problems: Vec<String>,
}

#[derive(Default, serde::Deserialize)]
struct Rebalance {
    surplus: i64,
}

/// Asks a pod.
pub(super) async fn status(pod: &PodView) -> Result<PodCount, ScrapeError> {
    let ip = pod.ip.ok_or(ScrapeError::NoAddress)?;
    status_at(SocketAddr::new(ip, ADMIN_PORT)).await
}

async fn status_at(address: SocketAddr) -> Result<PodCount, ScrapeError> {
    match tokio::time::timeout(DEADLINE, ask(address)).await {
        Ok(answer) => answer.map(|said| {
            let count = PodCount::new(said.connections, said.phase, said.redis);
            count
                .with_surplus(said.rebalance.surplus)
                .with_problems(Problem::all(&said.problems))
        }),
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A pod that answers one question with these bytes, and the operator's view of it.
    async fn answered(bytes: String) -> Result<PodCount, ScrapeError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pod = async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = socket.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /status HTTP/1.1\r\n"));
            // The operator may have hung up on too long an answer.
            let _ = socket.write_all(bytes.as_bytes()).await;
        };
        tokio::join!(status_at(address), pod).0
    }

    fn response(body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn a_gateways_answer_is_understood_and_unknown_fields_do_not_matter() {
        let body = r#"{"node":"chat-abc","epoch":17,"phase":"serving","connections":12,"users":10,
            "remaining":0,"redis":"up","peers":["chat-def"]}"#;
        let count = answered(response(body)).await.unwrap();
        assert_eq!(count, PodCount::new(12, Phase::Serving, RedisLink::Up));
        let body = r#"{"phase":"serving","connections":12,"redis":"up",
            "rebalance":{"surplus":3,"remaining":1,"moved":0}}"#;
        let count = answered(response(body)).await.unwrap();
        let expected = PodCount::new(12, Phase::Serving, RedisLink::Up);
        assert_eq!(count, expected.with_surplus(3));
        let body =
            r#"{"phase":"serving","connections":12,"redis":"up","problems":["tokens: no keys"]}"#;
        let count = answered(response(body)).await.unwrap();
        let expected = PodCount::new(12, Phase::Serving, RedisLink::Up);
        let problems = Problem::all(&["tokens: no keys".to_owned()]);
        assert_eq!(count, expected.with_problems(problems));
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error_and_never_read_without_end() {
        let other = answered(response("hello")).await;
        assert!(matches!(other, Err(ScrapeError::Shape(_))));
        let long = answered(response(&" ".repeat(LONGEST + 1))).await;
        assert!(matches!(long, Err(ScrapeError::Body(_))));
        let closed = answered(String::new()).await;
        assert!(matches!(closed, Err(ScrapeError::Http(_))));
    }
}
