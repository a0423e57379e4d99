//! A message from a session of this shard to wherever it goes: own sessions at once, other shards by a command, other
//! nodes through the cluster.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;
use uuid::Uuid;

use super::report::Report;
use super::{Shard, ShardContext, unix_millis};
use crate::cluster::{Cluster, Forward, Holding};
use crate::delivery::{Route, Submission};
use crate::hub::outgoing::Local;
use crate::hub::{Command, Hub, Outgoing, Recipients, SessionKey, ShardId};
use crate::log::Append;
use crate::protocol::{
    GroupId, LogId, Message, MessageBody, Parcel, Parent, Sender, Target, Told, TraceContext,
    UserId, json,
};
use crate::telemetry::traces::{Kind, Span};
use crate::transport::Connection;

/// What could not be handed on without waiting. Once something is here, what follows joins it: order is kept. Behind a frame
/// that is held nothing follows until all of it is settled.
///
/// One pointer, since every connection has one and hardly any has something in it.
#[derive(Default)]
pub struct Later(Option<Box<Work>>);

#[derive(Default)]
struct Work {
    posts: Vec<(ShardId, Command)>,
    forwards: Vec<Forward>,
    submissions: Vec<(Submission, Option<TraceContext>)>,
    held: Option<String>,
}

/// A message of a session that was let through.
pub struct Passed<'a> {
    /// Whom it is for.
    pub target: &'a Target,
    /// What its sender said.
    pub body: MessageBody<'a>,
    /// Of the frame it came in.
    pub size: usize,
    /// The nodes that get the messages of its group, where that was asked on the way.
    pub holders: Option<Vec<Holding>>,
}

impl Later {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|work| {
            work.posts.is_empty()
                && work.forwards.is_empty()
                && work.submissions.is_empty()
                && work.held.is_none()
        })
    }

    fn work(&mut self) -> &mut Work {
        self.0.get_or_insert_default()
    }

    /// Whether a frame waits that whatever comes now must wait behind.
    pub fn is_holding(&self) -> bool {
        self.0.as_ref().is_some_and(|work| work.held.is_some())
    }

    /// Has a frame wait.
    pub fn hold(&mut self, text: &str) {
        debug_assert!(!self.is_holding());
        self.work().held = Some(text.to_owned());
    }

    /// The frame that waited.
    pub fn take_held(&mut self) -> Option<String> {
        self.0.as_mut()?.held.take()
    }

    /// Hands everything on that is for others. The sender is not read from meanwhile; what finds no room to other nodes
    /// in all that time is reported as failed.
    pub async fn hand_over(&mut self, context: &ShardContext) {
        let Some(work) = &mut self.0 else {
            return;
        };
        let deadline = Instant::now() + Cluster::PATIENCE;
        for (shard, command) in work.posts.drain(..) {
            context.hub.post(shard, command).await;
        }
        for forward in work.forwards.drain(..) {
            context.cluster.forward_by(forward, deadline).await;
        }
        for (submission, trace) in work.submissions.drain(..) {
            let stored = context.delivery.submit_as(submission, trace, deadline);
            stored.await;
        }
    }

    fn post(&mut self, hub: &Hub, shard: ShardId, command: Command) {
        let is_behind = self.0.as_ref().is_some_and(|work| !work.posts.is_empty());
        if is_behind {
            self.work().posts.push((shard, command));
        } else if let Err(command) = hub.try_post(shard, command) {
            self.work().posts.push((shard, command));
        }
    }
}

impl Shard {
    /// Sends a session's message on its way.
    pub fn publish(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        passed: Passed<'_>,
        later: &mut Later,
    ) {
        let Passed {
            target,
            body,
            size,
            holders,
        } = passed;
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
        // Whoever asks in a request of its own is told the id that was made for the message.
        let ref_id = (is_own || connection.question().is_some()).then(|| id.to_owned());
        let message = Message {
            target,
            sender,
            id,
            create_at: unix_millis(),
            body,
        };
        let json = self.written(|out| json::write_message(&message, out));
        let body = &message.body;
        let report = Report::new(self, connection, ref_id, (id, &json));
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
                trace: None,
            };
            let submission = Submission {
                log,
                route,
                append,
                report: report.when_stored(),
                forwarded: None,
            };
            return later.work().submissions.push((submission, trace));
        }
        let outgoing = Outgoing::new(Parcel {
            trace,
            ..Parcel::from(json)
        });
        match target {
            Target::User(user) => self.publish_to_user(user, &outgoing, report, later),
            Target::Group(group) => {
                self.publish_to_group((group, holders), &outgoing, report, later);
            }
            Target::Broadcast => self.publish_to_all(&outgoing, report, later),
            // The application has it, and nobody else is to.
            Target::Application => report.accepted(),
            // The desk takes them.
            Target::Ticket(_) => {}
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
            return report.reached(local, user);
        }
        let report = report.when_reached(local, user.clone());
        later.work().forwards.push(Forward::Users {
            users: vec![user.clone()],
            parcel: outgoing.parcel().clone(),
            report,
        });
    }

    fn publish_to_group(
        self: &Rc<Self>,
        (group, holders): (&GroupId, Option<Vec<Holding>>),
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
            return report.accepted();
        }
        later.work().forwards.push(Forward::Group {
            group: group.clone(),
            parcel: outgoing.parcel().clone(),
            holders,
            report: report.when_forwarded("other nodes did not get the message"),
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
            return report.accepted();
        }
        later.work().forwards.push(Forward::Broadcast {
            parcel: outgoing.parcel().clone(),
            report: report.when_forwarded("other nodes did not get the broadcast"),
        });
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

impl Hub {
    /// Tells a session of some shard something. Lost when the shard's queue is full: the client of a shard so far behind
    /// has other worries.
    pub fn inform(&self, shard: ShardId, session: SessionKey, told: Told) {
        let _full = self.try_post(shard, Command::Tell(session, told));
    }
}
