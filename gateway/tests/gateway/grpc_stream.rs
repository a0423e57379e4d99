//! A client of a gRPC stream; what it sends and hears is JSON here.

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use wsc_proto::v1::sessions_client::SessionsClient;
use wsc_proto::v1::{ClientFrame, ServerFrame};

use crate::sandbox::{DEADLINE, Node};
use crate::wire::{from_proto, to_proto};

/// Frames that may wait to be sent.
const WAITING: usize = 1024;

pub struct GrpcStream {
    said: mpsc::Sender<ClientFrame>,
    heard: Streaming<ServerFrame>,
    pub welcome: Value,
    /// Frames of type `ping`, which nothing else sees.
    pub pings: usize,
}

impl GrpcStream {
    /// Connects with a token and takes the welcome.
    pub async fn connect(node: &Node, token: &str) -> Self {
        Self::resume(node, token, None).await
    }

    /// The same of a client that was here before.
    pub async fn resume(node: &Node, token: &str, resume: Option<&str>) -> Self {
        let authorization = format!("Bearer {token}");
        let mut metadata = vec![("authorization", authorization.as_str())];
        metadata.extend(resume.map(|resume| ("wsc-resume", resume)));
        let mut stream = Self::open(node, &metadata).await.unwrap();
        stream.welcome = stream.next().await;
        assert_eq!(stream.welcome["type"], "welcome", "{}", stream.welcome);
        stream
    }

    /// Opens a stream with this metadata and expects nothing.
    pub async fn open(node: &Node, metadata: &[(&'static str, &str)]) -> Result<Self, Status> {
        Self::over(channel(node).await, metadata).await
    }

    /// The same over a connection that is there.
    pub async fn over(channel: Channel, metadata: &[(&'static str, &str)]) -> Result<Self, Status> {
        let (said, frames) = mpsc::channel(WAITING);
        let frames = futures_util::stream::unfold(frames, |mut frames: mpsc::Receiver<_>| async {
            frames.recv().await.map(|frame| (frame, frames))
        });
        let mut request = Request::new(frames);
        for (name, value) in metadata {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let mut client = SessionsClient::new(channel).max_decoding_message_size(64 << 20);
        let opened = timeout(DEADLINE, client.open(request)).await;
        Ok(Self {
            said,
            heard: opened.expect("an answer in time")?.into_inner(),
            welcome: Value::Null,
            pings: 0,
        })
    }

    pub async fn send(&self, frame: Value) {
        self.send_frame(to_proto(&frame)).await;
    }

    pub async fn send_frame(&self, frame: ClientFrame) {
        let sent = timeout(DEADLINE, self.said.send(frame)).await;
        // An error means that the stream is over; its status says more.
        let _over = sent.expect("sends in time");
    }

    pub async fn say(&self, to: &str, content: &str) {
        self.send(json!({"type": "text", "to": to, "content": content}))
            .await;
    }

    /// The next frame but pings; the status at the end.
    pub async fn hear(&mut self) -> Result<Value, Status> {
        loop {
            let heard = timeout(DEADLINE, self.heard.message()).await;
            match heard.expect("something in time")? {
                Some(frame) if frame.r#type == "ping" => self.pings += 1,
                Some(frame) => return Ok(from_proto(frame)),
                None => {
                    let trailers = self.heard.trailers().await?.unwrap_or_default();
                    return Err(Status::with_metadata(tonic::Code::Ok, "", trailers));
                }
            }
        }
    }

    pub async fn next(&mut self) -> Value {
        self.hear().await.expect("a frame before the end")
    }

    /// Frames up to the end, and its status.
    pub async fn ended(&mut self) -> (Vec<Value>, Status) {
        let mut before = Vec::new();
        loop {
            match self.hear().await {
                Ok(frame) => before.push(frame),
                Err(status) => return (before, status),
            }
        }
    }

    /// Says no more; what is heard is left.
    pub fn goodbye(self) -> Streaming<ServerFrame> {
        self.heard
    }
}

/// The close code in a status.
pub fn code(status: &Status) -> u16 {
    word(status, "wsc-code").parse().unwrap_or_default()
}

/// A word in the metadata of a status.
pub fn word(status: &Status, name: &str) -> String {
    let value = status.metadata().get(name);
    value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

/// A connection of its own.
pub async fn channel(node: &Node) -> Channel {
    let endpoint = format!("http://{}", node.0.addresses().grpc);
    let endpoint = Endpoint::from_shared(endpoint).unwrap();
    endpoint.connect().await.unwrap()
}
