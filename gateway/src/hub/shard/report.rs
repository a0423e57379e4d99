//! `Report`: who wants to know what became of a message of a session: its sender, and the application.
//!
//! Made when the message goes on its way, called once, on whatever thread finds out. The application hears `message.sent` of
//! what was accepted and of nothing else.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use crate::cluster::{ClusterError, ForwardReport};
use crate::delivery;
use crate::hub::{Hub, Question, SessionKey, ShardId};
use crate::protocol::json::Refusal;
use crate::protocol::{ErrorCode, Told, UserId};
use crate::service::{Client, Fault, Sent, Service};
use crate::transport::{Connection, extended};

/// See the module.
pub(super) struct Report {
    hub: Arc<Hub>,
    service: Arc<Service>,
    shard: ShardId,
    connection: SessionKey,
    ref_id: Option<String>,
    /// Open until this is dropped.
    question: Option<Arc<Question>>,
    /// What the application is told once it is accepted, if it wants to be.
    sent: Option<Sent>,
    /// Whose message it is, if the application wants to know what goes wrong.
    client: Option<Client>,
}

impl Report {
    /// About a message of this connection, which has this id. `ref_id`: how its sender knows it.
    pub(super) fn new(
        shard: &Shard,
        connection: &Connection,
        ref_id: Option<String>,
        (id, json): (&str, &Bytes),
    ) -> Self {
        let service = Arc::clone(&shard.context.service);
        let hears_faults = service.hears_faults();
        Self {
            hub: Arc::clone(&shard.context.hub),
            shard: shard.id,
            connection: connection.key(),
            ref_id,
            question: connection.question(),
            sent: shard.notice(connection, (id, json)),
            client: connection.client().filter(|_| hears_faults).cloned(),
            service,
        }
    }

    /// It is on its way, for good.
    pub(super) fn accepted(mut self) {
        self.tell_application();
    }

    /// Handed to so many sessions of its recipient, and there are no other nodes.
    pub(super) fn reached(self, local: usize, user: &UserId) {
        if local > 0 {
            return self.accepted();
        }
        let (code, message) = offline(user);
        self.tell(code, message);
    }

    /// Tells the sender that its message was stored, if it has a name for it, or that it was not.
    pub(super) fn when_stored(mut self) -> delivery::Report {
        Box::new(move |outcome| match outcome {
            Ok(accepted) => {
                // Of a repetition the application has heard.
                if !accepted.repeated {
                    self.tell_application();
                }
                if let Some(id) = &self.ref_id {
                    let receipt = accepted.receipt(id);
                    self.hub.inform(self.shard, self.connection, receipt);
                }
            }
            Err(error) => {
                let (code, message) = unreached(&error, "the message was not stored");
                self.tell(code, message);
            }
        })
    }

    /// Tells the sender if nobody was reached. `local`: the recipient's sessions here.
    pub(super) fn when_reached(self, local: usize, user: UserId) -> ForwardReport {
        Box::new(move |outcome| {
            let (code, message) = match outcome {
                // Reached here: sessions elsewhere are a bonus that at-most-once delivery does not promise.
                _ if local > 0 => return self.accepted(),
                Ok(nodes) if nodes.iter().any(|count| *count > 0) => return self.accepted(),
                Ok(_) => offline(&user),
                Err(error) => unreached(
                    &error,
                    "the recipient is not on this node, and others were not reached",
                ),
            };
            self.tell(code, message);
        })
    }

    /// Tells the sender if other nodes were not reached.
    pub(super) fn when_forwarded(self, what: &'static str) -> ForwardReport {
        Box::new(move |outcome| match outcome {
            Ok(_) => self.accepted(),
            Err(error) => {
                let (code, message) = unreached(&error, what);
                self.tell(code, message);
            }
        })
    }

    fn tell_application(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.service.message_sent(sent);
        }
    }

    /// Tells the sender that it was not to be, and why.
    fn tell(self, code: ErrorCode, message: String) {
        let refusal = Refusal {
            code,
            message,
            ref_id: self.ref_id,
        };
        if self.service.hears_faults() {
            self.service.fault(Fault::refused(&refusal, self.client));
        }
        self.hub.tell(self.shard, self.connection, refusal);
        drop(self.question);
    }
}

impl Shard {
    /// What the application is to be told of a message once it is accepted.
    pub(crate) fn notice(
        &self,
        connection: &Connection,
        (id, json): (&str, &Bytes),
    ) -> Option<Sent> {
        if !self.context.service.hears_sent() {
            return None;
        }
        Some(Sent {
            client: extended::client_of(self, connection)?.clone(),
            id: id.to_owned(),
            json: json.clone(),
        })
    }

    /// A client is told that something was not done: counted, and told to whoever wants to know what goes wrong.
    pub(crate) fn refused(&self, connection: &Connection, refusal: &Refusal) {
        self.count(|stats| stats.count_error(refusal.code));
        let service = &self.context.service;
        if service.hears_faults() {
            service.fault(Fault::refused(refusal, connection.client().cloned()));
        }
    }
}

impl Hub {
    /// Tells a session of some shard that its message failed. Lost when the shard's queue is full; counted all the same.
    fn tell(&self, shard: ShardId, session: SessionKey, refusal: Refusal) {
        if let Some(handle) = self.shards().get(usize::from(shard)) {
            handle.stats().count_error(refusal.code);
        }
        self.inform(shard, session, Told::Error(refusal));
    }
}

fn offline(user: &UserId) -> (ErrorCode, String) {
    (
        ErrorCode::Offline,
        format!("to: {user} has no session anywhere"),
    )
}

fn unreached(error: &ClusterError, what: &str) -> (ErrorCode, String) {
    let code = match error {
        ClusterError::Busy => ErrorCode::Busy,
        _ => ErrorCode::Unavailable,
    };
    (code, format!("{what}: {error}"))
}
