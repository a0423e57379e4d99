//! A WebSocket client as an application would write one.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::sandbox::DEADLINE;

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub welcome: Value,
    /// Frames that came while another was waited for.
    pub passed: Vec<Value>,
}

impl Client {
    /// Connects with a token and takes the welcome frame.
    pub async fn connect(url: &str, token: &str) -> Result<Self, Error> {
        let mut client = Self::open(url, &[("authorization", &format!("Bearer {token}"))]).await?;
        client.welcome = client.next().await;
        assert_eq!(client.welcome["type"], "welcome", "{}", client.welcome);
        Ok(client)
    }

    /// Connects with these headers and expects nothing.
    pub async fn open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = url.into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = timeout(DEADLINE, connect_async(request))
            .await
            .expect("connects in time")?;
        Ok(Self {
            socket,
            welcome: Value::Null,
            passed: Vec::new(),
        })
    }

    pub fn node(&self) -> &str {
        self.welcome["data"]["node"].as_str().unwrap()
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_raw(Message::text(frame.to_string())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        timeout(DEADLINE, self.socket.send(message))
            .await
            .expect("sends in time")
            .unwrap();
    }

    /// Puts a frame in the buffer without sending it.
    pub async fn feed(&mut self, frame: Value) {
        self.socket
            .feed(Message::text(frame.to_string()))
            .await
            .unwrap();
    }

    pub async fn flush(&mut self) {
        self.socket.flush().await.unwrap();
    }

    pub async fn say(&mut self, to: &str, content: &str) {
        self.send(json!({"type": "text", "to": to, "content": content}))
            .await;
    }

    /// The next frame that is not a ping; fails on anything but JSON text.
    pub async fn next(&mut self) -> Value {
        match self.next_raw().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a text frame, got {other:?}"),
        }
    }

    pub async fn next_raw(&mut self) -> Message {
        loop {
            let next = timeout(DEADLINE, self.socket.next())
                .await
                .expect("a frame in time");
            match next.expect("a frame before the end").unwrap() {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    }

    /// The next text frame, for which one may have to wait longer than usual.
    pub async fn next_late(&mut self, patience: std::time::Duration) -> Value {
        loop {
            let next = timeout(patience, self.socket.next()).await;
            match next
                .expect("a frame in time")
                .expect("a frame before the end")
            {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// What comes next, however long it takes; nothing at the end.
    pub async fn next_unhurried(&mut self) -> Option<Message> {
        self.socket.next().await?.ok()
    }

    /// The content of the next message.
    pub async fn hear(&mut self) -> String {
        let frame = self.next().await;
        frame["content"]
            .as_str()
            .unwrap_or_else(|| panic!("no content in {frame}"))
            .to_owned()
    }

    /// Reads to the close frame: frames before it, and its code.
    pub async fn closed(&mut self) -> (Vec<Value>, u16) {
        let mut before = Vec::new();
        loop {
            let next = timeout(DEADLINE, self.socket.next())
                .await
                .expect("closed in time");
            match next {
                Some(Ok(Message::Text(text))) => before.push(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return (before, frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("no close frame, but {error}"),
                None => panic!("no close frame, but the end"),
            }
        }
    }

    pub fn from_socket(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self {
            socket,
            welcome: Value::Null,
            passed: Vec::new(),
        }
    }

    /// Reads nothing more and keeps the socket open.
    pub fn into_inner(self) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        self.socket
    }
}
