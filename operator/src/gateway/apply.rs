//! Step 4: makes the cluster what was built, and says what had to be done.
//!
//! Nothing is written that is there already. An object of the same name that belongs to somebody else stops everything
//! before the first write. Generated Secrets come first and are only ever created or completed; then every object in
//! order by server-side apply; then what is no longer wanted goes. An object that the API server refuses does not keep the
//! others back, except those that would be wrong without it. May be cut off anywhere: the next run goes on.

mod contest;
mod covers;
mod deletion_cost;
mod put;
mod secret;
mod settled;
mod volume;
mod whole;

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::api::{DeleteParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};

use super::build::Desired;
use super::live::{Live, is_controlled_by};
use super::rollout::Rollout;
use super::validate::Rejection;
use crate::context::Context;
use crate::error::Error;
use crate::kube_call::{is_gone, is_refusal, within};
use crate::metrics::Verb;
use crate::names::Names;
use crate::owned::{Kind, Object};
use crate::stores::Key;

pub use contest::Contests;
pub use settled::Settled;

/// How far a reconcile went.
#[derive(Debug)]
pub enum Verdict {
    /// Everything is as wanted.
    Realised,
    /// Nothing was touched, as the resource asks.
    Paused,
    /// The user has to mend something. What was realised last is held meanwhile, or could not be.
    Rejected(Rejection, Option<Error>),
    /// The API server refused something or did not answer; what came before it was written.
    Failed(Error),
}

impl Verdict {
    /// The user has to mend something; nothing was tried meanwhile.
    pub const fn rejected(rejection: Rejection) -> Self {
        Self::Rejected(rejection, None)
    }
}

/// What was written: `created Deployment/chat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was done.
    pub verb: Verb,
    /// Kind and name.
    pub object: String,
}

/// The outcome of applying; a status can be computed from nothing else.
#[derive(Debug)]
pub struct Applied {
    /// The owned objects as they now are.
    pub live: Live,
    /// How far it went.
    pub verdict: Verdict,
    /// What was written.
    pub changes: Vec<Change>,
    /// Kinds that are wanted and that the cluster has not.
    pub unserved: BTreeSet<Kind>,
    /// Why nothing scales on connections although it should.
    pub unmeasured: Option<&'static str>,
    /// Keys of the resource that this release does not act on.
    pub unimplemented: Vec<String>,
}

impl Applied {
    /// Nothing was written.
    pub const fn nothing(live: Live, verdict: Verdict) -> Self {
        Self {
            live,
            verdict,
            changes: Vec::new(),
            unserved: BTreeSet::new(),
            unmeasured: None,
            unimplemented: Vec::new(),
        }
    }
}

/// Brings the cluster to `desired`.
pub async fn apply(desired: Desired, live: Live, context: &Context) -> Result<Applied, Error> {
    let mut run = Run {
        desired: &desired,
        context,
        live,
        changes: Vec::new(),
    };
    // Larger than all the rest of a reconcile.
    let verdict = match Box::pin(run.all()).await {
        Ok(None) => Verdict::Realised,
        Ok(Some(rejection)) => Verdict::rejected(rejection),
        // A fresh look will do; that is no news.
        Err(error @ Error::Conflict { .. }) => return Err(error),
        Err(error) => Verdict::Failed(error),
    };
    Ok(Applied {
        verdict,
        live: run.live,
        changes: run.changes,
        unserved: desired.unserved,
        unmeasured: desired.unmeasured,
        unimplemented: desired.unimplemented,
    })
}

/// Brings back what of `held` is missing or was changed, and takes nothing away but a budget that is one too many. What
/// somebody else has put in its place is left to them.
pub(super) async fn hold(
    held: Desired,
    applied: Applied,
    context: &Context,
) -> Result<Applied, Error> {
    let mut run = Run {
        desired: &held,
        context,
        live: applied.live,
        changes: applied.changes,
    };
    let failed = match Box::pin(run.hold()).await {
        Ok(()) => None,
        // As above.
        Err(error @ Error::Conflict { .. }) => return Err(error),
        Err(error) => Some(error),
    };
    let verdict = match applied.verdict {
        Verdict::Rejected(rejection, _) => Verdict::Rejected(rejection, failed),
        other @ (Verdict::Realised | Verdict::Paused | Verdict::Failed(_)) => other,
    };
    Ok(Applied {
        verdict,
        live: run.live,
        changes: run.changes,
        unserved: held.unserved,
        unmeasured: applied.unmeasured,
        unimplemented: applied.unimplemented,
    })
}

struct Run<'a> {
    desired: &'a Desired,
    context: &'a Context,
    live: Live,
    changes: Vec<Change>,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<Option<Rejection>, Error> {
        for object in &self.desired.objects {
            if let Some(rejection) = self.refuse_foreign(object).await? {
                return Ok(Some(rejection));
            }
        }
        for write in &self.desired.secrets {
            self.write_secret(write).await?;
        }
        // While something is awaited, not all that is wanted is known.
        let is_whole = self.desired.awaits.is_none();
        let mut wanted = self.desired.objects.iter().map(|object| object.kind);
        if is_whole && wanted.any(Kind::is_autoscaler) {
            // Two autoscalers would pull at one number, and KEDA refuses to be the second.
            self.prune(Kind::is_autoscaler).await?;
        }
        let refused = self.put_all(&self.desired.objects).await?;
        if is_whole {
            let kinds: Vec<Kind> = refused.iter().map(|(kind, _)| *kind).collect();
            self.prune(|kind| kind.may_go_despite(&kinds)).await?;
        }
        match refused.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(self.desired.awaits.clone()),
        }
    }

    async fn hold(&mut self) -> Result<(), Error> {
        let mut ours = Vec::with_capacity(self.desired.objects.len());
        for object in &self.desired.objects {
            if self.refuse_foreign(object).await?.is_none() {
                ours.push(object.clone());
            }
        }
        for write in &self.desired.secrets {
            self.write_secret(write).await?;
        }
        let refused = self.put_all(&ours).await?;
        // That of several gateways, of which there is one now.
        self.prune(|kind| kind == Kind::PodDisruptionBudget).await?;
        match refused.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Applies every object that can be. What the API server has refused, and why.
    async fn put_all(&mut self, objects: &[Object]) -> Result<Vec<(Kind, Error)>, Error> {
        let mut refused: Vec<(Kind, Error)> = Vec::new();
        for object in objects {
            if refused.iter().any(|(kind, _)| object.kind.needs(*kind)) {
                continue;
            }
            match self.put(object).await {
                Err(error) if is_refusal(&error) || error.is_contest() => {
                    refused.push((object.kind, error));
                }
                done => done?,
            }
        }
        Ok(refused)
    }

    /// Looks whether a name is taken. What the watches do not know is asked for: they see labelled objects only.
    async fn refuse_foreign(&mut self, object: &Object) -> Result<Option<Rejection>, Error> {
        let uid = &self.desired.owner_uid;
        let mut found = self.live.get(object.kind, &object.name).cloned();
        if found.is_none() {
            let action = format!("reading {}", self.place(&object.id()));
            let api = self.api(object.kind);
            found = within(action, api.get_opt(&object.name))
                .await?
                .map(|mut found| {
                    found.metadata.managed_fields = None;
                    Arc::new(found)
                });
        }
        let Some(found) = found else {
            return Ok(None);
        };
        if is_controlled_by(&found, uid) {
            self.live.insert(object.kind, found);
            return Ok(None);
        }
        Ok(Some(Rejection::NameTaken {
            object: object.id(),
        }))
    }

    /// Deletes what this resource owns and no longer wants, of these kinds.
    ///
    /// A Redis stays until no gateway is left that was told to use it; the end of the rollout wakes the next reconcile.
    async fn prune(&mut self, of: impl Fn(Kind) -> bool) -> Result<(), Error> {
        let names = Names::of(&self.desired.gateway);
        let redis = (!self.is_rolled_out()).then(|| [names.redis(), names.redis_members()]);
        let wanted: BTreeSet<(Kind, &str)> = self
            .desired
            .objects
            .iter()
            .map(|object| (object.kind, object.name.as_str()))
            .collect();
        let unwanted: Vec<(Kind, Arc<DynamicObject>)> = self
            .live
            .iter()
            .filter(|(kind, name, object)| {
                kind.is_pruned()
                    && of(*kind)
                    && !wanted.contains(&(*kind, *name))
                    && !redis.iter().flatten().any(|kept| kept == *name)
                    && object.metadata.deletion_timestamp.is_none()
                    && is_controlled_by(object, &self.desired.owner_uid)
            })
            .map(|(kind, _, object)| (kind, Arc::clone(object)))
            .collect();
        for (kind, object) in unwanted {
            let name = object.name_any();
            let id = format!("{}/{name}", kind.as_str());
            let action = format!("deleting {}", self.place(&id));
            let params = DeleteParams::background().preconditions(Preconditions {
                uid: object.metadata.uid.clone(),
                resource_version: None,
            });
            match within(action, self.api(kind).delete(&name, &params)).await {
                Ok(answer) => {
                    let left = answer.left();
                    // One that somebody's finalizer keeps is there until the watch says otherwise.
                    if left.is_none_or(|left| left.metadata.deletion_timestamp.is_none()) {
                        // As after a write: the watch may be behind, and what went must not be taken for what is wanted next.
                        let key = Key::of(object.as_ref(), Some(&self.desired.gateway));
                        let version = object.metadata.resource_version.as_deref();
                        self.context.stores.owned(kind).deleted(&key, version);
                    }
                    let place = self.settled_place(id.clone());
                    self.context.contests.unwanted(&place);
                    self.note(Verb::Deleted, kind.as_str(), id);
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
            self.live.remove(kind, &name);
        }
        Ok(())
    }

    fn is_rolled_out(&self) -> bool {
        let (namespace, name) = (&self.desired.namespace, &self.desired.gateway);
        let pods = self.context.stores.pods().group(namespace, name);
        let rollout = Rollout::of(self.desired.mode, &self.live, name, &pods);
        rollout.is_some_and(|rollout| rollout.is_done(&pods))
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(
            self.context.client.clone(),
            &self.desired.namespace,
            &kind.api_resource(),
        )
    }

    fn place(&self, id: &str) -> String {
        format!("{id} in namespace {}", self.desired.namespace)
    }

    fn note(&mut self, verb: Verb, kind: &'static str, object: String) {
        self.context.metrics.wrote(kind, verb);
        self.changes.push(Change { verb, object });
    }
}
