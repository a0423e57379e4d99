//! The HTTP API on a socket of its own, with a client that knows the key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wsc_gateway::admission::Door;
use wsc_gateway::api::{MAX_CONNECTIONS, http_router, serve_http};
use wsc_gateway::telemetry::Instruments;

use super::service::{KEY, Recorder, context, rendered};

pub(crate) struct HttpApi {
    address: SocketAddr,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) cancel: CancellationToken,
    instruments: Instruments,
    server: JoinSet<()>,
    client: reqwest::Client,
}

impl HttpApi {
    pub(crate) async fn start() -> Self {
        Self::start_with(Some(KEY), Duration::from_secs(10)).await
    }

    pub(crate) async fn start_with(key: Option<&str>, deadline: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = Arc::new(Recorder::default());
        let context = context(&recorder, key, deadline);
        let instruments = context.instruments.clone();
        let cancel = CancellationToken::new();
        let mut server = JoinSet::new();
        server.spawn(serve_http(
            (listener, Door::new(MAX_CONNECTIONS)),
            http_router(context),
            None,
            cancel.clone(),
        ));
        Self {
            address,
            recorder,
            cancel,
            instruments,
            server,
            client: reqwest::Client::new(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, self.url(path))
            .header("x-api-key", KEY)
    }

    /// One call with a JSON body, or none.
    pub(crate) async fn call(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let mut request = self.request(method.clone(), path);
        if method == Method::POST {
            request = request
                .header("content-type", "application/json")
                .body(body.to_owned());
        }
        Self::answer(request).await
    }

    pub(crate) async fn answer(request: RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Sends bytes as they are and reads what comes back until the server has said something.
    pub(crate) async fn raw(&self, bytes: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse before it has read everything.
        let _ = socket.write_all(bytes.as_bytes()).await;
        let mut answer = vec![0; 1024];
        let n = socket.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..n]).into_owned()
    }

    pub(crate) fn metrics(&self) -> String {
        rendered(&self.instruments)
    }

    /// Waits until the server has ended by itself.
    pub(crate) async fn stopped(&mut self) {
        self.server.join_next().await.unwrap().unwrap();
    }
}
