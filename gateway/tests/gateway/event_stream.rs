//! A client of Server-Sent Events on a plain socket, and the requests by which it speaks.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::sandbox::{DEADLINE, Node};

/// One event, or what there is instead of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub name: Option<String>,
    pub data: Value,
}

pub struct EventStream {
    socket: TcpStream,
    unread: Vec<u8>,
    /// What a browser would send as `Last-Event-ID`.
    pub last_id: Option<String>,
    pub retry: Option<u32>,
    pub comments: usize,
    pub head: String,
    pub welcome: Value,
}

impl EventStream {
    /// Connects with a token and takes the welcome.
    pub async fn connect(node: &Node, token: &str) -> Self {
        Self::resume(node, token, None).await
    }

    /// The same of a client that was here before.
    pub async fn resume(node: &Node, token: &str, last_id: Option<&str>) -> Self {
        let last_id = last_id.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let mut stream = Self::open(node, "GET /sse", token, &last_id).await;
        assert!(stream.head.starts_with("http/1.1 200"), "{}", stream.head);
        let welcome = stream.next().await;
        assert_eq!(welcome.name.as_deref(), Some("welcome"), "{welcome:?}");
        stream.welcome = welcome.data;
        stream
    }

    /// Sends a request with these header lines besides, and takes the head of its answer.
    pub async fn open(node: &Node, request: &str, token: &str, lines: &str) -> Self {
        let mut socket = TcpStream::connect(node.0.addresses().ws.unwrap())
            .await
            .unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: chat.example.com\r\nAuthorization: Bearer {token}\r\n{lines}\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut stream = Self {
            socket,
            unread: Vec::new(),
            last_id: None,
            retry: None,
            comments: 0,
            head: String::new(),
            welcome: Value::Null,
        };
        let head = stream.until(b"\r\n\r\n").await.expect("a head");
        stream.head = head.to_lowercase();
        stream
    }

    /// What comes up to these bytes, without them; nothing at the end.
    async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            let found = self.unread.windows(end.len()).position(|part| part == end);
            if let Some(at) = found {
                let text: Vec<u8> = self.unread.drain(..at + end.len()).take(at).collect();
                return Some(String::from_utf8(text).unwrap());
            }
            let read = timeout(DEADLINE, self.socket.read_buf(&mut self.unread));
            if read.await.expect("something in time").unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next event that has data; nothing at the end of the stream.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.until(b"\n\n").await?;
            let mut event = Event::default();
            let mut data = Vec::new();
            for line in block.lines() {
                match line.split_once(':').expect("a field").0 {
                    "" => self.comments += 1,
                    "id" => self.last_id = Some(line[4..].to_owned()),
                    "retry" => self.retry = line[7..].parse().ok(),
                    "event" => event.name = Some(line[7..].to_owned()),
                    "data" => data.push(&line[6..]),
                    other => panic!("field {other}"),
                }
                if line.starts_with("id:") {
                    event.id.clone_from(&self.last_id);
                }
            }
            if !data.is_empty() {
                event.data = serde_json::from_str(&data.join("\n")).unwrap();
                return Some(event);
            }
        }
    }

    pub async fn next(&mut self) -> Event {
        self.event().await.expect("an event before the end")
    }

    /// Frames up to the one that says goodbye, and its code; the stream ends with it.
    pub async fn closed(&mut self) -> (Vec<Value>, u16) {
        let mut before = Vec::new();
        loop {
            let event = self.next().await;
            if event.name.as_deref() == Some("close") {
                assert_eq!(self.event().await, None, "nothing after the last event");
                let code = event.data["data"]["code"].as_u64().unwrap();
                return (before, u16::try_from(code).unwrap());
            }
            before.push(event.data);
        }
    }

    /// Reads nothing more and keeps the socket open.
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }
}

/// Sends a frame by a request; the status and what was answered.
pub async fn post(node: &Node, token: &str, frame: impl Into<String>) -> (u16, Value) {
    post_to(&node.public("/sse/messages"), token, frame).await
}

/// The same by the address of the requests.
pub async fn post_to(url: &str, token: &str, frame: impl Into<String>) -> (u16, Value) {
    let request = reqwest::Client::new()
        .post(url)
        .bearer_auth(token)
        .body(frame.into());
    let response = timeout(DEADLINE, request.send())
        .await
        .expect("an answer in time")
        .unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}
