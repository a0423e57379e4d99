//! The composition root: builds every part, opens all listeners together, and takes everything down in the order that
//! loses nothing.
//!
//! [`Gateway::start`] either serves on every port or fails and leaves nothing behind. [`Gateway::drain`] is the one way
//! out: unready, stop accepting, send sessions away, leave the cluster, stop. `main` and the tests call it; nothing else
//! knows how the parts fit together.

mod assembly;
mod drain;
mod listeners;
mod local;
mod options;
mod reload;
mod trouble;
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
use crate::admission::{Admission, Door};
use crate::api::{self, ApiContext, BodyLimit, GrpcHealth, ReflectionError};
use crate::cluster::Cluster;
use crate::hub::{Command, Hub, ShardContext, ShardThread};
use crate::jwks::JwksKeeper;
use crate::presence::PresenceDesk;
use crate::protocol::CodecError;
use crate::revocation::RevocationDesk;
use crate::security::{ApiKeyGuard, FetchedKeys, Sealer};
use crate::service::{Event, EventFilterError, HookDesk, Service, Statistics};
use crate::settings::{Secrets, Settings, SettingsError};
use crate::telemetry::traces::TraceError;
use crate::telemetry::{ApiKind, BuildInfo, Instruments, Metrics};
use crate::ticket::Tickets;
use crate::tls::TlsListeners;
use crate::transport::{UpgradeState, Upgrades};

use assembly::{
    Prepared, Shared, admission, api_context, hook_desk, node_api, reflection, share, start_shards,
    with_peers, with_sessions,
};
use listeners::Listeners;
pub use listeners::{Addresses, BindError};
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
    /// The shard that accepts connections takes nothing.
    #[error("the first shard has ended")]
    Shard,
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
    /// Of calls of the API.
    max_body: BodyLimit,
    sealer: Arc<Sealer>,
    instruments: Instruments,
    reloaded: Arc<ArcSwap<ReloadStatus>>,
    settings: Arc<ArcSwap<Settings>>,
    hub: Arc<Hub>,
    shared: Shared,
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
        let prepared = Prepared::new(&config, &options)?;
        let fetched = prepared.jwks.as_ref().map(JwksKeeper::keys);
        let live = Arc::new(ArcSwap::from(prepared.settings.clone()));
        let listeners = Listeners::bind(&config)?;
        let addresses = listeners.addresses();
        let (hub, inboxes) = Hub::new(options.shards());
        let (tasks, running) = (TaskTracker::new(), CancellationToken::new());
        // Whatever fails from here on takes down what has been started.
        let undo = running.clone().drop_guard();
        let (middleware, outbound) = (extensions.middleware(), extensions.outbound());
        let service = Service::start(extensions, &tasks, &running.child_token());
        service.emit_now(Event::INITIALIZE, &options.node);
        let params = options.cluster_params(&config, addresses, prepared.between());
        let shared = share(&config, params, (&hub, &service), &live, (&tasks, &running));
        let cluster = &shared.cluster;
        let ground = (hub.clone(), cluster.clone());
        let hooks = hook_desk(prepared.plans, &service, cluster, (&tasks, &running))?;
        let refusing = Arc::new(AtomicBool::new(false));
        let tracer = options.tracer(&config, (&tasks, &running))?;
        cluster.trace_with(tracer.clone());
        let instruments = prepared.instruments.with_tracer(tracer);
        let desk = RevocationDesk::start(ground, &tasks, &running);
        if let Some(jwks) = prepared.jwks {
            tasks.spawn(jwks.run(instruments.clone(), running.child_token()));
        }
        let admission = admission(&config, &instruments, cluster, (&tasks, &running));
        admission.watch_memory(options.gauge.clone(), &tasks, running.child_token());
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
            delivery: shared.delivery.clone(),
            groups: shared.groups.clone(),
            tickets: shared.tickets.clone(),
            settings: prepared.settings,
            admission: admission.clone(),
            instruments: instruments.clone(),
            tls: prepared.tls.ws.clone(),
            upgrades: Upgrades::new(upgrades.clone(), &middleware, options.pages.clone()),
            service: service.clone(),
            presence: shared.presence.clone(),
            revocations: desk.list(),
        };
        let shards = start_shards(inboxes, &context, &running)?;
        let calls = node_api(&context, &live, desk);
        outbound.connect(&calls);
        let api = api_context(
            &config,
            (calls, (prepared.guard.clone(), admission.clone())),
            &instruments,
        );
        let (grpc, health) = api::grpc_routes(api.clone(), reflection(&config)).await?;
        let grpc = with_sessions(grpc, &config, (upgrades, &middleware));
        let serving = CancellationToken::new();
        let grpc = with_peers(grpc, cluster.peer_service(serving.clone()));
        let gateway = Arc::new(Self {
            addresses,
            config: ArcSwap::from_pointee(config.clone()),
            started: config,
            secrets: ArcSwap::from_pointee(options.secrets.clone()),
            fetched,
            options,
            guard: prepared.guard,
            tls: prepared.tls,
            admission,
            max_body: api.max_body.clone(),
            sealer: prepared.sealer,
            instruments: instruments.clone(),
            reloaded: Arc::default(),
            settings: live,
            hub,
            shared,
            service,
            hooks,
            phase: watch::Sender::new(Phase::Starting),
            refusing,
            health,
            tasks,
            accepting: CancellationToken::new(),
            serving,
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
        Self::look_at_drain(&self.config());
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
        if self.service.hears_faults() {
            let (service, cancel) = (self.service.clone(), self.running.child_token());
            self.tasks
                .spawn(trouble::watch(view.clone(), service, cancel));
        }
        let admin = Admin::spawn(listeners.admin, view).map_err(StartError::Thread)?;
        *self.admin.lock() = Some(admin);
        if let Some(ws) = listeners.ws {
            let listen = Command::Listen(ws, self.accepting.clone());
            let posted = self.hub.try_post(0, listen);
            posted.map_err(|_| StartError::Shard)?;
        }
        let door = |kind| Door::new(api::MAX_CONNECTIONS).judged_by(&self.admission, kind);
        self.tasks.spawn(api::serve_http(
            (listeners.http, door(ApiKind::Http)),
            api::http_router(api),
            self.tls.http.clone(),
            self.serving.clone(),
        ));
        let serving = api::serve_grpc(
            (listeners.grpc, door(ApiKind::Grpc)),
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
        &self.shared.cluster
    }

    /// Who watches whom.
    pub const fn presence(&self) -> &PresenceDesk {
        &self.shared.presence
    }

    /// Customer service.
    pub const fn tickets(&self) -> &Tickets {
        &self.shared.tickets
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

fn build_info(config: &GatewayConfig) -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: config.gateway.name.clone(),
        gateway_version: config.gateway.version.clone(),
        environment: config.gateway.environment.clone(),
    }
}
