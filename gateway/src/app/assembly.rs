//! The steps of [`super::Gateway::start`]: what is read before anything runs, and how the parts are put together.
//!
//! Called by nothing else. Nothing here keeps state; what runs is owned by the gateway.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService as _;
use tonic::service::Routes;
use wsc_config::GatewayConfig;
use wsc_proto::cluster::peers_server::PeersServer;

use super::local::Local;
use super::{API_DEADLINE, Options, StartError};
use crate::admission::{Admission, Rules};
use crate::api::{ApiContext, BodyLimit, NodeApi, Reflection};
use crate::cluster::{Cluster, ClusterParams, Keep, PeerService};
use crate::delivery::Delivery;
use crate::group::Groups;
use crate::hub::{self, Hub, ShardContext, ShardInbox, ShardThread};
use crate::jwks::JwksKeeper;
use crate::presence::PresenceDesk;
use crate::rebalance::{Rebalance, RebalanceStats};
use crate::revocation::RevocationDesk;
use crate::security::{ApiKeyGuard, Sealer};
use crate::service::{HookDesk, HookGround, HookPlan, MiddlewareStack, Service};
use crate::settings::{Settings, SettingsError};
use crate::telemetry::{Instruments, StoreTimes};
use crate::ticket::{Means, Tickets};
use crate::tls::{ListenerTls, TlsListeners};
use crate::transport::{Carrier, UpgradeState, grpc};

/// What the configuration and its secrets come to. Nothing of it runs, so that what is wrong with either is said before
/// anything has begun.
pub(super) struct Prepared {
    pub(super) jwks: Option<JwksKeeper>,
    pub(super) settings: Arc<Settings>,
    pub(super) guard: ApiKeyGuard,
    pub(super) instruments: Instruments,
    pub(super) tls: TlsListeners,
    pub(super) sealer: Arc<Sealer>,
    pub(super) plans: Vec<HookPlan>,
}

impl Prepared {
    pub(super) fn new(config: &GatewayConfig, options: &Options) -> Result<Self, SettingsError> {
        warn_of_idle_redis(config);
        let jwks = options.jwks(config)?;
        let fetched = jwks.as_ref().map(JwksKeeper::keys);
        let instruments = Instruments::default();
        instruments.apply(&config.wsc.performance);
        Ok(Self {
            settings: Arc::new(options.settings(config, &options.secrets, fetched)?),
            guard: ApiKeyGuard::new(options.secrets.api_keys()?),
            tls: options.tls(config, &instruments)?,
            sealer: Sealer::new(options.seal_keys(config)?),
            plans: options.hooks(config)?,
            instruments,
            jwks,
        })
    }

    /// What seals, times and secures what goes between nodes.
    pub(super) fn between(&self) -> ((&Arc<Sealer>, &StoreTimes), Option<Arc<ListenerTls>>) {
        let means = (&self.sealer, self.instruments.stores());
        (means, self.tls.grpc.clone())
    }
}

fn warn_of_idle_redis(config: &GatewayConfig) {
    if config.wsc.redis.is_configured() && !config.wsc.distributed.enabled {
        tracing::warn!(
            host = %config.wsc.redis.host,
            "wsc.redis.host is not used, and what is stored ends with this process: wsc.distributed.enabled is false"
        );
    }
}

/// What this node shares with others.
pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) presence: PresenceDesk,
    pub(super) delivery: Delivery,
    pub(super) groups: Groups,
    pub(super) tickets: Tickets,
    pub(super) rebalance: Arc<RebalanceStats>,
}

pub(super) fn share(
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
        rebalance: Rebalance::start(ground.clone(), live.clone(), (tasks, running)),
        presence: PresenceDesk::start(ground, service.clone(), tasks, running),
        delivery,
        groups,
        cluster,
    }
}

pub(super) fn hook_desk(
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

pub(super) fn start_shards(
    inboxes: Vec<ShardInbox>,
    context: &ShardContext,
    running: &CancellationToken,
) -> Result<Vec<ShardThread>, StartError> {
    let shards = inboxes.into_iter();
    let shards = shards.map(|inbox| hub::spawn(inbox, context.clone(), running.child_token()));
    shards.collect::<Result<_, _>>().map_err(StartError::Thread)
}

pub(super) fn node_api(
    context: &ShardContext,
    live: &Arc<ArcSwap<Settings>>,
    desk: RevocationDesk,
) -> Arc<NodeApi> {
    let ShardContext {
        hub,
        cluster,
        delivery,
        groups,
        tickets,
        ..
    } = context.clone();
    Arc::new(NodeApi::new(
        (hub, cluster),
        (delivery, groups, tickets),
        live.clone(),
        desk,
    ))
}

pub(super) fn admission(
    config: &GatewayConfig,
    instruments: &Instruments,
    cluster: &Cluster,
    (tasks, running): (&TaskTracker, &CancellationToken),
) -> Admission {
    let admission = Admission::new(Rules::new(&config.wsc), instruments.clone());
    admission.share(cluster, tasks, running.child_token());
    admission
}

pub(super) fn api_context(
    config: &GatewayConfig,
    (calls, (guard, admission)): (Arc<NodeApi>, (ApiKeyGuard, Admission)),
    instruments: &Instruments,
) -> ApiContext {
    ApiContext {
        service: calls.clone(),
        groups: calls.clone(),
        tickets: calls,
        guard,
        admission,
        instruments: instruments.clone(),
        max_body: BodyLimit::new(config.wsc.security.max_message_size.len()),
        deadline: API_DEADLINE,
    }
}

/// Adds the call by which clients hold sessions to the services of the API.
pub(super) fn with_sessions(
    api: Routes,
    config: &GatewayConfig,
    (state, middleware): (UpgradeState, &MiddlewareStack),
) -> Routes {
    let sessions = if config.wsc.enabled {
        grpc::session_router(state, |route| middleware.around(route))
    } else {
        grpc::no_sessions()
    };
    Routes::from(api.into_axum_router().merge(sessions))
}

/// Adds what other nodes bring their streams to. A connection that carries one is kept as one that carries a session is.
pub(super) fn with_peers(api: Routes, service: Option<PeersServer<PeerService>>) -> Routes {
    let Some(service) = service else {
        return api;
    };
    let path = format!("/{}/{{*method}}", PeersServer::<PeerService>::NAME);
    let peers = Router::new()
        .route_service(&path, service)
        .layer(from_fn(carry_peer));
    Routes::from(api.into_axum_router().merge(peers))
}

async fn carry_peer(mut request: Request, next: Next) -> Response {
    let carrier = request.extensions().get::<Arc<Carrier>>().cloned();
    if let Some(carrier) = carrier {
        let keep = Keep(Arc::new(move || Box::new(carrier.carry())));
        request.extensions_mut().insert(keep);
    }
    next.run(request).await
}

pub(super) fn reflection(config: &GatewayConfig) -> Reflection {
    if config.grpc.reflection {
        Reflection::On
    } else {
        Reflection::Off
    }
}
