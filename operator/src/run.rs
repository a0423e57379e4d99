//! The operator's life: admin port, lease, controllers, and an orderly end.

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use kube::runtime::events::Reporter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::admin::{self, Health, Part};
use crate::cli::{LogFormat, Options};
use crate::controller::{self, Shared};
use crate::counting::Counting;
use crate::gateway::validate::{Counted, Defaults, ExternalMetrics};
use crate::inject::{self, Injector};
use crate::lease::{Candidate, Election};
use crate::metrics::{Leads, Metrics};
use crate::metrics_api::{MetricsApi, Place};
use crate::names::MANAGER;
use crate::patience;
use crate::scope::Scope;
use crate::stopping::{Called, Stopping};
use crate::traces::Tracer;

/// Sets up the log.
pub fn telemetry(options: &Options) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&options.log_level)
        .with_context(|| format!("--log-level {}", options.log_level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match options.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
}

/// Runs until a signal comes or the lease is lost.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let client = patience::client().await?;
    let stopping = Stopping::default();
    let tracker = TaskTracker::new();
    let (health, metrics) = (Health::default(), Arc::new(Metrics::default()));
    let scopes = Scope::of(&options.namespaces).into_iter();
    let counting: Vec<Counting> = scopes.map(Counting::new).collect();
    let listener = admin::bind(options.admin_port).await?;
    let admin_token = CancellationToken::new();
    let shared = admin::Shared {
        health: health.clone(),
        metrics: Arc::clone(&metrics),
        counting: counting.clone(),
    };
    tracker.spawn(admin::serve(listener, shared, admin_token.clone()));
    stopping.on_signal(called(&options), &tracker)?;
    let asked = stopping.asked.clone();
    health.needs(Arc::new(move || asked.is_cancelled().then_some("stopping")));
    info!(version = env!("CARGO_PKG_VERSION"), "started");
    let tracer = match &options.otlp_endpoint {
        Some(endpoint) => {
            let tasks = (&tracker, admin_token.clone());
            Tracer::start(endpoint, &options.identity, &metrics, tasks)?
        }
        None => Tracer::default(),
    };
    let work = Work {
        client,
        tracer,
        counting,
        health,
        metrics,
        stopping,
        options,
    };
    work.start_beside(&tracker).await?;
    work.start_injector(&tracker).await?;
    let over = work.stopping.over.clone();
    let result = work.run().await;
    if result.is_ok() {
        over.cancelled().await;
    }
    admin_token.cancel();
    tracker.close();
    if result.is_ok() {
        tracker.wait().await;
    }
    result
}

struct Work {
    client: Client,
    tracer: Tracer,
    counting: Vec<Counting>,
    health: Health,
    metrics: Arc<Metrics>,
    stopping: Stopping,
    options: Options,
}

impl Work {
    /// What every replica does, whether it leads or not: it counts, and answers autoscalers where that is wanted.
    async fn start_beside(&self, tracker: &TaskTracker) -> anyhow::Result<()> {
        for part in &self.counting {
            // As long as somebody may ask.
            let over = &self.stopping.over;
            part.start(self.client.clone(), &self.metrics, tracker, over);
        }
        let Some(service) = &self.options.metrics_api_service else {
            return Ok(());
        };
        let api = MetricsApi {
            client: self.client.clone(),
            place: Place {
                namespace: self.options.own_namespace.clone(),
                service: service.clone(),
            },
            counting: self.counting.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        let listener = admin::bind(self.options.metrics_api_port).await?;
        self.health
            .needs(api.start(listener, tracker, &self.stopping)?);
        Ok(())
    }

    /// Puts gateways into pods of applications where that is wanted, whether this replica leads or not.
    async fn start_injector(&self, tracker: &TaskTracker) -> anyhow::Result<()> {
        let Some(service) = &self.options.injector_service else {
            return Ok(());
        };
        let injector = Injector {
            client: self.client.clone(),
            place: inject::Place {
                namespace: self.options.own_namespace.clone(),
                service: service.clone(),
                configuration: self.options.injector_configuration.clone(),
            },
            metrics: Arc::clone(&self.metrics),
        };
        let listener = admin::bind(self.options.injector_port).await?;
        self.health
            .needs(injector.start(listener, tracker, &self.stopping)?);
        Ok(())
    }

    /// Leads, or waits to lead.
    async fn run(self) -> anyhow::Result<()> {
        if !self.options.leader_election {
            self.lead().await;
            return Ok(());
        }
        let candidate = Candidate {
            namespace: self.options.own_namespace.clone(),
            name: self.options.lease_name.clone(),
            identity: format!("{}_{:08x}", self.options.identity, rand::random::<u32>()),
        };
        let mut election = Election::new(self.client.clone(), candidate);
        let standby = || self.health.is(Part::Standby);
        let Some(since) = election.acquire(&self.stopping.asked, standby).await else {
            return Ok(());
        };
        // A lost lease ends the process at once: another replica may write from the end of the lease's life on. The token
        // ends `lead` only, which waits for its last write; until then the lease is renewed.
        let held = election.hold(since, self.lead()).await;
        held.context("stopping before somebody else begins")
    }

    /// Runs a controller for each scope until the token says stop and all have ended.
    async fn lead(&self) {
        let stores = self.counting.iter().map(|part| part.stores.clone());
        self.health.is(Part::Leading(stores.collect()));
        self.metrics.leads(Leads::Yes);
        let tracker = TaskTracker::new();
        for part in &self.counting {
            let token = self.stopping.asked.clone();
            tracker.spawn(controller::run(part.clone(), self.shared(), token));
        }
        tracker.close();
        tracker.wait().await;
        self.metrics.leads(Leads::No);
    }

    fn shared(&self) -> Shared {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(self.options.identity.clone()),
        };
        Shared {
            client: self.client.clone(),
            defaults: Defaults {
                gateway_image: self.options.gateway_image.clone(),
                redis_image: self.options.redis_image.clone(),
                pod_user: self.options.pod_user,
                injects: self.options.injector_service.is_some(),
                operator_namespace: self.options.own_namespace.clone(),
                counted: counted(&self.options),
            },
            metrics: Arc::clone(&self.metrics),
            reporter,
            tracer: self.tracer.clone(),
        }
    }
}

/// What the operator was started with decides by what autoscalers learn of connections.
fn counted(options: &Options) -> Counted {
    let namespace = &options.own_namespace;
    let port = options.admin_port;
    let service = options.metrics_service.as_ref();
    Counted {
        external_metrics: match options.metrics_api_service {
            Some(_) => ExternalMetrics::Served,
            None => ExternalMetrics::Absent,
        },
        address: service.map(|service| format!("http://{service}.{namespace}.svc:{port}")),
    }
}

/// Whether the API server calls what this operator serves.
const fn called(options: &Options) -> Called {
    if options.metrics_api_service.is_some() || options.injector_service.is_some() {
        Called::ByApiServer
    } else {
        Called::ByNobody
    }
}
