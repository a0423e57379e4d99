//! The controller of one scope: starts the watches beside that of pods, and turns what changed into reconciles.
//!
//! Bounded concurrency; one reconcile of a gateway at a time; failures back off with jitter. Errors are logged here, once.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::{Stream, StreamExt, stream};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::Reporter;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::api::WebSocketGateway;
use crate::backoff::{self, WatchBackoff, jittered};
use crate::context::Context;
use crate::counting::Counting;
use crate::error::Error;
use crate::gateway::dereference::{is_drawn_for, secret_names};
use crate::gateway::reconcile;
use crate::gateway::status::Outcome;
use crate::gateway::unreadable;
use crate::gateway::validate::Defaults;
use crate::metrics::Metrics;
use crate::traces::{Reconciled, Tracer};
use crate::watch::{Concern, Watches, is_forbidden, paged};

/// Resources are read one by one, so that one which an older CRD let through does not hide the others.
type Guarded = DeserializeGuard<WebSocketGateway>;

/// How many gateways are reconciled at a time.
const CONCURRENCY: u16 = 8;

/// One change of a resource shows as several events; together they are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// How many changes may wait. A full queue holds up the watches, which lose nothing by that.
const QUEUE: usize = 1024;

/// Everything is looked at again after so long, in case an event was lost.
const RESYNC: Duration = Duration::from_mins(10);

/// What no watch tells of, such as a foreign object with our name, is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(8);

/// What the controllers of all scopes share.
#[derive(Clone)]
pub struct Shared {
    /// The API server.
    pub client: Client,
    /// What a resource may leave out.
    pub defaults: Defaults,
    /// Numbers for monitoring.
    pub metrics: Arc<Metrics>,
    /// Who says so in events.
    pub reporter: Reporter,
    /// Who is told how reconciles went.
    pub tracer: Tracer,
}

/// Runs until the token says stop and the last reconcile has ended. Pods are counted already.
pub async fn run(counting: Counting, shared: Shared, token: CancellationToken) {
    let Counting {
        scope,
        stores,
        census,
        concerns,
    } = counting;
    info!(%scope, "watching");
    let tracker = TaskTracker::new();
    let (told, changed) = mpsc::channel(QUEUE);
    concerns.heard_by(told);
    let watches = Watches {
        client: shared.client.clone(),
        scope: scope.clone(),
        concerns,
        metrics: Arc::clone(&shared.metrics),
        token: token.clone(),
    };
    watches.start(&stores, &tracker);
    let mut context = Context::new(
        shared.client.clone(),
        stores,
        shared.defaults,
        census,
        (shared.metrics, shared.reporter),
    );
    context.tracer = shared.tracer;
    let context = Arc::new(context);
    let controller = Controller::<Guarded>::new(scope.api(&shared.client), paged());
    let known = controller.store();
    let limits = controller::Config::default()
        .concurrency(CONCURRENCY)
        .debounce(DEBOUNCE);
    controller
        .with_config(limits)
        .trigger_backoff(WatchBackoff::default())
        .reconcile_on(woken(changed, known))
        .graceful_shutdown_on(token.clone().cancelled_owned())
        .run(reconcile_guarded, retry, Arc::clone(&context))
        .for_each(|result| {
            ended(result, &context);
            std::future::ready(())
        })
        .await;
    tracker.close();
    tracker.wait().await;
}

/// The gateways that changes concern.
fn woken(
    changed: mpsc::Receiver<Concern>,
    known: Store<Guarded>,
) -> impl Stream<Item = ObjectRef<Guarded>> + Send + 'static {
    stream::unfold(changed, |mut changed| async {
        let concern = changed.recv().await?;
        Some((concern, changed))
    })
    .flat_map(move |concern| stream::iter(concerned(&concern, &known)))
}

fn concerned(concern: &Concern, known: &Store<Guarded>) -> Vec<ObjectRef<Guarded>> {
    match concern {
        // An object of ours that belongs to no gateway any more.
        Concern::Gateway { name, .. } if name.is_empty() => Vec::new(),
        Concern::Gateway { namespace, name } => vec![ObjectRef::new(name).within(namespace)],
        Concern::Everyone => known
            .state()
            .iter()
            .map(|guarded| ObjectRef::from_obj(guarded.as_ref()))
            .collect(),
        Concern::Secret { namespace, name } => known
            .state_filter(|guarded| {
                let refers = |gateway| secret_names(gateway).contains(name);
                guarded.namespace().as_ref() == Some(namespace)
                    && (is_drawn_for(&guarded.name_any(), name)
                        || guarded.0.as_ref().is_ok_and(refers))
            })
            .iter()
            .map(|guarded| ObjectRef::from_obj(guarded.as_ref()))
            .collect(),
    }
}

async fn reconcile_guarded(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let key = key(&guarded);
    let span = info_span!("reconcile", namespace = key.0, gateway = key.1);
    let (began, since) = (Instant::now(), SystemTime::now());
    let result = match &guarded.0 {
        Ok(gateway) => {
            reconcile(Arc::new(gateway.clone()), &context)
                .instrument(span)
                .await
        }
        Err(invalid) => {
            let told = unreadable::tell(&invalid.metadata, &invalid.error, &context);
            let told = told.instrument(span).await;
            told.and(Err(Error::Unreadable(invalid.error.clone())))
        }
    };
    let label = match &result {
        Ok(Outcome::Settled) => "settled",
        Ok(Outcome::Waiting) => "waiting",
        Err(error) => error.label(),
    };
    context.metrics.reconciled(label, began.elapsed());
    context.tracer.reconciled(&Reconciled {
        namespace: key.0.clone(),
        gateway: key.1.clone(),
        began: since,
        outcome: label,
        failed: result.is_err(),
    });
    let outcome = result?;
    context.failures.lock().remove(&key);
    Ok(match outcome {
        Outcome::Settled => Action::requeue(jittered(RESYNC)),
        Outcome::Waiting => Action::requeue(jittered(LOOK_AGAIN)),
    })
}

/// When to try again: soon at first, then ever later, never all at once.
// The signature is the runtime's.
#[allow(clippy::needless_pass_by_value)]
fn retry(guarded: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let key = key(&guarded);
    let failures = {
        let mut all = context.failures.lock();
        let count = all.entry(key.clone()).or_insert(0);
        *count = count.saturating_add(1);
        *count
    };
    let delay = jittered(backoff::after(failures));
    let again = error.is_transient();
    warn!(
        namespace = key.0,
        gateway = key.1,
        error = error.chain(),
        failures,
        "a reconcile failed"
    );
    if again {
        Action::requeue(delay)
    } else {
        Action::await_change()
    }
}

fn ended(
    result: Result<(ObjectRef<Guarded>, Action), controller::Error<Error, watcher::Error>>,
    context: &Context,
) {
    match result {
        Ok((gateway, _)) => debug!(%gateway, "reconciled"),
        // Its objects go by their owner references; here only memory is left.
        Err(controller::Error::ObjectNotFound(gone)) => {
            context.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
        }
        // Logged by `retry`.
        Err(controller::Error::ReconcilerFailed(..)) => {}
        Err(error) => {
            context.metrics.watch_failed("WebSocketGateway");
            if let controller::Error::QueueError(cause) = &error
                && is_forbidden(cause)
            {
                context.stores.gateways().note();
            }
            warn!(%error, "the watch of gateways failed and is tried again");
        }
    }
}

fn key(guarded: &Guarded) -> (String, String) {
    (guarded.namespace().unwrap_or_default(), guarded.name_any())
}
