//! The watches of one scope: they keep the [`Stores`] current and wake the gateways that a change concerns.
//!
//! One tracked task for each kind. A kind of an extension that the cluster has not is looked for again and again, so that
//! what is wanted of it is made when it comes. Watches back off by themselves and never end before their token; an error is logged
//! and counted here. That of pods is started by `counting`, on every replica; the others by `controller`.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::WatchParams;
use kube::core::{DynamicObject, NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::api::WebSocketGateway;
use crate::backoff::{WatchBackoff, jittered};
use crate::kube_call::{self, within};
use crate::metrics::Metrics;
use crate::names::{GATEWAY_LABEL, MANAGED_BY_LABEL, MANAGER};
use crate::owned::Kind;
use crate::scope::Scope;
use crate::stores::{Cache, Key, PodView, Sight, Stores};

/// Objects that the API server tells at once.
const PAGE: u32 = 50;

/// Whom a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    /// One gateway.
    Gateway {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Every gateway that refers to this Secret.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Every gateway: the cluster has learnt a kind, or lost one.
    Everyone,
}

/// Where to tell of changes: to the controller, from when there is one. What changes before that concerns nobody, since a
/// controller begins by looking at everything.
#[derive(Clone, Debug, Default)]
pub struct Concerns(Arc<OnceLock<mpsc::Sender<Concern>>>);

impl Concerns {
    /// Tells this receiver from now on. Bounded: a watch that cannot be heard waits, and the API server keeps what it
    /// missed.
    pub fn heard_by(&self, sender: mpsc::Sender<Concern>) {
        // A second controller of the same scope there is not.
        let _ = self.0.set(sender);
    }

    /// Tells of a change. When whoever heard is gone it concerns nobody, as before there was one: the metrics API is asked
    /// until the end, and what it says is kept current.
    pub async fn tell(&self, concern: Concern) {
        if let Some(sender) = self.0.get() {
            let _ = sender.send(concern).await;
        }
    }
}

/// How a watch ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// By its token.
    Stopped,
    /// The cluster has no such kind.
    NotServed,
    /// It does not let the operator see it.
    Forbidden,
}

/// How long until a kind that the cluster did not have is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What all watches of a scope share.
#[derive(Clone)]
pub struct Watches {
    /// The API server.
    pub client: Client,
    /// Which namespace.
    pub scope: Scope,
    /// Where to tell of changes.
    pub concerns: Concerns,
    /// Numbers for monitoring.
    pub metrics: Arc<Metrics>,
    /// When to end.
    pub token: CancellationToken,
}

impl Watches {
    /// Starts the watch of pods.
    pub fn start_pods(&self, stores: &Stores, tracker: &TaskTracker) {
        let pods: Api<Pod> = self.api();
        let cache = Arc::clone(stores.pods());
        // Also the application's that ask for a gateway.
        let stream = watcher(pods, paged().labels(GATEWAY_LABEL));
        tracker.spawn(self.clone().run("Pod", stream, cache, keep_pod));
    }

    /// Starts every other watch.
    pub fn start(&self, stores: &Stores, tracker: &TaskTracker) {
        for kind in Kind::ALL {
            let resource = kind.api_resource();
            let api = self
                .scope
                .api_with::<DynamicObject>(&self.client, &resource);
            let cache = Arc::clone(stores.owned(kind));
            if kind.extension().is_some() {
                tracker.spawn(self.clone().run_extension(kind, api, cache));
            } else {
                let stream = watcher(api, ours());
                tracker.spawn(self.clone().run(kind.as_str(), stream, cache, keep(kind)));
            }
        }
        let secrets: Api<PartialObjectMeta<Secret>> = self.api();
        let cache = Arc::clone(stores.secrets());
        let stream = watcher(secrets, paged());
        tracker.spawn(self.clone().run("Secret", stream, cache, keep_version));
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        self.scope.api(&self.client)
    }

    async fn run<K, T>(
        self,
        kind: &'static str,
        stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
        cache: Arc<Cache<T>>,
        keep: fn(K) -> (Key, T),
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        // That a kind of Kubernetes' own is not served can only be an API server that is starting: `follow` goes on.
        let handling = Handling {
            keep,
            missing: Missing::Fails,
        };
        self.follow(kind, stream, &cache, handling).await;
    }

    /// Watches a kind of an extension while the cluster has it, and looks whether it has meanwhile.
    async fn run_extension(
        self,
        kind: Kind,
        api: Api<DynamicObject>,
        cache: Arc<Cache<DynamicObject>>,
    ) {
        loop {
            // A new one each time: one whose kind is gone would go on from versions that mean nothing any more.
            let stream = watcher(api.clone(), ours());
            let handling = Handling {
                keep: keep_object,
                missing: Missing::Ends(&api),
            };
            let ended = self.follow(kind.as_str(), stream, &cache, handling).await;
            if ended == Ended::Stopped {
                return;
            }
            if cache.absent() {
                // That it is forbidden was said with the error.
                if ended == Ended::NotServed {
                    info!(kind = kind.as_str(), scope = %self.scope, "the cluster has no such kind");
                }
                self.concerns.tell(Concern::Everyone).await;
            }
            tokio::select! {
                () = self.token.cancelled() => return,
                () = tokio::time::sleep(jittered(LOOK_AGAIN)) => {}
            }
        }
    }

    /// Says once that a kind of an extension cannot be seen.
    fn does_without<T>(&self, kind: &'static str, cache: &Cache<T>, why: &str) {
        if !cache.is_absent() {
            warn!(kind, scope = %self.scope, why, "the operator lacks a right and does without this kind");
        }
    }

    async fn follow<K, T>(
        &self,
        kind: &'static str,
        stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
        cache: &Cache<T>,
        Handling { keep, missing }: Handling<'_, K, T>,
    ) -> Ended
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut events = pin!(stream.backoff(WatchBackoff::default()));
        loop {
            let event = tokio::select! {
                () = self.token.cancelled() => return Ended::Stopped,
                event = events.next() => event,
            };
            match event {
                Some(Ok(Event::InitDone))
                    if let Missing::Ends(api) = missing
                        && (cache.is_absent() || !cache.is_ready())
                        && !may_be_watched(api).await =>
                {
                    self.does_without(kind, cache, "they may be listed and not watched");
                    return Ended::Forbidden;
                }
                Some(Ok(event)) => {
                    let is_unseen = || cache.is_absent() || cache.sight() != Sight::Clear;
                    let was_unseen = is_unseen();
                    // A list says so before its first request.
                    let is_answer = !matches!(event, Event::Init);
                    let changed = cache.apply(event, keep);
                    if is_answer {
                        cache.watched();
                    }
                    let appeared = was_unseen && !is_unseen();
                    let everyone = appeared.then_some(Concern::Everyone);
                    let concerns = changed.into_iter().map(|key| concern(kind, key));
                    for concern in concerns.chain(everyone) {
                        self.concerns.tell(concern).await;
                    }
                }
                Some(Err(error)) if missing.ends() && is_not_served(&error) => {
                    return Ended::NotServed;
                }
                Some(Err(error)) if missing.ends() && is_denied(&error) => {
                    self.does_without(kind, cache, &error.to_string());
                    return Ended::Forbidden;
                }
                Some(Err(error)) if is_forbidden(&error) => {
                    self.metrics.watch_failed(kind);
                    warn!(kind, scope = %self.scope, %error, "the operator lacks a right, and what it knows of this kind is old or nothing");
                    if cache.refused() {
                        self.concerns.tell(Concern::Everyone).await;
                    }
                }
                Some(Err(error)) => {
                    self.metrics.watch_failed(kind);
                    warn!(kind, %error, "a watch failed and is tried again");
                }
                None => return Ended::Stopped,
            }
        }
    }
}

/// What a watch makes of what it gets.
struct Handling<'a, K, T> {
    /// What is kept of an object, and where.
    keep: fn(K) -> (Key, T),
    missing: Missing<'a>,
}

/// What a watch makes of a kind that is not served.
#[derive(Clone, Copy)]
enum Missing<'a> {
    /// The watch of these ends.
    Ends(&'a Api<DynamicObject>),
    /// It failed like any other time, and is tried again.
    Fails,
}

impl Missing<'_> {
    const fn ends(self) -> bool {
        matches!(self, Self::Ends(_))
    }
}

/// Whether objects that may be listed may be watched as well. A kind of an extension is taken for served after its first list:
/// one that were lost again with the watch that follows would come and go with each look.
async fn may_be_watched(api: &Api<DynamicObject>) -> bool {
    // As short as can be said; it is dropped when it has begun.
    let params = WatchParams::default()
        .labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"))
        .timeout(1);
    let action = "watching for a moment".to_owned();
    match within(action, api.watch(&params, "0")).await {
        Ok(_) => true,
        Err(error) => !kube_call::is_denied(&error),
    }
}

/// Whether the API server has no such kind.
fn is_not_served(error: &watcher::Error) -> bool {
    code(error) == Some(404)
}

/// The same, or it cannot tell of such objects at all.
fn is_denied(error: &watcher::Error) -> bool {
    matches!(code(error), Some(403 | 405))
}

/// Whether it does not let the operator see them.
pub fn is_forbidden(error: &watcher::Error) -> bool {
    code(error) == Some(403)
}

fn code(error: &watcher::Error) -> Option<u16> {
    let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) =
        error
    else {
        return None;
    };
    match cause {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// A watch begins with a list. All kinds are listed at the same time, and what a page takes while it is read stays with the
/// process: so that very many objects need no more than what is kept of them, pages are small.
pub fn paged() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// Objects that carry the label of this operator.
fn ours() -> watcher::Config {
    paged().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"))
}

fn concern(kind: &str, key: Key) -> Concern {
    let Key {
        namespace,
        group,
        name,
    } = key;
    if kind == "Secret" {
        Concern::Secret { namespace, name }
    } else {
        Concern::Gateway {
            namespace,
            name: group,
        }
    }
}

/// The gateway of an object: its owner, so that a label that somebody took away does not hide it, else the label.
fn group<K: ResourceExt>(object: &K) -> Option<String> {
    let kind = WebSocketGateway::kind(&());
    let owner = object
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true) && owner.kind == kind);
    owner
        .map(|owner| owner.name.clone())
        .or_else(|| object.labels().get(GATEWAY_LABEL).cloned())
}

/// Without what nobody reads: the record of who wrote which field is often longer than the object.
pub fn keep_object(mut object: DynamicObject) -> (Key, DynamicObject) {
    let key = Key::of(&object, group(&object).as_deref());
    object.metadata.managed_fields = None;
    (key, object)
}

/// What is kept of an owned object of a kind.
pub fn keep(kind: Kind) -> fn(DynamicObject) -> (Key, DynamicObject) {
    if kind == Kind::ControllerRevision {
        keep_without_data
    } else {
        keep_object
    }
}

/// Of a revision only that there is one: its name says what is in it, and it is read when it is needed.
fn keep_without_data(object: DynamicObject) -> (Key, DynamicObject) {
    let (key, mut object) = keep_object(object);
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("data");
    }
    (key, object)
}

/// Only what statuses and the census read.
#[allow(clippy::needless_pass_by_value)] // As the watch hands it over.
pub fn keep_pod(pod: Pod) -> (Key, PodView) {
    (Key::of(&pod, group(&pod).as_deref()), PodView::of(&pod))
}

/// Only the version: content is read when it changed, and only of Secrets that somebody refers to.
#[allow(clippy::needless_pass_by_value)] // As the watch hands it over.
pub fn keep_version(secret: PartialObjectMeta<Secret>) -> (Key, String) {
    let version = secret.resource_version().unwrap_or_default();
    (Key::of(&secret, None), version)
}
