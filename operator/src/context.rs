//! `Context`: what every reconcile of one scope (a namespace, or all of them) shares.
//!
//! Holds the client, the watches' caches, and small memories that only save work: losing them at a restart costs a few
//! requests and never a wrong decision.

use std::collections::HashMap;
use std::sync::Arc;

use kube::core::ObjectMeta;
use kube::runtime::events::{Event, Recorder, Reporter};
use kube::{Api, Client};
use parking_lot::Mutex;

use crate::census::Census;
use crate::error::Error;
use crate::gateway::apply::{Contests, Settled};
use crate::gateway::validate::Defaults;
use crate::kube_call;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::secrets::SecretFacts;
use crate::stores::Stores;
use crate::traces::Tracer;

/// What reconciles share.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What is in the cluster, kept current by watches.
    pub stores: Stores,
    /// What a resource may leave out.
    pub defaults: Defaults,
    /// How many connections there are.
    pub census: Arc<Census>,
    /// Numbers for monitoring.
    pub metrics: Arc<Metrics>,
    /// Who says so in events.
    pub reporter: Reporter,
    /// Who is told how reconciles went.
    pub tracer: Tracer,
    /// Differences between desired and live that the API server made itself.
    pub settled: Settled,
    /// What somebody changes again each time it is restored.
    pub contests: Contests,
    /// Facts of Secrets, by namespace, name and version.
    facts: Mutex<HashMap<(String, String), (String, SecretFacts)>>,
    /// What an event has told in place of a condition that was refused, by resource.
    told: Mutex<HashMap<(String, String), Told>>,
    /// Failures in a row, by resource.
    pub failures: Mutex<HashMap<(String, String), u32>>,
}

/// The uid and the generation of a resource, and the reason that it was told.
type Told = (String, i64, &'static str);

impl Context {
    /// A context without memories.
    pub fn new(
        client: Client,
        stores: Stores,
        defaults: Defaults,
        census: Arc<Census>,
        shared: (Arc<Metrics>, Reporter),
    ) -> Self {
        let (metrics, reporter) = shared;
        Self {
            client,
            stores,
            defaults,
            census,
            metrics,
            reporter,
            tracer: Tracer::default(),
            settled: Settled::default(),
            contests: Contests::default(),
            facts: Mutex::default(),
            told: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Publishes an event.
    ///
    /// By a recorder of its own: one that is kept folds an event into an earlier one of the same reason and keeps that
    /// one's words, which name another object.
    pub async fn publish(
        &self,
        event: &Event,
        about: &k8s_openapi::api::core::v1::ObjectReference,
    ) -> Result<(), Error> {
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        let action = "publishing an event".to_owned();
        kube_call::within(action, recorder.publish(event, about)).await
    }

    /// What is known of a Secret; `None` when there is none.
    ///
    /// The watch of metadata says which version there is; content is read once for each version. A Secret that the watch
    /// does not know is asked for directly, because it may have been made a moment ago.
    pub async fn secret_facts(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SecretFacts>, Error> {
        let key = (namespace.to_owned(), name.to_owned());
        let seen = self.stores.secret_version(namespace, name);
        if let Some(version) = &seen
            && let Some((known, facts)) = self.facts.lock().get(&key)
            && known == version
        {
            return Ok(Some(facts.clone()));
        }
        let api: Api<k8s_openapi::api::core::v1::Secret> =
            Api::namespaced(self.client.clone(), namespace);
        let action = format!("reading Secret {namespace}/{name}");
        let Some(secret) = kube_call::within(action, api.get_opt(name)).await? else {
            self.facts.lock().remove(&key);
            return Ok(None);
        };
        let facts = SecretFacts::of(&secret);
        if let Some(version) = secret.metadata.resource_version {
            self.facts.lock().insert(key, (version, facts.clone()));
        }
        Ok(Some(facts))
    }

    /// Forgets the facts of a Secret that was written here.
    pub fn forget_secret(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.facts.lock().remove(&key);
    }

    /// Whether an event has yet to tell this of a resource whose condition was refused; from now on it has.
    pub fn tells(&self, about: &ObjectMeta, reason: &'static str) -> bool {
        let key = (
            about.namespace.clone().unwrap_or_default(),
            about.name.clone().unwrap_or_default(),
        );
        let uid = about.uid.clone().unwrap_or_default();
        let what = (uid, about.generation.unwrap_or_default(), reason);
        let mut told = self.told.lock();
        told.insert(key, what.clone()) != Some(what)
    }

    /// Forgets what was remembered for a resource that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.failures.lock().remove(&key);
        self.told.lock().remove(&key);
        let names = Names::of(name);
        let mut facts = self.facts.lock();
        for secret in [names.auth(), names.redis()] {
            facts.remove(&(namespace.to_owned(), secret));
        }
        drop(facts);
        self.census.forget(namespace, name);
        self.settled.forget(namespace, name);
        self.contests.forget(namespace, name);
    }
}
