//! A message from a session of this shard to wherever it goes: own sessions at once, other shards by a command, other
//! nodes through the cluster.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Shard, ShardContext, unix_millis};
use crate::cluster::{Cluster, ClusterError, Forward, ForwardReport};
use crate::delivery::{self, Route, Submission};
use crate::hub::outgoing::Local;
use crate::hub::{Command, Hub, Outgoing, Question, Recipients, SessionKey, ShardId};
use crate::log::Append;
use crate::protocol::json::{self, Refusal};
use crate::protocol::{
    ErrorCode, GroupId, LogId, Message, MessageBody, Parcel, Parent, Sender, Target, Told,
    TraceContext, UserId,
};
use crate::service::Sent;
use crate::telemetry::traces::{Kind, Span};
use crate::transport::{Connection, Held, extended};

/// What could not be handed on without waiting. Once something is here, what follows joins it: order is kept.
#[derive(Default)]
pub struct Later {
    posts: Vec<(ShardId, Command)>,
    forwards: Vec<Forward>,
    submissions: Vec<(Submission, Option<TraceContext>)>,
    held: Held,
}

impl Later {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.posts.is_empty()
            && self.forwards.is_empty()
            && self.submissions.is_empty()
            && self.held.is_empty()
    }

    /// Whether frames wait that whatever comes now must wait behind.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Has a frame wait.
    pub fn hold(&mut self, text: &str) {
        self.held.push(text);
    }

    /// The frame that waited longest.
    pub fn next_held(&mut self) -> Option<String> {
        self.held.pop()
    }

    /// Hands everything on that is for others. The sender is not read from meanwhile; what finds no room to other nodes
    /// in all that time is reported as failed.
    pub async fn hand_over(&mut self, context: &ShardContext) {
        let deadline = Instant::now() + Cluster::PATIENCE;
        for (shard, command) in self.posts.drain(..) {
            context.hub.post(shard, command).await;
        }
        for forward in self.forwards.drain(..) {
            context.cluster.forward_by(forward, deadline).await;
        }
        for (submission, trace) in self.submissions.drain(..) {
            let stored = context.delivery.submit_as(submission, trace, deadline);
            stored.await;
        }
        // An idle connection keeps no room for what it once had to wait for.
        self.posts = Vec::new();
        self.forwards = Vec::new();
        self.submissions = Vec::new();
    }

    fn post(&mut self, hub: &Hub, shard: ShardId, command: Command) {
        if !self.posts.is_empty() {
            self.posts.push((shard, command));
        } else if let Err(command) = hub.try_post(shard, command) {
            self.posts.push((shard, command));
        }
    }
}

impl Shard {
    /// Sends a session's message on its way. `size` is that of the frame it came in.
    pub fn publish(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        (target, body): (&Target, MessageBody<'_>),
        size: usize,
        later: &mut Later,
    ) {
        let Some(session) = connection.session() else {
            return;
        };
        self.count(|stats| {
            stats.messages_received.fetch_add(1, Relaxed);
            stats.bytes_received.fetch_add(size as u64, Relaxed);
        });
        let tracer = self.context.instruments.tracer();
        // Clients do not decide what is traced.
        let span = tracer.enter("wsc.frame", Kind::Server, Parent::Undecided);
        let trace = span.as_ref().map(Span::context);
        let own_id = body.id.is_none().then(|| Uuid::now_v7().to_string());
        let is_own = body.id.is_some();
        let identity = session.identity();
        let sender = Sender {
            id: identity.user.as_str(),
            kind: &identity.user_type,
            seq: connection.next_seq(),
        };
        let id = body.id.or(own_id.as_deref()).unwrap_or_default();
        let question = connection.question();
        // Whoever asks in a request of its own is told the id that was made for the message.
        let ref_id = (is_own || question.is_some()).then(|| id.to_owned());
        let message = Message {
            target,
            sender,
            id,
            create_at: unix_millis(),
            body,
        };
        let json = self.written(|out| json::write_message(&message, out));
        self.message_sent(connection, (id, &json));
        let body = &message.body;
        if self.settings().keeps(target, body.kind, body.durable)
            && let Some((log, route)) = destination(target)
        {
            let append = Append {
                id: id.to_owned(),
                sender: identity.user.to_string(),
                own_id: is_own,
                json,
                at: message.create_at,
                ack: body.require_ack,
            };
            let report = Report {
                shard: self.id,
                connection: connection.key(),
                ref_id,
                question,
            };
            let report = self.receipt(report);
            let submission = Submission {
                log,
                route,
                append,
                report,
                forwarded: None,
            };
            return later.submissions.push((submission, trace));
        }
        let outgoing = Outgoing::new(Parcel {
            trace,
            ..Parcel::from(json)
        });
        let report = Report {
            shard: self.id,
            connection: connection.key(),
            ref_id,
            question,
        };
        match target {
            Target::User(user) => self.publish_to_user(user, &outgoing, report, later),
            Target::Group(group) => self.publish_to_group(group, &outgoing, report, later),
            Target::Broadcast => self.publish_to_all(&outgoing, report, later),
            // Refused when the session decided: nothing to be done with them yet.
            Target::Ticket(_) | Target::Application => {}
        }
    }

    /// Lets the application know of a message that goes on its way now.
    pub fn message_sent(&self, connection: &Connection, (id, json): (&str, &Bytes)) {
        if self.context.service.hears_sent()
            && let Some(client) = extended::client_of(self, connection)
        {
            self.context.service.message_sent(Sent {
                client: client.clone(),
                id: id.to_owned(),
                json: json.clone(),
            });
        }
    }

    fn publish_to_user(
        self: &Rc<Self>,
        user: &UserId,
        outgoing: &Outgoing,
        report: Report,
        later: &mut Later,
    ) {
        let hub = &self.context.hub;
        let (shards, local) = hub.users().find(user);
        for shard in shards.iter() {
            if shard == self.id {
                self.deliver_user(user, &Local::new(outgoing));
            } else {
                let to = Recipients::User(user.clone());
                later.post(
                    hub,
                    shard,
                    Command::Deliver {
                        to,
                        message: outgoing.clone(),
                    },
                );
            }
        }
        if self.context.cluster.is_alone() {
            return if local == 0 {
                let (code, message) = offline(user);
                report.tell(hub, code, message);
            };
        }
        let report = self.report(report, local, user.clone());
        later.forwards.push(Forward::Users {
            users: vec![user.clone()],
            parcel: outgoing.parcel().clone(),
            report,
        });
    }

    fn publish_to_group(
        self: &Rc<Self>,
        group: &GroupId,
        outgoing: &Outgoing,
        report: Report,
        later: &mut Later,
    ) {
        let hub = &self.context.hub;
        let (shards, _) = hub.groups().index().find(group, None);
        for shard in shards.iter() {
            if shard == self.id {
                self.deliver_group(group, &Local::new(outgoing));
            } else {
                let to = Recipients::Group(group.clone());
                let message = outgoing.clone();
                later.post(hub, shard, Command::Deliver { to, message });
            }
        }
        if self.context.cluster.is_alone() {
            return;
        }
        later.forwards.push(Forward::Group {
            group: group.clone(),
            parcel: outgoing.parcel().clone(),
            report: self.report_failure(report, "other nodes did not get the message"),
        });
    }

    fn publish_to_all(self: &Rc<Self>, outgoing: &Outgoing, report: Report, later: &mut Later) {
        let hub = &self.context.hub;
        self.deliver_all(&Local::new(outgoing));
        for shard in (0..)
            .take(hub.shards().len())
            .filter(|shard| *shard != self.id)
        {
            later.post(
                hub,
                shard,
                Command::Deliver {
                    to: Recipients::All,
                    message: outgoing.clone(),
                },
            );
        }
        if self.context.cluster.is_alone() {
            return;
        }
        later.forwards.push(Forward::Broadcast {
            parcel: outgoing.parcel().clone(),
            report: self.report_failure(report, "other nodes did not get the broadcast"),
        });
    }

    /// Tells the sender if other nodes were not reached.
    fn report_failure(&self, report: Report, what: &'static str) -> ForwardReport {
        let hub = std::sync::Arc::clone(&self.context.hub);
        Box::new(move |outcome| {
            if let Err(error) = outcome {
                let (code, message) = unreached(&error, what);
                report.tell(&hub, code, message);
            }
        })
    }

    /// Tells the sender that its message was stored, if it has a name for it, or that it was not.
    fn receipt(&self, report: Report) -> delivery::Report {
        let hub = std::sync::Arc::clone(&self.context.hub);
        Box::new(move |outcome| match (outcome, &report.ref_id) {
            (Ok(accepted), Some(id)) => {
                hub.inform(report.shard, report.connection, accepted.receipt(id));
            }
            (Ok(_), None) => {}
            (Err(error), _) => {
                let (code, message) = unreached(&error, "the message was not stored");
                report.tell(&hub, code, message);
            }
        })
    }

    fn report(&self, report: Report, local: usize, user: UserId) -> ForwardReport {
        let hub = std::sync::Arc::clone(&self.context.hub);
        Box::new(move |outcome| {
            let (code, message) = match outcome {
                // Reached here: sessions elsewhere are a bonus that at-most-once delivery does not promise.
                _ if local > 0 => return,
                Ok(nodes) if nodes.iter().any(|count| *count > 0) => return,
                Ok(_) => offline(&user),
                Err(error) => unreached(
                    &error,
                    "the recipient is not on this node, and others were not reached",
                ),
            };
            report.tell(&hub, code, message);
        })
    }
}

/// Who wants to know what became of a message.
struct Report {
    shard: ShardId,
    connection: SessionKey,
    ref_id: Option<String>,
    /// Open until this is dropped.
    question: Option<std::sync::Arc<Question>>,
}

impl Report {
    /// Tells the sender that it was not to be, and why.
    fn tell(self, hub: &Hub, code: ErrorCode, message: String) {
        let refusal = Refusal {
            code,
            message,
            ref_id: self.ref_id,
        };
        hub.tell(self.shard, self.connection, refusal);
        drop(self.question);
    }
}

/// The log of a target and who is to get it at once.
fn destination(target: &Target) -> Option<(LogId, Route)> {
    match target {
        Target::User(user) => Some((LogId::Inbox(user.clone()), Route::Users(vec![user.clone()]))),
        Target::Group(group) => Some((LogId::Group(group.clone()), Route::Group(group.clone()))),
        Target::Broadcast => Some((LogId::Broadcast, Route::All)),
        // Refused when the session decided: nothing to be done with them yet.
        Target::Ticket(_) | Target::Application => None,
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

impl Hub {
    /// Tells a session of some shard that its message failed. Lost when the shard's queue is full; counted all the same.
    pub fn tell(&self, shard: ShardId, session: SessionKey, refusal: Refusal) {
        if let Some(handle) = self.shards().get(usize::from(shard)) {
            handle.stats().count_error(refusal.code);
        }
        self.inform(shard, session, Told::Error(refusal));
    }

    /// Tells a session of some shard something. Lost when the shard's queue is full: the client of a shard so far behind
    /// has other worries.
    pub fn inform(&self, shard: ShardId, session: SessionKey, told: Told) {
        let _full = self.try_post(shard, Command::Tell(session, told));
    }
}
