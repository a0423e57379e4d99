//! `tail` over a stream of gRPC.

use futures_util::future::BoxFuture;
use futures_util::stream;
use hyper::Uri;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Endpoint as Channel;
use tonic::{Code, Request, Status, Streaming};
use tower::service_fn;
use wsc_proto::v1::sessions_client::SessionsClient;
use wsc_proto::v1::{ClientFrame, ServerFrame};

use super::session::{Ended, Opening};
use super::wire::{Heard, Wire};
use crate::Failure;
use crate::output::printable;

/// The largest frame.
const LARGEST: usize = 64 << 20;

/// A stream that was let in.
pub(super) struct Grpc(Streaming<ServerFrame>);

impl Grpc {
    pub(super) async fn open(opening: &Opening<'_>) -> Result<Self, Ended> {
        let endpoint = opening.endpoint.clone();
        let unreachable = |error| Ended::come_back(opening.endpoint.unreachable(error));
        let dial = service_fn(move |_: Uri| {
            let endpoint = endpoint.clone();
            async move { endpoint.connect().await.map(TokioIo::new) }
        });
        // TLS is the endpoint's own business: to tonic it is a stream of bytes.
        let uri = format!("http://{}", opening.endpoint.authority());
        let channel = Channel::from_shared(uri)
            .map_err(|error| Ended::Stay(Failure::Usage(error.to_string())))?;
        let channel = channel.connect_with_connector(dial).await;
        let channel = channel.map_err(unreachable)?;
        // Nothing is said, and the call must not end by that.
        let mut request = Request::new(stream::pending::<ClientFrame>());
        let metadata = [
            ("authorization", opening.bearer()),
            ("wsc-resume", opening.resume()),
        ];
        for (name, value) in metadata {
            if let Some(value) = value {
                let value = AsciiMetadataValue::try_from(value);
                let value =
                    value.map_err(|error| Ended::Stay(Failure::Usage(error.to_string())))?;
                request.metadata_mut().insert(name, value);
            }
        }
        let mut client = SessionsClient::new(channel).max_decoding_message_size(LARGEST);
        let opened = client.open(request).await;
        Ok(Self(
            opened.map_err(|status| refused(&status))?.into_inner(),
        ))
    }
}

impl Wire for Grpc {
    fn hear(&mut self) -> BoxFuture<'_, Heard> {
        Box::pin(async {
            match self.0.message().await {
                Ok(Some(frame)) if frame.r#type == "ping" => Heard::Life,
                Ok(Some(frame)) => Heard::Frame(Value::from(json(frame)).to_string()),
                Ok(None) => match self.0.trailers().await {
                    Ok(trailers) => ended(&Status::with_metadata(
                        Code::Ok,
                        "",
                        trailers.unwrap_or_default(),
                    )),
                    Err(status) => ended(&status),
                },
                Err(status) => ended(&status),
            }
        })
    }

    fn farewell(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn word<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    status.metadata().get(name)?.to_str().ok()
}

fn ended(status: &Status) -> Heard {
    let code = word(status, "wsc-code").and_then(|code| code.parse().ok());
    match code {
        Some(code) => {
            let reason = word(status, "wsc-reason").unwrap_or_default();
            Heard::Closed(code, reason.to_owned())
        }
        None => Heard::Broken(format!("the stream ended: {}", status.message())),
    }
}

/// A call that opened no session, by the statuses of docs/protocol.md.
fn refused(status: &Status) -> Ended {
    let why = printable(&format!(
        "refused with {:?}: {}",
        status.code(),
        status.message()
    ));
    match status.code() {
        Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded => {
            Ended::come_back_after(why, word(status, "retry-after"))
        }
        Code::Unauthenticated | Code::PermissionDenied => Ended::Stay(Failure::Refused(why)),
        Code::NotFound | Code::Unimplemented => Ended::Stay(Failure::NotFound(why)),
        _ => Ended::Stay(Failure::Failed(why)),
    }
}

/// The frame as `wsc.v1.json` has it.
fn json(frame: ServerFrame) -> Map<String, Value> {
    let mut object = Map::new();
    let text = |text: Option<String>| text.map(Value::from);
    let number = |number: Option<u64>| number.map(Value::from);
    let raw = |raw: Option<Vec<u8>>| raw.and_then(|raw| serde_json::from_slice(&raw).ok());
    let fields = [
        ("type", Some(Value::from(frame.r#type))),
        ("id", text(frame.id)),
        ("from", text(frame.from)),
        ("from_type", text(frame.from_type)),
        ("to", text(frame.to)),
        ("group", text(frame.group)),
        ("ticket_id", text(frame.ticket_id)),
        ("broadcast", frame.broadcast.map(Value::from)),
        ("content", raw(frame.content)),
        ("data", raw(frame.data)),
        ("reply_to", text(frame.reply_to)),
        ("ref", text(frame.r#ref)),
        ("code", text(frame.code)),
        ("message", text(frame.message)),
        ("seq", number(frame.seq)),
        ("create_at", number(frame.create_at)),
        ("pos", text(frame.pos)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    }
    if let Some(Value::Object(extra)) = raw(frame.extra) {
        object.extend(extra);
    }
    object
}
