//! `Speaker`: a client of one transport, as the one suite of behaviours sees it. What it says and hears is JSON here,
//! whatever is on the wire.

use std::any::Any;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;
use wsc_gateway::security::Scopes;
use wsc_proto::v1::ClientFrame;
use wsc_wire::Opcode;

use crate::event_stream::{EventStream, post_to};
use crate::grpc_stream::{GrpcStream, code, word};
use crate::sandbox::{Node, token_for};
use crate::wire::{Form, Heard, Wire};

/// See the module.
pub(crate) trait Speaker: Sized + Send {
    /// What a node needs for it.
    const SETS: &[&str];
    /// What a frame over the limit is refused with.
    const TOO_LARGE: u16;

    /// Connects and takes the welcome; the HTTP status of a refusal, or what it would be.
    async fn enter(node: &Node, token: &str, resume: Option<&Value>) -> Result<Self, u16>;

    /// The welcome.
    fn welcome(&self) -> &Value;

    /// Says this.
    async fn send(&mut self, frame: Value);

    /// Says what is no frame at all.
    async fn babble(&mut self);

    /// Says a frame over the limit, and with what that is refused.
    async fn shout(self, frame: Value) -> u16;

    /// The next frame.
    async fn next(&mut self) -> Value;

    /// Frames up to the end, and its close code.
    async fn closed(&mut self) -> (Vec<Value>, u16);

    /// Reads nothing more and stays connected as long as this is kept.
    fn freeze(self) -> Box<dyn Any + Send>;

    /// A session that nothing stands in the way of.
    async fn of(node: &Node, user: &str, scopes: Scopes) -> Self {
        let token = token_for(user, scopes, Duration::from_mins(15));
        let entered = Self::enter(node, &token, None).await;
        entered.unwrap_or_else(|status| panic!("refused with {status}"))
    }

    /// A message to somebody.
    async fn say(&mut self, to: &str, content: &str) {
        self.send(json!({"type": "text", "to": to, "content": content}))
            .await;
    }

    /// The next frame of this type; others are passed over.
    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }
}

/// A form of frames over WebSocket.
pub(crate) trait Spoken: Send {
    const FORM: Form;
    const SETS: &[&str] = &[];
}

pub(crate) struct Json;
pub(crate) struct Proto;
pub(crate) struct Deflated;
pub(crate) struct DeflatedProto;

impl Spoken for Json {
    const FORM: Form = Form::Json;
}

impl Spoken for Proto {
    const FORM: Form = Form::Proto;
}

impl Spoken for Deflated {
    const FORM: Form = Form::Deflated;
    const SETS: &[&str] = &["wsc.performance.enableCompression=true"];
}

impl Spoken for DeflatedProto {
    const FORM: Form = Form::DeflatedProto;
    const SETS: &[&str] = &["wsc.performance.enableCompression=true"];
}

/// A WebSocket.
pub(crate) struct Ws<F>(Wire, PhantomData<F>);

impl<F: Spoken> Speaker for Ws<F> {
    const SETS: &[&str] = F::SETS;
    const TOO_LARGE: u16 = 1009;

    async fn enter(node: &Node, token: &str, resume: Option<&Value>) -> Result<Self, u16> {
        let mut wire = Wire::knock(node, F::FORM, token, resume).await;
        let status = wire.head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 101 {
            return Err(status);
        }
        match wire.hear().await {
            Heard::Frame(welcome) if welcome["type"] == "welcome" => wire.welcome = welcome,
            other => panic!("no welcome, but {other:?}"),
        }
        Ok(Self(wire, PhantomData))
    }

    fn welcome(&self) -> &Value {
        &self.0.welcome
    }

    async fn send(&mut self, frame: Value) {
        self.0.send(frame).await;
    }

    async fn babble(&mut self) {
        self.0.send_payload(Opcode::Text, b"[").await;
        assert_eq!(self.next().await["code"], "bad_frame");
        self.0.send_payload(Opcode::Binary, &[0xff]).await;
    }

    async fn shout(mut self, frame: Value) -> u16 {
        self.send(frame).await;
        self.closed().await.1
    }

    async fn next(&mut self) -> Value {
        self.0.next().await
    }

    async fn closed(&mut self) -> (Vec<Value>, u16) {
        self.0.closed().await
    }

    fn freeze(self) -> Box<dyn Any + Send> {
        Box::new(self.0.into_socket())
    }
}

/// An event stream, and requests beside it.
pub(crate) struct Sse {
    stream: EventStream,
    /// What requests were answered with and nobody has heard yet.
    answers: VecDeque<Value>,
    messages: String,
    token: String,
}

impl Sse {
    async fn post(&mut self, body: String) -> u16 {
        let (status, answer) = post_to(&self.messages, &self.token, body).await;
        if !answer.is_null() {
            self.answers.push_back(answer);
        }
        status
    }
}

impl Speaker for Sse {
    const SETS: &[&str] = &[];
    const TOO_LARGE: u16 = 413;

    async fn enter(node: &Node, token: &str, resume: Option<&Value>) -> Result<Self, u16> {
        let lines = resume.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let mut stream = EventStream::open(node, "GET /sse", token, &lines).await;
        let status = stream.head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 200 {
            return Err(status);
        }
        let welcome = stream.next().await;
        assert_eq!(welcome.name.as_deref(), Some("welcome"), "{welcome:?}");
        stream.welcome = welcome.data;
        Ok(Self {
            stream,
            answers: VecDeque::new(),
            messages: node.public("/sse/messages"),
            token: token.to_owned(),
        })
    }

    fn welcome(&self) -> &Value {
        &self.stream.welcome
    }

    async fn send(&mut self, frame: Value) {
        self.post(frame.to_string()).await;
    }

    async fn babble(&mut self) {
        self.post("[".to_owned()).await;
    }

    async fn shout(mut self, frame: Value) -> u16 {
        self.post(frame.to_string()).await
    }

    async fn next(&mut self) -> Value {
        match self.answers.pop_front() {
            Some(answer) => answer,
            None => self.stream.next().await.data,
        }
    }

    async fn closed(&mut self) -> (Vec<Value>, u16) {
        self.stream.closed().await
    }

    fn freeze(self) -> Box<dyn Any + Send> {
        Box::new(self.stream.into_socket())
    }
}

/// A stream of gRPC.
pub(crate) struct Grpc(GrpcStream);

impl Speaker for Grpc {
    const SETS: &[&str] = &[];
    const TOO_LARGE: u16 = 1009;

    async fn enter(node: &Node, token: &str, resume: Option<&Value>) -> Result<Self, u16> {
        let authorization = format!("Bearer {token}");
        let resume = resume.map(ToString::to_string);
        let mut metadata = vec![("authorization", authorization.as_str())];
        metadata.extend(resume.as_deref().map(|resume| ("wsc-resume", resume)));
        let opened = GrpcStream::open(node, &metadata).await;
        let mut stream = opened.map_err(|status| match status.code() {
            Code::Unauthenticated => 401_u16,
            Code::PermissionDenied => 403,
            Code::ResourceExhausted => 429,
            Code::Unavailable => 503,
            other => panic!("{other:?}: {status}"),
        })?;
        stream.welcome = stream.next().await;
        assert_eq!(stream.welcome["type"], "welcome", "{}", stream.welcome);
        Ok(Self(stream))
    }

    fn welcome(&self) -> &Value {
        &self.0.welcome
    }

    async fn send(&mut self, frame: Value) {
        self.0.send(frame).await;
    }

    async fn babble(&mut self) {
        let broken = ClientFrame {
            r#type: "text".to_owned(),
            content: Some(b"[".to_vec()),
            ..ClientFrame::default()
        };
        self.0.send_frame(broken).await;
    }

    async fn shout(mut self, frame: Value) -> u16 {
        self.send(frame).await;
        self.closed().await.1
    }

    async fn next(&mut self) -> Value {
        self.0.next().await
    }

    async fn closed(&mut self) -> (Vec<Value>, u16) {
        let (before, status) = self.0.ended().await;
        let told = word(&status, "wsc-reconnect");
        assert!(["true", "false"].contains(&told.as_str()), "{status:?}");
        (before, code(&status))
    }

    fn freeze(self) -> Box<dyn Any + Send> {
        Box::new(self.0)
    }
}
