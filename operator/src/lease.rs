//! Leader election by a Lease: at most one replica of the operator writes.
//!
//! `decide` is pure; the loops around it do the requests. Clocks of different machines are never compared: a lease has
//! run out when it has not changed for its whole life on the observer's own clock. A holder that could not renew in time
//! stops before anybody else may begin. `kube-runtime` has no election of its own.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::Error;
use crate::kube_call::within;

/// How long a lease lives without renewal.
const LIFE: Duration = Duration::from_secs(15);

/// A holder that has not renewed for so long gives up; the rest of the lease's life is its time to stop.
const RENEW_WITHIN: Duration = Duration::from_secs(10);

/// From one attempt to the next.
const RETRY: Duration = Duration::from_secs(2);

/// Who wants which lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// The replica's own name; unique among replicas and over restarts.
    pub identity: String,
}

/// The holder did not renew in time, or somebody else holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease is lost")]
pub struct Lost;

/// What an observer saw last, and since when it is so.
#[derive(Clone, Debug)]
struct Observed {
    version: Option<String>,
    since: Instant,
}

/// What to do about a lease.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    /// There is none: make it.
    Create(Lease),
    /// It is ours, or it ran out: write it.
    Write(Lease),
    /// Somebody else holds it.
    Wait,
}

/// One replica's part in the election.
pub struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    observed: Option<Observed>,
}

impl Election {
    /// Takes part.
    pub fn new(client: Client, candidate: Candidate) -> Self {
        Self {
            api: Api::namespaced(client, &candidate.namespace),
            candidate,
            observed: None,
        }
    }

    /// Waits until the lease is ours; `None` when the token said stop first. `standby` is told when the API server
    /// answered for the first time.
    pub async fn acquire(
        &mut self,
        token: &CancellationToken,
        standby: impl Fn(),
    ) -> Option<Instant> {
        info!(identity = self.candidate.identity, "waiting for the lease");
        loop {
            let began = Instant::now();
            match self.attempt().await {
                Ok(true) => {
                    info!("holding the lease");
                    return Some(began);
                }
                Ok(false) => standby(),
                Err(error) => debug!(error = error.chain(), "the lease was not taken"),
            }
            tokio::select! {
                () = token.cancelled() => return None,
                () = tokio::time::sleep(RETRY.mul_f64(rand::random_range(0.8..1.2))) => {}
            }
        }
    }

    /// Does `work` while the lease is ours: renews until the work has ended by itself, then gives the lease back.
    ///
    /// A lease that was lost drops the work where it stands. Who is told to stop tells the work and not the lease: as
    /// long as the last write is on its way, nobody else may begin.
    pub async fn hold(
        &mut self,
        since: Instant,
        work: impl Future<Output = ()>,
    ) -> Result<(), Lost> {
        tokio::select! {
            () = work => {}
            lost = self.keep(since) => return Err(lost),
        }
        self.release().await;
        Ok(())
    }

    /// Renews until the lease is lost. `since` is when the last successful attempt began.
    async fn keep(&mut self, mut since: Instant) -> Lost {
        loop {
            tokio::time::sleep(RETRY).await;
            let began = Instant::now();
            let deadline = since + RENEW_WITHIN;
            match tokio::time::timeout_at(deadline, self.attempt()).await {
                Ok(Ok(true)) => since = began,
                Ok(Err(error)) => {
                    warn!(error = error.chain(), "the lease was not renewed");
                    if Instant::now() >= deadline {
                        return Lost;
                    }
                }
                // Somebody else's, or no answer in time.
                Ok(Ok(false)) | Err(_) => return Lost,
            }
        }
    }

    /// Gives the lease back, so that the next replica need not wait for it to run out.
    async fn release(&self) {
        let action = "giving the lease back".to_owned();
        let Ok(Some(mut lease)) = within(action, self.api.get_opt(&self.candidate.name)).await
        else {
            return;
        };
        let Some(spec) = &mut lease.spec else { return };
        if spec.holder_identity.as_deref() != Some(&self.candidate.identity) {
            return;
        }
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        let action = "giving the lease back".to_owned();
        let params = PostParams::default();
        let replaced = self.api.replace(&self.candidate.name, &params, &lease);
        match within(action, replaced).await {
            Ok(_) => info!("gave the lease back"),
            Err(error) => warn!(error = error.chain(), "the lease was not given back"),
        }
    }

    /// One look and, if it may be, one write; true when the lease is ours afterwards.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let action = || {
            let Candidate {
                namespace, name, ..
            } = &self.candidate;
            format!("taking Lease {namespace}/{name}")
        };
        let found = within(action(), self.api.get_opt(&self.candidate.name)).await?;
        let version = found
            .as_ref()
            .and_then(|lease| lease.metadata.resource_version.clone());
        let now = Instant::now();
        if self.observed.as_ref().map(|seen| &seen.version) != Some(&version) {
            self.observed = Some(Observed {
                version,
                since: now,
            });
        }
        let unchanged = self
            .observed
            .as_ref()
            .map_or(Duration::ZERO, |seen| now - seen.since);
        let decision = decide(found.as_ref(), &self.candidate, unchanged, Timestamp::now());
        let params = PostParams::default();
        let written = match &decision {
            Decision::Wait => return Ok(false),
            Decision::Create(lease) => within(action(), self.api.create(&params, lease)).await,
            Decision::Write(lease) => {
                let name = &self.candidate.name;
                within(action(), self.api.replace(name, &params, lease)).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // Another replica was faster; the next look tells who.
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What to do about a lease that has not changed for `unchanged`.
fn decide(
    found: Option<&Lease>,
    candidate: &Candidate,
    unchanged: Duration,
    now: Timestamp,
) -> Decision {
    let mine = |acquired: Option<MicroTime>, transitions: i32| LeaseSpec {
        holder_identity: Some(candidate.identity.clone()),
        lease_duration_seconds: i32::try_from(LIFE.as_secs()).ok(),
        acquire_time: Some(acquired.unwrap_or(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    let Some(found) = found else {
        return Decision::Create(Lease {
            metadata: ObjectMeta {
                name: Some(candidate.name.clone()),
                namespace: Some(candidate.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(mine(None, 0)),
        });
    };
    let spec = found.spec.clone().unwrap_or_default();
    let transitions = spec.lease_transitions.unwrap_or(0);
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let life = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(LIFE, Duration::from_secs);
    let write = |spec: LeaseSpec| {
        Decision::Write(Lease {
            metadata: found.metadata.clone(),
            spec: Some(spec),
        })
    };
    if holder == candidate.identity {
        write(mine(spec.acquire_time, transitions))
    } else if holder.is_empty() || unchanged >= life {
        write(mine(None, transitions.saturating_add(1)))
    } else {
        Decision::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(identity: &str) -> Candidate {
        Candidate {
            namespace: "wsc-system".to_owned(),
            name: "wsc-operator".to_owned(),
            identity: identity.to_owned(),
        }
    }

    fn held_by(holder: &str) -> Lease {
        let now = Timestamp::UNIX_EPOCH;
        match decide(None, &candidate(holder), Duration::ZERO, now) {
            Decision::Create(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    fn decided(lease: &Lease, me: &str, unchanged: u64) -> Decision {
        let now = Timestamp::from_second(100).unwrap();
        decide(
            Some(lease),
            &candidate(me),
            Duration::from_secs(unchanged),
            now,
        )
    }

    #[test]
    fn a_lease_that_another_renews_is_left_alone() {
        assert_eq!(decided(&held_by("one"), "two", 14), Decision::Wait);
    }

    #[test]
    fn a_lease_that_ran_out_is_taken_and_the_change_is_counted() {
        let Decision::Write(lease) = decided(&held_by("one"), "two", 15) else {
            panic!("not taken")
        };
        let spec = lease.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("two"));
        assert_eq!(spec.lease_transitions, Some(1));
        assert_eq!(spec.acquire_time, spec.renew_time);
    }

    #[test]
    fn a_renewal_keeps_the_time_of_acquisition() {
        let Decision::Write(lease) = decided(&held_by("one"), "one", 2) else {
            panic!("not renewed")
        };
        let spec = lease.spec.unwrap();
        assert_eq!(spec.acquire_time, Some(MicroTime(Timestamp::UNIX_EPOCH)));
        assert_ne!(spec.acquire_time, spec.renew_time);
        assert_eq!(spec.lease_transitions, Some(0));
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        let mut lease = held_by("one");
        lease.spec.as_mut().unwrap().holder_identity = None;
        assert!(matches!(decided(&lease, "two", 0), Decision::Write(_)));
    }

    #[test]
    fn a_holder_stops_before_its_lease_can_run_out() {
        assert!(RENEW_WITHIN + Duration::from_secs(2) < LIFE);
    }
}
