//! What extensions see of a message: an owned copy of what the client asked for, and what is to become of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Client;
use crate::protocol::{MessageBody, Priority, Target};

/// A client's message before it goes anywhere. Interceptors may change any of it; who sent it they may not.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The message's type.
    pub kind: String,
    /// The sender's own id, if it gave one.
    pub id: Option<String>,
    /// Where it goes; [`Target::Application`]: to the extensions alone.
    pub target: Target,
    /// Any JSON.
    pub content: Option<Box<RawValue>>,
    /// A JSON object.
    pub data: Option<Box<RawValue>>,
    /// How urgent.
    pub priority: Priority,
    /// The id of the message this one answers.
    pub reply_to: Option<String>,
    /// Whether its recipient is to acknowledge it.
    pub require_ack: bool,
    /// Whether it is to be stored; `None`: as its target and type usually are.
    pub durable: Option<bool>,
}

impl Incoming {
    /// Copies what was borrowed from the frame.
    pub fn of(target: Target, body: &MessageBody<'_>) -> Self {
        Self {
            kind: body.kind.to_owned(),
            id: body.id.map(str::to_owned),
            target,
            content: body.content.map(ToOwned::to_owned),
            data: body.data.map(ToOwned::to_owned),
            priority: body.priority,
            reply_to: body.reply_to.map(str::to_owned),
            require_ack: body.require_ack,
            durable: body.durable,
        }
    }

    /// The payload as the rest of the gateway takes it.
    pub fn body(&self) -> MessageBody<'_> {
        MessageBody {
            kind: &self.kind,
            id: self.id.as_deref(),
            content: self.content.as_deref(),
            data: self.data.as_deref(),
            priority: self.priority,
            reply_to: self.reply_to.as_deref(),
            durable: self.durable,
            require_ack: self.require_ack,
        }
    }

    /// The content, when it is a JSON string.
    pub fn text(&self) -> Option<String> {
        let content = self.content.as_ref()?;
        serde_json::from_str(content.get()).ok()
    }
}

/// A message from the application back to the sender of the one it answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Box<RawValue>>,
    /// A JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl Answer {
    /// A message whose content is this text.
    pub fn text(kind: &str, content: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            // A string is always JSON.
            content: serde_json::value::to_raw_value(content).ok(),
            data: None,
        }
    }
}

/// What is to become of a message that no extension refused.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It goes on its way, as it is now.
    Send(Box<Incoming>),
    /// It goes nowhere; its sender gets this instead.
    Answer(Answer),
    /// It goes nowhere, and nobody is told.
    Swallow,
}

/// A client's message that was accepted: stored, or handed to whoever is there.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Who sent it.
    pub client: Client,
    /// The id it is known by.
    pub id: String,
    /// The message as the JSON codec wrote it.
    pub json: Bytes,
}
