//! The clerk: stores what was handed in, in batches and in order. What was stored goes on to the carrier, which tells whoever
//! handed it in and hands it to sessions and other nodes while the next batch is stored.
//!
//! One task each, so that what one sender hands in for one log is stored and delivered in that order. Messages of a batch that
//! belong to one log are stored in one call; logs do not wait for each other.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::receipt::Level;
use super::{Accepted, Delivery, Route, Submission};
use crate::cluster::{Cluster, ClusterError, Forward, ForwardReport};
use crate::hub::{Hub, Outgoing, unix_millis};
use crate::log::{Append, AppendOutcome, Appended, Awaited, Batch, MessageName};
use crate::protocol::{LogId, Mark, Parcel, Start, TraceContext};
use crate::telemetry::traces::Span;
use crate::time::millis;

/// Messages of one batch: what one script call handles without holding Redis for long.
const BATCH: usize = 128;

/// Batches that are stored and wait to be handed on. When it is full nothing more is stored, and in the end senders wait.
const STORED: usize = 1;

/// One message that waits, and the room it takes.
pub(super) struct Job {
    pub(super) submission: Submission,
    pub(super) room: OwnedSemaphorePermit,
    /// The span it comes from, and that of storing it, if it is traced.
    pub(super) trace: Option<TraceContext>,
    pub(super) span: Option<Span>,
}

/// A message that was stored, or was not.
type Stored = (Job, Result<Appended, ClusterError>);

/// See the module.
pub(super) struct Clerk {
    delivery: Delivery,
    stored: mpsc::Sender<Vec<Stored>>,
}

/// See the module.
pub(super) struct Carrier {
    delivery: Delivery,
    level: Level,
    stored: mpsc::Receiver<Vec<Stored>>,
}

/// Both of them, for what is accepted at this level.
pub(super) fn clerk(delivery: &Delivery, level: Level) -> (Clerk, Carrier) {
    let (sender, stored) = mpsc::channel(STORED);
    let clerk = Clerk {
        delivery: delivery.clone(),
        stored: sender,
    };
    let carrier = Carrier {
        delivery: delivery.clone(),
        level,
        stored,
    };
    (clerk, carrier)
}

impl Clerk {
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>, cancel: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                taken = jobs.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            }
            let stored = self.store(std::mem::take(&mut batch)).await;
            // The carrier lives for as long as this.
            let _sent = self.stored.send(stored).await;
        }
        jobs.close();
        while let Some(job) = jobs.recv().await {
            (job.submission.report)(Err(ClusterError::Disconnected));
        }
    }

    async fn store(&self, batch: Vec<Job>) -> Vec<Stored> {
        let mut by_log: HashMap<&LogId, (Vec<Append>, Vec<usize>)> = HashMap::new();
        for (index, job) in batch.iter().enumerate() {
            let of_log = by_log.entry(&job.submission.log).or_default();
            of_log.0.push(job.submission.append.clone());
            of_log.1.push(index);
        }
        let logs: Vec<Batch<'_>> = by_log
            .iter()
            .map(|(log, (appends, _))| (*log, appends.as_slice()))
            .collect();
        let told = self.append(&logs).await;
        let mut outcomes: HashMap<usize, Result<Appended, ClusterError>> = HashMap::new();
        for ((_, indexes), told) in by_log.values().zip(told) {
            match told {
                Ok(appended) => {
                    outcomes.extend(indexes.iter().copied().zip(appended.into_iter().map(Ok)));
                }
                Err(error) => {
                    outcomes.extend(indexes.iter().map(|index| (*index, Err(error.clone()))));
                }
            }
        }
        let stored = batch.into_iter().enumerate().map(|(index, job)| {
            let outcome = outcomes.remove(&index);
            (job, outcome.unwrap_or(Err(ClusterError::Busy)))
        });
        stored.collect()
    }

    /// Stores messages of several logs. When those are due that are to be acknowledged is remembered first: what is stored and
    /// not remembered would never be given up.
    async fn append(&self, logs: &[Batch<'_>]) -> Vec<AppendOutcome> {
        let log = self.delivery.log();
        let Some(rules) = self.delivery.0.acks.load_full() else {
            return log.append_all(logs).await;
        };
        let due = awaited_of(logs);
        if !due.is_empty() {
            let until = unix_millis().saturating_add(millis(rules.total()));
            if let Err(error) = log.remind(&due, until).await {
                return self.append_unawaited(logs, &error).await;
            }
        }
        let appended = log.append_all(logs).await;
        let refused = logs.iter().zip(&appended).filter(|(_, outcome)| {
            matches!(
                outcome,
                Err(ClusterError::Refused { .. } | ClusterError::ReplicaBacklog { .. })
            )
        });
        let refused: Vec<Batch<'_>> = refused.map(|(of_log, _)| *of_log).collect();
        let undone = awaited_of(&refused);
        if !undone.is_empty() {
            // Who is asked again has all the time that there is.
            let _due_then = log.forget(&undone).await;
        }
        appended
    }

    /// Stores what nobody is to acknowledge; the others are refused with this error.
    async fn append_unawaited(
        &self,
        logs: &[Batch<'_>],
        error: &ClusterError,
    ) -> Vec<AppendOutcome> {
        let is_free = |of_log: &Batch<'_>| awaited_of(std::slice::from_ref(of_log)).is_empty();
        let mut outcomes: Vec<AppendOutcome> = logs.iter().map(|_| Err(error.clone())).collect();
        let free = outcomes.iter_mut().zip(logs);
        let (places, free): (Vec<_>, Vec<Batch<'_>>) =
            free.filter(|(_, of_log)| is_free(of_log)).unzip();
        let stored = self.delivery.log().append_all(&free).await;
        for (place, stored) in places.into_iter().zip(stored) {
            *place = stored;
        }
        outcomes
    }
}

impl Carrier {
    /// Until the clerk has ended and everything that it stored is handed on. Each sender is told just before its message goes on,
    /// so that nothing that was accepted lags behind a drain.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.stored.recv().await {
            for (job, outcome) in batch {
                self.hand_on(job, outcome).await;
            }
        }
    }

    async fn hand_on(&self, job: Job, outcome: Result<Appended, ClusterError>) {
        let Job {
            submission,
            room: _room,
            trace,
            span,
        } = job;
        if let (Some(mut span), Err(error)) = (span, &outcome) {
            span.failed(error.label());
        }
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
                deliver_here(self.delivery.hub(), &route, &Outgoing::new(parcel)).await;
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
                here(self.delivery.hub(), &route)
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

/// What is to be acknowledged of these.
fn awaited_of(logs: &[Batch<'_>]) -> Vec<Awaited> {
    let mut awaited = Vec::new();
    for (log, messages) in logs {
        if let LogId::Inbox(user) = log {
            let wanted = messages.iter().filter(|message| message.ack);
            awaited.extend(wanted.map(|message| Awaited {
                user: user.clone(),
                ticket: None,
                message: MessageName::new(&message.sender, &message.id),
            }));
        }
    }
    awaited
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
