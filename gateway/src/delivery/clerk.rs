//! The clerk: stores what was handed in, in batches and in order, and hands on what was stored.
//!
//! One task, so that what one sender hands in for one log is stored and delivered in that order. Messages of a batch that
//! belong to one log are stored in one call; logs do not wait for each other.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::receipt::Level;
use super::{Accepted, Delivery, Route, Submission};
use crate::cluster::{Cluster, ClusterError, Forward, ForwardReport};
use crate::hub::{Hub, Outgoing, unix_millis};
use crate::log::{Append, Appended, Awaited, MessageName};
use crate::protocol::{LogId, Mark, Parcel, Start, TraceContext};
use crate::telemetry::traces::Span;
use crate::time::millis;

/// Messages of one batch: what one script call handles without holding Redis for long.
const BATCH: usize = 128;

/// One message that waits, and the room it takes.
pub(super) struct Job {
    pub(super) submission: Submission,
    pub(super) room: OwnedSemaphorePermit,
    /// The span it comes from, and that of storing it, if it is traced.
    pub(super) trace: Option<TraceContext>,
    pub(super) span: Option<Span>,
}

/// A message without its room.
type Taken = (Submission, Option<TraceContext>, Option<Span>);

/// See the module.
pub(super) struct Clerk {
    pub(super) delivery: Delivery,
    pub(super) level: Level,
    pub(super) cancel: CancellationToken,
}

impl Clerk {
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => break,
                taken = jobs.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            }
            let (batch, rooms): (Vec<_>, Vec<_>) = batch
                .drain(..)
                .map(|job| ((job.submission, job.trace, job.span), job.room))
                .unzip();
            self.store(batch).await;
            drop(rooms);
        }
        jobs.close();
        while let Some(job) = jobs.recv().await {
            (job.submission.report)(Err(ClusterError::Disconnected));
        }
    }

    async fn store(&self, mut batch: Vec<Taken>) {
        let mut by_log: HashMap<LogId, Vec<usize>> = HashMap::new();
        for (index, (submission, ..)) in batch.iter().enumerate() {
            by_log
                .entry(submission.log.clone())
                .or_default()
                .push(index);
        }
        let groups: Vec<(LogId, Vec<usize>)> = by_log.into_iter().collect();
        let appends: Vec<Vec<Append>> = groups
            .iter()
            .map(|(_, indexes)| {
                let of = |index: &usize| {
                    let (submission, ..) = batch.get(*index)?;
                    Some(submission.append.clone())
                };
                indexes.iter().filter_map(of).collect()
            })
            .collect();
        let stored = groups.iter().zip(&appends);
        let stored = join_all(stored.map(|((id, _), messages)| self.append(id, messages))).await;
        let mut outcomes: HashMap<usize, Result<Appended, ClusterError>> = HashMap::new();
        for ((_, indexes), stored) in groups.into_iter().zip(stored) {
            match stored {
                Ok(appended) => {
                    outcomes.extend(indexes.into_iter().zip(appended.into_iter().map(Ok)));
                }
                Err(error) => {
                    outcomes.extend(indexes.into_iter().map(|index| (index, Err(error.clone()))));
                }
            }
        }
        for (index, (submission, trace, span)) in batch.drain(..).enumerate() {
            let outcome = outcomes.remove(&index);
            let outcome = outcome.unwrap_or(Err(ClusterError::Busy));
            if let (Some(mut span), Err(error)) = (span, &outcome) {
                span.failed(error.label());
            }
            self.hand_on((submission, trace), outcome).await;
        }
    }

    /// Stores messages of one log. When those are due that are to be acknowledged is remembered first: what is stored and
    /// not remembered would never be given up.
    async fn append(
        &self,
        log: &LogId,
        messages: &[Append],
    ) -> Result<Vec<Appended>, ClusterError> {
        let mut awaited = Vec::new();
        if let (Some(rules), LogId::Inbox(user)) = (self.delivery.0.acks.load_full(), log) {
            let wanted = messages.iter().filter(|message| message.ack);
            awaited.extend(wanted.map(|message| Awaited {
                user: user.clone(),
                ticket: None,
                message: MessageName::new(&message.sender, &message.id),
            }));
            if !awaited.is_empty() {
                let until = unix_millis().saturating_add(millis(rules.total()));
                self.delivery.0.log.remind(&awaited, until).await?;
            }
        }
        let appended = self.delivery.0.log.append(log, messages).await;
        let is_refused = matches!(
            appended,
            Err(ClusterError::Refused { .. } | ClusterError::ReplicaBacklog { .. })
        );
        if is_refused && !awaited.is_empty() {
            // Who is asked again has all the time that there is.
            let _due_then = self.delivery.0.log.forget(&awaited).await;
        }
        appended
    }

    async fn hand_on(
        &self,
        (submission, trace): (Submission, Option<TraceContext>),
        outcome: Result<Appended, ClusterError>,
    ) {
        let Submission {
            log,
            route,
            append,
            report,
            forwarded,
        } = submission;
        let appended = match outcome {
            Ok(appended) => appended,
            Err(error) => {
                // Whoever is here still gets it, as anything that is not stored; its sender knows that it is not.
                let parcel = Parcel {
                    trace,
                    ..Parcel::from(append.json)
                };
                deliver_here(&self.delivery.0.hub, &route, &Outgoing::new(parcel)).await;
                return report(Err(error));
            }
        };
        let repeated = matches!(appended, Appended::Repeated(_));
        report(Ok(Accepted {
            position: appended.position(),
            repeated,
            level: self.level,
            local_sessions: if repeated {
                0
            } else {
                here(&self.delivery.0.hub, &route)
            },
        }));
        // Stored by a call whose answer was lost, or by another node that then ended, it may not have been handed on.
        // Who follows nothing of a ticket yet has missed it; to other sessions it may be old.
        let start = match log {
            LogId::Ticket(_) => Start::Here,
            _ if repeated => Start::Nowhere,
            _ => Start::Here,
        };
        let mark = Mark {
            log,
            position: appended.position(),
            ack: append.ack.then(|| append.id.as_str().into()),
            start,
        };
        let parcel = Parcel {
            json: append.json,
            mark: Some(mark),
            trace,
        };
        let forwarded = forwarded.filter(|_| !repeated);
        self.delivery.hand_over(&route, parcel, forwarded).await;
    }
}

fn here(hub: &Hub, route: &Route) -> usize {
    match route {
        Route::Users(users) => users.iter().map(|user| hub.users().find(user).1).sum(),
        Route::Group(group) => hub.groups().index().find(group, None).1,
        Route::All => hub.sessions_total(),
    }
}

async fn deliver_here(hub: &Hub, route: &Route, message: &Outgoing) {
    match route {
        Route::Users(users) => drop(hub.deliver(users, message).await),
        Route::Group(group) => _ = hub.deliver_group(group, message).await,
        Route::All => _ = hub.broadcast(message).await,
    }
}

pub(super) async fn hand_over(
    (hub, cluster): (&Arc<Hub>, &Cluster),
    route: &Route,
    parcel: Parcel,
    forwarded: Option<ForwardReport>,
) {
    deliver_here(hub, route, &Outgoing::new(parcel.clone())).await;
    let report: ForwardReport = forwarded.unwrap_or_else(|| Box::new(drop));
    let forward = match route {
        Route::Users(users) => Forward::Users {
            users: users.clone(),
            parcel,
            report,
        },
        Route::Group(group) => Forward::Group {
            group: group.clone(),
            parcel,
            // A node that came since the message was stored must not miss it.
            holders: None,
            report,
        },
        Route::All => Forward::Broadcast { parcel, report },
    };
    cluster
        .forward_by(forward, Instant::now() + Cluster::PATIENCE)
        .await;
}

/// A report that can be waited for.
pub fn awaited<T: Send + 'static>() -> (Box<dyn FnOnce(T) + Send>, oneshot::Receiver<T>) {
    let (sender, receiver) = oneshot::channel();
    // Whoever asked may have stopped waiting.
    (
        Box::new(move |outcome| drop(sender.send(outcome))),
        receiver,
    )
}

impl Delivery {
    /// Hands in a message and waits until it is stored.
    pub async fn send(
        &self,
        (log, route): (LogId, Route),
        append: Append,
    ) -> Result<Accepted, ClusterError> {
        let (report, told) = awaited();
        let submission = Submission {
            log,
            route,
            append,
            report,
            forwarded: None,
        };
        self.submit(submission, Instant::now() + Cluster::PATIENCE)
            .await;
        told.await.unwrap_or(Err(ClusterError::Disconnected))
    }
}
