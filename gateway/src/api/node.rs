//! The calls of the API, done by this node: local sessions through the hub, others through the cluster.

mod groups;
mod tickets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::service::SYSTEM;
use super::{
    ApiMessage, BroadcastOutcome, KickOutcome, KickTarget, LogFrom, LogPage, LogQuery,
    LoggedMessage, MessageService, OnlineUsers, Recipient, RevokeOutcome, RevokeTarget,
    SendOutcome, ServiceError, Stats,
};
use crate::cluster::{Cluster, ClusterError, Forward, ForwardReport, NodeInfo, SessionRecord};
use crate::delivery::{Accepted, Delivery, Route, Submission, awaited};
use crate::group::Groups;
use crate::hub::{Hub, KickWhom, Outgoing, unix_millis};
use crate::log::{Append, Entry, MessageName, Most, Record, SentPage, SentQuery};
use crate::protocol::{
    LogId, Message, MessageBody, Parcel, Position, Sender, Target, UserId, json,
};
use crate::revocation::RevocationDesk;
use crate::security::{Revocation, Revoked};
use crate::session::decide::possible;
use crate::settings::Settings;
use crate::telemetry::traces;
use crate::ticket::Tickets;

/// The most recipients of one call.
const RECIPIENTS_MAX: usize = 1000;
/// The most users on a page.
const PAGE_MAX: usize = 1000;

/// This node, as backends see it.
pub struct NodeApi {
    hub: Arc<Hub>,
    cluster: Cluster,
    delivery: Delivery,
    groups: Groups,
    tickets: Tickets,
    settings: Arc<ArcSwap<Settings>>,
    desk: RevocationDesk,
    seq: AtomicU64,
}

type Report = oneshot::Receiver<Result<Vec<usize>, ClusterError>>;

impl NodeApi {
    /// The API of this node.
    pub fn new(
        (hub, cluster): (Arc<Hub>, Cluster),
        (delivery, groups, tickets): (Delivery, Groups, Tickets),
        settings: Arc<ArcSwap<Settings>>,
        desk: RevocationDesk,
    ) -> Self {
        Self {
            hub,
            cluster,
            delivery,
            groups,
            tickets,
            settings,
            desk,
            seq: AtomicU64::new(0),
        }
    }

    /// The message as its recipients see it, ready for any codec.
    fn encode(&self, message: &ApiMessage, id: &str, target: &Target) -> Bytes {
        let sender = Sender {
            id: message.from.as_deref().unwrap_or(SYSTEM),
            kind: SYSTEM,
            seq: self.seq.fetch_add(1, Relaxed) + 1,
        };
        let body = body(message);
        let mut json = Vec::with_capacity(256);
        json::write_message(
            &Message {
                target,
                sender,
                id,
                create_at: unix_millis(),
                body,
            },
            &mut json,
        );
        self.hub.count_api_message(json.len());
        json.into()
    }

    /// Hands work to other nodes; a call waits for room until its own deadline, however much it has to hand over.
    async fn forward(
        &self,
        deadline: Instant,
        work: impl FnOnce(ForwardReport) -> Forward,
    ) -> Report {
        let (report_to, report) = awaited();
        self.cluster.forward_by(work(report_to), deadline).await;
        report
    }

    async fn do_send(
        &self,
        to: Vec<UserId>,
        message: ApiMessage,
    ) -> Result<SendOutcome, ServiceError> {
        if to.is_empty() || to.len() > RECIPIENTS_MAX {
            let problem = format!("has {} users, allowed are 1 to {RECIPIENTS_MAX}", to.len());
            return Err(ServiceError::Invalid {
                field: "to",
                problem,
            });
        }
        check(&message)?;
        let id = message_id(&message);
        let deadline = room_by();
        let mut waiting = Vec::with_capacity(to.len());
        for user in to {
            let target = Target::User(user.clone());
            self.possible(&target, &message)?;
            let json = self.encode(&message, &id, &target);
            waiting.push(if self.keeps(&target, &message) {
                let log = (LogId::Inbox(user.clone()), Route::Users(vec![user.clone()]));
                let append = Self::append(&message, &id, json);
                self.store(user, (log, append), deadline).await
            } else {
                self.hand_over(user, json, deadline).await
            });
        }
        let reached = waiting.iter().map(|sent| sent.local_sessions).sum();
        let mut recipients = Vec::with_capacity(waiting.len());
        for sent in waiting {
            recipients.push(sent.recipient(reached).await?);
        }
        Ok(SendOutcome { id, recipients })
    }

    async fn do_revoke(&self, target: RevokeTarget) -> Result<RevokeOutcome, ServiceError> {
        let now = unix_millis() / 1000;
        // No token is good for longer, whenever it was issued until now.
        let until = now + self.settings.load().longest_token.as_secs();
        let (what, before) = match target {
            RevokeTarget::Token(id) => (Revoked::Token(id), None),
            RevokeTarget::User(id, before) => {
                let before = before.unwrap_or(now);
                (Revoked::User { id, before }, Some(before))
            }
        };
        let until = until.max(before.unwrap_or_default());
        let revoked = self.desk.revoke(Revocation { what, until }).await;
        revoked.map_err(|source| ServiceError::Cluster {
            local_sessions: 0,
            source,
        })?;
        Ok(RevokeOutcome { before, until })
    }

    /// Whether what the caller asks for beyond delivery can be had.
    fn possible(&self, target: &Target, message: &ApiMessage) -> Result<(), ServiceError> {
        let offered = self.settings.load().offered();
        possible(target, &body(message), offered).map_err(|(_, problem)| {
            // The words begin with the field they are about.
            let (field, problem) = problem.split_once(": ").unwrap_or(("durable", problem));
            ServiceError::Invalid {
                field,
                problem: problem.to_owned(),
            }
        })
    }

    fn keeps(&self, target: &Target, message: &ApiMessage) -> bool {
        let kind = body(message).kind;
        self.settings.load().keeps(target, kind, message.durable)
    }

    fn append(message: &ApiMessage, id: &str, json: Bytes) -> Append {
        Append {
            id: id.to_owned(),
            sender: message.from.as_deref().unwrap_or(SYSTEM).to_owned(),
            own_id: message.id.is_some(),
            json,
            at: unix_millis(),
            ack: message.require_ack,
            trace: None,
        }
    }

    /// Has a message stored and delivered.
    async fn store(
        &self,
        user: UserId,
        (log, append): ((LogId, Route), Append),
        deadline: Instant,
    ) -> Sent {
        let local_sessions = self.hub.users().find(&user).1;
        let ((report, stored), (forwarded, nodes)) = (awaited(), awaited());
        let submission = Submission {
            log: log.0,
            route: log.1,
            append,
            report,
            forwarded: Some(forwarded),
        };
        self.delivery.submit(submission, deadline).await;
        Sent {
            user,
            local_sessions,
            nodes,
            stored: Some(stored),
        }
    }

    /// Delivers a message to whoever is connected.
    async fn hand_over(&self, user: UserId, json: Bytes, deadline: Instant) -> Sent {
        let outgoing = Outgoing::new(parcel(json));
        let delivered = self.hub.deliver(std::slice::from_ref(&user), &outgoing);
        let local_sessions = delivered.await.into_iter().sum();
        let users = vec![user.clone()];
        let nodes = self
            .forward(deadline, |report| Forward::Users {
                users,
                parcel: outgoing.parcel().clone(),
                report,
            })
            .await;
        Sent {
            user,
            local_sessions,
            nodes,
            stored: None,
        }
    }

    async fn do_broadcast(&self, message: ApiMessage) -> Result<BroadcastOutcome, ServiceError> {
        check(&message)?;
        self.possible(&Target::Broadcast, &message)?;
        let id = message_id(&message);
        let json = self.encode(&message, &id, &Target::Broadcast);
        if self.keeps(&Target::Broadcast, &message) {
            let append = Self::append(&message, &id, json);
            let to = (LogId::Broadcast, Route::All);
            let accepted = self.delivery.send(to, append).await.map_err(unreached)?;
            return Ok(BroadcastOutcome {
                id,
                local_sessions: accepted.local_sessions,
                nodes: self.cluster.status().peers.len(),
            });
        }
        let outgoing = Outgoing::new(parcel(json));
        let local_sessions = self.hub.broadcast(&outgoing).await;
        let report = self
            .forward(room_by(), |report| Forward::Broadcast {
                parcel: outgoing.parcel().clone(),
                report,
            })
            .await;
        Ok(BroadcastOutcome {
            id,
            local_sessions,
            nodes: outcome(report, local_sessions).await?,
        })
    }

    async fn do_online(
        &self,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<OnlineUsers, ServiceError> {
        if !(1..=PAGE_MAX).contains(&limit) {
            let problem = format!("is {limit}, allowed are 1 to {PAGE_MAX}");
            return Err(ServiceError::Invalid {
                field: "limit",
                problem,
            });
        }
        let page = self
            .cluster
            .online(cursor.as_deref(), limit)
            .await
            .map_err(unreached)?;
        let next_cursor = page
            .users
            .last()
            .filter(|_| page.more)
            .map(ToString::to_string);
        Ok(OnlineUsers {
            users: page.users,
            next_cursor,
            total: page.total,
        })
    }

    async fn do_kick(
        &self,
        target: KickTarget,
        reason: String,
    ) -> Result<KickOutcome, ServiceError> {
        let whom = match &target {
            KickTarget::User(user) => KickWhom::User(user.clone()),
            KickTarget::Session(session) => KickWhom::Session(*session),
        };
        let local_sessions = self.hub.kick(whom, &reason).await;
        let report = match target {
            // A session is in one place; found here, nobody else need look.
            KickTarget::Session(_) if local_sessions > 0 => {
                return Ok(KickOutcome {
                    local_sessions,
                    nodes: 0,
                });
            }
            KickTarget::Session(session) => {
                self.forward(room_by(), |report| Forward::KickSession {
                    session,
                    reason,
                    report,
                })
                .await
            }
            KickTarget::User(user) => {
                self.forward(room_by(), |report| Forward::KickUser {
                    user,
                    reason,
                    report,
                })
                .await
            }
        };
        Ok(KickOutcome {
            local_sessions,
            nodes: outcome(report, local_sessions).await?,
        })
    }

    async fn read_log(&self, id: &LogId, query: LogQuery) -> Result<LogPage, ServiceError> {
        let log = self.delivery.log();
        let after = match query.from {
            LogFrom::Oldest => None,
            LogFrom::After(after) => Some(after),
            LogFrom::Since(millis) => log.since(id, millis).await.map_err(unreached)?,
        };
        let most = Most::messages(query.limit);
        let page = log.read(id, after, most).await.map_err(unreached)?;
        let (more, epoch) = (page.more(), page.head.epoch);
        let name = |entry: &Entry| MessageName::new(&entry.sender, &entry.id);
        let names: Vec<MessageName> = page.entries.iter().map(name).collect();
        let records = log
            .records(id, &names, unix_millis())
            .await
            .map_err(unreached)?;
        let logged = |(entry, record): (Entry, Option<Record>)| LoggedMessage {
            position: Position {
                epoch,
                offset: entry.offset,
            },
            // A younger message of the same name has a record of its own.
            record: record.filter(|record| record.position.offset == entry.offset),
            id: entry.id,
            at: entry.at,
            json: String::from_utf8_lossy(&entry.json).into_owned(),
        };
        Ok(LogPage {
            messages: page.entries.into_iter().zip(records).map(logged).collect(),
            next: page.end,
            more,
            gap: page.gap,
        })
    }

    fn counts(&self) -> Stats {
        let (stats, cluster) = (self.hub.stats(), self.cluster.status());
        let mut nodes = cluster.peers.clone();
        nodes.push(NodeInfo {
            synced: false,
            beat: 0,
            leaving: false,
            door: None,
            node: cluster.node.clone(),
            epoch: cluster.epoch,
            address: self.cluster.address().to_owned(),
            connections: stats.connections,
        });
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        #[allow(clippy::cast_precision_loss)] // a mean needs no more than 52 bits
        let average = stats.bytes_received as f64 / stats.messages_received.max(1) as f64;
        Stats {
            node: cluster.node.to_string(),
            connections: stats.connections,
            users: stats.users,
            messages_received: stats.messages_received,
            messages_sent: stats.messages_sent,
            average_message_bytes: average,
            errors: stats.errors_total(),
            connections_by_user_type: stats.by_user_type.into_iter().collect(),
            connections_by_transport: stats
                .by_transport
                .into_iter()
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
            nodes,
        }
    }
}

impl MessageService for NodeApi {
    fn send(
        &self,
        to: Vec<UserId>,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<SendOutcome, ServiceError>> {
        Box::pin(self.do_send(to, message))
    }

    fn broadcast(
        &self,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<BroadcastOutcome, ServiceError>> {
        Box::pin(self.do_broadcast(message))
    }

    fn online(
        &self,
        cursor: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<OnlineUsers, ServiceError>> {
        Box::pin(self.do_online(cursor, limit))
    }

    fn sessions<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Vec<SessionRecord>, ServiceError>> {
        Box::pin(async move { self.cluster.sessions_of(user).await.map_err(unreached) })
    }

    fn kick(
        &self,
        target: KickTarget,
        reason: String,
    ) -> BoxFuture<'_, Result<KickOutcome, ServiceError>> {
        Box::pin(self.do_kick(target, reason))
    }

    fn revoke(&self, target: RevokeTarget) -> BoxFuture<'_, Result<RevokeOutcome, ServiceError>> {
        Box::pin(self.do_revoke(target))
    }

    fn log<'a>(
        &'a self,
        log: &'a LogId,
        query: LogQuery,
    ) -> BoxFuture<'a, Result<LogPage, ServiceError>> {
        Box::pin(self.read_log(log, query))
    }

    fn sent<'a>(
        &'a self,
        sender: &'a UserId,
        query: SentQuery,
    ) -> BoxFuture<'a, Result<SentPage, ServiceError>> {
        Box::pin(async move {
            let sent = self
                .delivery
                .log()
                .sent(sender.as_str(), query, unix_millis());
            sent.await.map_err(unreached)
        })
    }

    fn stats(&self) -> BoxFuture<'_, Stats> {
        Box::pin(async { self.counts() })
    }
}

fn body(message: &ApiMessage) -> MessageBody<'_> {
    MessageBody {
        kind: if message.kind.is_empty() {
            "text"
        } else {
            &message.kind
        },
        id: message.id.as_deref(),
        content: message.content.as_deref(),
        data: message.data.as_deref(),
        priority: message.priority,
        reply_to: message.reply_to.as_deref(),
        durable: message.durable,
        require_ack: message.require_ack,
    }
}

/// A message on its way to one user.
struct Sent {
    user: UserId,
    local_sessions: usize,
    nodes: Report,
    /// What became of it in the log, if it was to be stored.
    stored: Option<oneshot::Receiver<Result<Accepted, ClusterError>>>,
}

impl Sent {
    /// Waits for what became of it; `reached`: sessions of this node that got it, of all users of the call.
    async fn recipient(self, reached: usize) -> Result<Recipient, ServiceError> {
        let Some(stored) = self.stored else {
            return Ok(Recipient {
                user: self.user,
                local_sessions: self.local_sessions,
                nodes: outcome(self.nodes, reached).await?,
                position: None,
                repeated: false,
            });
        };
        let accepted = stored.await.unwrap_or(Err(ClusterError::Disconnected));
        let accepted = accepted.map_err(|source| ServiceError::Cluster {
            local_sessions: reached,
            source,
        })?;
        // It is stored: other nodes that are not reached now read it from there.
        let nodes = match self.nodes.await {
            Ok(Ok(counts)) => counts.into_iter().sum(),
            Ok(Err(_)) | Err(_) => 0,
        };
        Ok(Recipient {
            user: self.user,
            local_sessions: accepted.local_sessions,
            nodes,
            position: Some(accepted.position),
            repeated: accepted.repeated,
        })
    }
}

fn check(message: &ApiMessage) -> Result<(), ServiceError> {
    let invalid = |(field, problem)| ServiceError::Invalid { field, problem };
    json::check_body(&body(message)).map_err(invalid)?;
    sender(message).map(drop)
}

/// Who the message is said to come from.
fn sender(message: &ApiMessage) -> Result<UserId, ServiceError> {
    let sender = UserId::new(message.from.as_deref().unwrap_or(SYSTEM));
    sender.map_err(|error| ServiceError::Invalid {
        field: "from",
        problem: error.to_string(),
    })
}

/// A message as part of the call it comes from.
fn parcel(json: Bytes) -> Parcel {
    Parcel {
        trace: traces::current(),
        ..Parcel::from(json)
    }
}

fn message_id(message: &ApiMessage) -> String {
    message
        .id
        .clone()
        .unwrap_or_else(|| Uuid::now_v7().to_string())
}

/// Until when a call that begins now waits for room in the queue to other nodes.
fn room_by() -> Instant {
    Instant::now() + Cluster::PATIENCE
}

/// How many other nodes took the work.
async fn outcome(report: Report, local_sessions: usize) -> Result<usize, ServiceError> {
    let outcome = report.await.unwrap_or(Err(ClusterError::Disconnected));
    let counts = outcome.map_err(|source| ServiceError::Cluster {
        local_sessions,
        source,
    })?;
    Ok(counts.into_iter().sum())
}

fn unreached(source: ClusterError) -> ServiceError {
    ServiceError::Cluster {
        local_sessions: 0,
        source,
    }
}
