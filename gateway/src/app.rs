//! The composition root: builds every part, opens all listeners together, and takes everything down in the order that
//! loses nothing.
//!
//! [`Gateway::start`] either serves on every port or fails and leaves nothing behind. [`Gateway::drain`] is the one way
//! out: unready, stop accepting, send sessions away, leave the cluster, stop. `main` and the tests call it; nothing else
//! knows how the parts fit together.

mod drain;
mod listeners;
mod local;
mod options;
mod reload;
mod view;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use wsc_config::GatewayConfig;

use crate::admin::{Admin, Phase, ReloadStatus};
use crate::admission::{Admission, Rules};
use crate::api::{self, ApiContext, GrpcHealth, NodeApi, Reflection, ReflectionError};
use crate::cluster::{Cluster, ClusterParams};
use crate::delivery::Delivery;
use crate::group::Groups;
use crate::hub::{self, Hub, ShardContext, ShardInbox, ShardThread};
use crate::jwks::JwksKeeper;
use crate::presence::PresenceDesk;
use crate::protocol::CodecError;
use crate::revocation::RevocationDesk;
use crate::security::{ApiKeyGuard, FetchedKeys, Sealer};
use crate::service::{
    Event, EventFilterError, HookDesk, HookGround, HookPlan, Service, Statistics,
};
use crate::settings::{Secrets, Settings, SettingsError};
use crate::telemetry::traces::TraceError;
use crate::telemetry::{BuildInfo, Instruments, Metrics};
use crate::ticket::{Means, Tickets};
use crate::tls::TlsListeners;
use crate::transport::{UpgradeState, accept_forever, upgrade_router};

use listeners::Listeners;
pub use listeners::{Addresses, BindError};
use local::Local;
pub use options::Options;
use view::View;

/// How long a call of the API may take.
const API_DEADLINE: Duration = Duration::from_secs(10);

/// Why a gateway did not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be served.
    #[error("configuration")]
    Settings(#[from] SettingsError),
    /// The application's codecs cannot be spoken.
    #[error("codecs")]
    Codecs(#[from] CodecError),
    /// A port cannot be had.
    #[error("listeners")]
    Bind(#[from] BindError),
    /// The gRPC API cannot describe itself.
    #[error("gRPC reflection")]
    Reflection(#[from] ReflectionError),
    /// A handler waits for an event that there is not.
    #[error("events")]
    Event(#[from] EventFilterError),
    /// Traces cannot be sent as configured.
    #[error("traces")]
    Traces(#[from] TraceError),
    /// A thread cannot be had.
    #[error("threads")]
    Thread(#[source] std::io::Error),
}

/// A running gateway.
pub struct Gateway {
    addresses: Addresses,
    config: ArcSwap<GatewayConfig>,
    /// What it was started with, which holds for everything that cannot change while it runs.
    started: GatewayConfig,
    options: Options,
    secrets: ArcSwap<Secrets>,
    /// The keys of tokens, where they are fetched.
    fetched: Option<Arc<FetchedKeys>>,
    guard: ApiKeyGuard,
    tls: TlsListeners,
    admission: Admission,
    sealer: Arc<Sealer>,
    instruments: Instruments,
    reloaded: Arc<ArcSwap<ReloadStatus>>,
    settings: Arc<ArcSwap<Settings>>,
    hub: Arc<Hub>,
    cluster: Cluster,
    groups: Groups,
    delivery: Delivery,
    tickets: Tickets,
    service: Arc<Service>,
    hooks: HookDesk,
    phase: watch::Sender<Phase>,
    /// Handshakes under way when the acceptor ended are refused.
    refusing: Arc<AtomicBool>,
    health: GrpcHealth,
    tasks: TaskTracker,
    /// Ends the acceptor.
    accepting: CancellationToken,
    /// Ends the APIs.
    serving: CancellationToken,
    /// Ends shards and the cluster's tasks.
    running: CancellationToken,
    shards: Mutex<Vec<ShardThread>>,
    admin: Mutex<Option<Admin>>,
    drain_requested: Arc<tokio::sync::Notify>,
}

impl Gateway {
    /// Starts everything. Must be called on a multi-threaded tokio runtime, which the APIs and the cluster then run on.
    pub async fn start(
        config: GatewayConfig,
        mut options: Options,
    ) -> Result<Arc<Self>, StartError> {
        let extensions = std::mem::take(&mut options.extensions);
        let jwks = options.jwks(&config).map_err(SettingsError::from)?;
        let fetched = jwks.as_ref().map(JwksKeeper::keys);
        let settings = Arc::new(options.settings(&config, &options.secrets, fetched.clone())?);
        let live = Arc::new(ArcSwap::from(settings.clone()));
        let guard = ApiKeyGuard::new(options.secrets.api_keys()?);
        let instruments = Instruments::default();
        let tls = options.tls(&config, &instruments)?;
        let sealer = Sealer::new(options.seal_keys(&config)?);
        let plans = options.hooks(&config)?;
        let listeners = Listeners::bind(&config)?;
        let addresses = listeners.addresses();
        let (hub, inboxes) = Hub::new(options.shards());
        let (tasks, running) = (TaskTracker::new(), CancellationToken::new());
        // Whatever fails from here on takes down what has been started.
        let undo = running.clone().drop_guard();
        let (middleware, outbound) = (extensions.middleware(), extensions.outbound());
        let service = Service::start(extensions, &tasks, &running.child_token());
        service.emit_now(Event::INITIALIZE, &options.node);
        let params = options.cluster_params(&config, addresses, &sealer);
        let Shared {
            cluster,
            presence,
            delivery,
            groups,
            tickets,
        } = share(&config, params, (&hub, &service), &live, (&tasks, &running));
        let ground = (hub.clone(), cluster.clone());
        let hooks = hook_desk(plans, &service, &cluster, (&tasks, &running))?;
        let refusing = Arc::new(AtomicBool::new(false));
        let tracer = options.tracer(&config, (&tasks, &running))?;
        cluster.trace_with(tracer.clone());
        let instruments = instruments.with_tracer(tracer);
        instruments.apply(&config.wsc.performance);
        let desk = RevocationDesk::start(ground, &tasks, &running);
        if let Some(jwks) = jwks {
            tasks.spawn(jwks.run(instruments.clone(), running.child_token()));
        }
        let admission = admission(&config, &instruments, &cluster, (&tasks, &running));
        let upgrades = UpgradeState {
            settings: live.clone(),
            instruments: instruments.clone(),
            revocations: desk.list(),
            admission: admission.clone(),
            cluster: cluster.clone(),
            codecs: options.codecs()?,
            hub: hub.clone(),
            draining: refusing.clone(),
        };
        let context = ShardContext {
            hub: hub.clone(),
            cluster: cluster.clone(),
            delivery: delivery.clone(),
            groups: groups.clone(),
            tickets: tickets.clone(),
            settings: settings.clone(),
            admission: admission.clone(),
            instruments: instruments.clone(),
            tls: tls.ws.clone(),
            upgrades: options.pages(middleware.around(upgrade_router(upgrades))),
            service: service.clone(),
            presence,
            revocations: desk.list(),
        };
        let shards = start_shards(inboxes, &context, &running)?;
        let calls = node_api(&context, &live, desk);
        outbound.connect(calls.clone());
        let api = api_context(
            &config,
            (calls, (guard.clone(), admission.clone())),
            &instruments,
        );
        let (grpc, health) = api::grpc_routes(api.clone(), reflection(&config)).await?;
        let gateway = Arc::new(Self {
            addresses,
            config: ArcSwap::from_pointee(config.clone()),
            started: config,
            secrets: ArcSwap::from_pointee(options.secrets.clone()),
            fetched,
            options,
            guard,
            tls,
            admission,
            sealer,
            instruments: instruments.clone(),
            reloaded: Arc::default(),
            settings: live,
            hub,
            cluster,
            groups,
            delivery,
            tickets,
            service,
            hooks,
            phase: watch::Sender::new(Phase::Starting),
            refusing,
            health,
            tasks,
            accepting: CancellationToken::new(),
            serving: CancellationToken::new(),
            running,
            shards: Mutex::new(shards),
            admin: Mutex::new(None),
            drain_requested: Arc::default(),
        });
        gateway.serve(listeners, (api, grpc), &instruments)?;
        undo.disarm();
        gateway.announce().await;
        Ok(gateway)
    }

    /// Tells everyone that calls and clients are welcome.
    async fn announce(&self) {
        self.health.serving().await;
        self.phase.send_replace(Phase::Serving);
        self.service.emit_now(Event::STARTED, &self.options.node);
        let Addresses {
            ws,
            http,
            grpc,
            admin,
        } = self.addresses;
        tracing::info!(?ws, %http, %grpc, %admin, "serving");
    }

    fn serve(
        self: &Arc<Self>,
        listeners: Listeners,
        (api, grpc): (ApiContext, Routes),
        instruments: &Instruments,
    ) -> Result<(), StartError> {
        let view = Arc::new(View::new(self));
        let metrics = Metrics::new(build_info(&self.config()), instruments, view.clone());
        view.set_metrics(metrics);
        let admin = Admin::spawn(listeners.admin, view).map_err(StartError::Thread)?;
        *self.admin.lock() = Some(admin);
        if let Some(ws) = listeners.ws {
            self.tasks.spawn(accept_forever(
                ws,
                (self.hub.clone(), self.admission.clone()),
                self.accepting.clone(),
            ));
        }
        self.tasks.spawn(api::serve_http(
            listeners.http,
            api::http_router(api),
            self.tls.http.clone(),
            self.serving.clone(),
        ));
        let serving = api::serve_grpc(
            listeners.grpc,
            grpc,
            self.tls.grpc.clone(),
            self.serving.clone(),
        );
        self.tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the gRPC API has ended");
            }
        });
        Ok(())
    }

    /// What it goes by now.
    pub fn config(&self) -> Arc<GatewayConfig> {
        self.config.load_full()
    }

    /// What it listens on.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// This node's sessions.
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// What the application added.
    pub const fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// What this node has done since it started, and what it holds now.
    pub fn stats(&self) -> Statistics {
        Statistics::of(self.hub.stats())
    }

    /// The other nodes.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Customer service.
    pub const fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Where it is in its life.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Resolves when somebody asked for a drain on the admin port.
    pub async fn drain_requested(&self) {
        self.drain_requested.notified().await;
    }
}

/// What this node shares with others.
struct Shared {
    cluster: Cluster,
    presence: PresenceDesk,
    delivery: Delivery,
    groups: Groups,
    tickets: Tickets,
}

fn share(
    config: &GatewayConfig,
    params: ClusterParams,
    (hub, service): (&Arc<Hub>, &Arc<Service>),
    live: &Arc<ArcSwap<Settings>>,
    (tasks, running): (&TaskTracker, &CancellationToken),
) -> Shared {
    let local = Local::of(hub, service);
    let cluster = Cluster::start(params, local, tasks, running.child_token());
    let ground = (hub.clone(), cluster.clone());
    let delivery = Delivery::start(&config.wsc, ground.clone(), tasks, running);
    let groups = Groups::start(
        (hub.clone(), cluster.clone(), delivery.clone()),
        service.clone(),
        live.clone(),
        (tasks, running),
    );
    let means = Means::of(&cluster, &delivery, service);
    Shared {
        tickets: Tickets::start(&config.wsc, means, tasks, running),
        presence: PresenceDesk::start(ground, service.clone(), tasks, running),
        delivery,
        groups,
        cluster,
    }
}

fn hook_desk(
    plans: Vec<HookPlan>,
    service: &Arc<Service>,
    cluster: &Cluster,
    (tasks, running): (&TaskTracker, &CancellationToken),
) -> Result<HookDesk, SettingsError> {
    let ground = HookGround {
        runtime: tokio::runtime::Handle::current(),
        tasks: tasks.clone(),
        cancel: running.clone(),
        cluster: cluster.clone(),
    };
    let desk = HookDesk::new(service.clone(), ground);
    desk.apply(plans)?;
    Ok(desk)
}

fn start_shards(
    inboxes: Vec<ShardInbox>,
    context: &ShardContext,
    running: &CancellationToken,
) -> Result<Vec<ShardThread>, StartError> {
    let shards = inboxes.into_iter();
    let shards = shards.map(|inbox| hub::spawn(inbox, context.clone(), running.child_token()));
    shards.collect::<Result<_, _>>().map_err(StartError::Thread)
}

fn node_api(
    context: &ShardContext,
    live: &Arc<ArcSwap<Settings>>,
    desk: RevocationDesk,
) -> Arc<NodeApi> {
    let ShardContext {
        hub,
        cluster,
        delivery,
        groups,
        ..
    } = context.clone();
    Arc::new(NodeApi::new(
        (hub, cluster),
        (delivery, groups),
        live.clone(),
        desk,
    ))
}

fn admission(
    config: &GatewayConfig,
    instruments: &Instruments,
    cluster: &Cluster,
    (tasks, running): (&TaskTracker, &CancellationToken),
) -> Admission {
    let admission = Admission::new(Rules::new(&config.wsc), instruments.clone());
    admission.share(cluster, tasks, running.child_token());
    admission
}

fn api_context(
    config: &GatewayConfig,
    (calls, (guard, admission)): (Arc<NodeApi>, (ApiKeyGuard, Admission)),
    instruments: &Instruments,
) -> ApiContext {
    ApiContext {
        service: calls.clone(),
        groups: calls,
        guard,
        admission,
        instruments: instruments.clone(),
        max_body_bytes: config.wsc.security.max_message_size.len(),
        deadline: API_DEADLINE,
    }
}

fn reflection(config: &GatewayConfig) -> Reflection {
    if config.grpc.reflection {
        Reflection::On
    } else {
        Reflection::Off
    }
}

fn build_info(config: &GatewayConfig) -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: config.gateway.name.clone(),
        environment: config.gateway.environment.clone(),
    }
}
