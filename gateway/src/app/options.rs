//! What a process knows beside its configuration file: who it is, its secrets, and switches for machines without users.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_config::{EtcdConfig, GatewayConfig, MessageRouting, NodeDiscovery, RedisConfig};

use super::Addresses;
use crate::admission::MemoryGauge;
use crate::cluster::memory::MemoryStore;
use crate::cluster::routing::{Balance, Policy};
use crate::cluster::{
    Address, Backend, ClusterParams, Doorway, EtcdParams, EtcdTls, Password, RedisParams, RedisTls,
    Sentinels, Topology,
};
use crate::hub::MAX_SHARDS;
use crate::jwks::{FetchError, JwksKeeper};
use crate::protocol::{CodecError, Codecs, FrameCodec, NodeId};
use crate::security::{FetchedKeys, SealKeys, Sealer};
use crate::service::{Extensions, HookPlan};
use crate::settings::{Secrets, Settings, SettingsError};
use crate::telemetry::traces::{TraceError, TraceSettings, Tracer};
use crate::telemetry::{Instruments, StoreTimes};
use crate::tls::{ListenerTls, TlsListeners, TlsPairs};

/// The particulars of one process.
#[derive(Default)]
pub struct Options {
    /// This node's name: the pod's.
    pub node: String,
    /// The host it tells its peers; empty: the one it listens on.
    pub host: String,
    /// Keys and passwords.
    pub secrets: Secrets,
    /// Threads that hold sessions; 0: one per core.
    pub shards: usize,
    /// Forms of frames beside the gateway's own, each under its subprotocol.
    pub codecs: Vec<&'static dyn FrameCodec>,
    /// Echo data frames instead of serving, for protocol suites.
    pub echo: bool,
    /// Further pages on the WebSocket listener.
    pub pages: Option<Router>,
    /// The cluster in memory this node is part of when there is no Redis; `None`: one of its own.
    pub memory: Option<Arc<MemoryStore>>,
    /// Where it is read how much memory is left.
    pub gauge: MemoryGauge,
    /// What the application adds.
    pub extensions: Extensions,
}

impl Options {
    pub(super) fn settings(
        &self,
        config: &GatewayConfig,
        secrets: &Secrets,
        fetched: Option<Arc<FetchedKeys>>,
    ) -> Result<Settings, SettingsError> {
        let settings = Settings::resolve(config, secrets, &self.node, fetched)?;
        Ok(Settings {
            echo: self.echo,
            ..settings
        })
    }

    /// What the listeners show to begin with.
    pub(super) fn tls(
        &self,
        config: &GatewayConfig,
        instruments: &Instruments,
    ) -> Result<TlsListeners, SettingsError> {
        let pairs = TlsPairs::resolve(&config.tls, &self.secrets.tls)?;
        Ok(TlsListeners::new(pairs, instruments))
    }

    /// Who fetches the keys of tokens, if they are fetched.
    pub(super) fn jwks(&self, config: &GatewayConfig) -> Result<Option<JwksKeeper>, FetchError> {
        let security = &config.wsc.security;
        if !security.enable_auth {
            return Ok(None);
        }
        JwksKeeper::new(&security.jwt, self.secrets.jwt_jwks_ca.as_deref())
    }

    pub(super) fn seal_keys(&self, config: &GatewayConfig) -> Result<SealKeys, SettingsError> {
        self.secrets
            .seal_keys(config.wsc.security.enable_encryption)
    }

    pub(super) fn tracer(
        &self,
        config: &GatewayConfig,
        (tasks, cancel): (&TaskTracker, &CancellationToken),
    ) -> Result<Tracer, TraceError> {
        let headers = self.secrets.otlp_headers.as_deref();
        let settings = TraceSettings::new(config, &self.node, headers)?;
        let start = |settings| Tracer::start(settings, tasks, cancel.child_token());
        Ok(settings.map(start).unwrap_or_default())
    }

    pub(super) fn hooks(&self, config: &GatewayConfig) -> Result<Vec<HookPlan>, SettingsError> {
        Ok(HookPlan::all(config, &self.secrets)?)
    }

    pub(super) fn codecs(&self) -> Result<Arc<Codecs>, CodecError> {
        Codecs::new(&self.codecs).map(Arc::new)
    }

    /// How many shards: as asked for, or one per core.
    pub(super) fn shards(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(MAX_SHARDS),
            shards => shards,
        }
    }

    pub(super) fn cluster_params(
        &self,
        config: &GatewayConfig,
        addresses: Addresses,
        (means, tls): ((&Arc<Sealer>, &StoreTimes), Option<Arc<ListenerTls>>),
    ) -> ClusterParams {
        let distributed = &config.wsc.distributed;
        ClusterParams {
            node: NodeId::new(&self.node),
            address: self.address(addresses.ws.unwrap_or(addresses.http)),
            door: Some(Doorway::at(self.address(addresses.grpc), tls)),
            cluster_name: distributed.cluster().to_owned(),
            backend: self.backend(config, means),
            node_timeout: distributed.node_timeout.into(),
            node_sync_interval: distributed.node_sync_interval.into(),
            health_check_interval: distributed.health_check_interval.into(),
            routing: match distributed.message_routing {
                MessageRouting::Hash => Policy::Hash,
                MessageRouting::Random => Policy::Random,
                MessageRouting::RoundRobin => Policy::RoundRobin,
            },
            balance: if distributed.enable_load_balance {
                Balance::ByLoad
            } else {
                Balance::Even
            },
            offline_delay: config.wsc.presence.offline_delay.into(),
        }
    }

    fn address(&self, listener: SocketAddr) -> String {
        let host = if self.host.is_empty() {
            listener.ip().to_string()
        } else {
            self.host.clone()
        };
        format!("{host}:{}", listener.port())
    }

    /// Redis when the configuration wants a cluster of nodes, and etcd beside it when they find each other there; memory
    /// otherwise.
    fn backend(
        &self,
        config: &GatewayConfig,
        (sealer, times): (&Arc<Sealer>, &StoreTimes),
    ) -> Backend {
        let redis = &config.wsc.redis;
        let distributed = &config.wsc.distributed;
        let wanted = distributed.enabled && distributed.node_discovery != NodeDiscovery::Memory;
        if !wanted || !redis.is_configured() {
            return Backend::Memory(self.memory.clone().unwrap_or_default());
        }
        let redis = RedisParams {
            times: times.clone(),
            ..self.redis(redis, sealer)
        };
        if distributed.node_discovery == NodeDiscovery::Etcd {
            let etcd = EtcdParams {
                times: times.clone(),
                ..self.etcd(&distributed.etcd)
            };
            Backend::Etcd(redis, etcd)
        } else {
            Backend::Redis(redis)
        }
    }

    fn etcd(&self, etcd: &EtcdConfig) -> EtcdParams {
        let password = self.secrets.etcd_password.as_deref().unwrap_or_default();
        let identity = self.secrets.etcd_cert.as_deref();
        let identity = identity.zip(self.secrets.etcd_key.as_deref());
        EtcdParams {
            user: (!etcd.username.is_empty())
                .then(|| (etcd.username.clone(), Password::new(password))),
            tls: etcd.tls.enabled.then(|| EtcdTls {
                ca: self.secrets.etcd_ca.as_deref().map(Into::into),
                identity: identity.map(|(cert, key)| (cert.into(), Password::new(key))),
                server_name: Some(etcd.tls.server_name.clone()).filter(|name| !name.is_empty()),
            }),
            key_prefix: etcd.key_prefix.clone(),
            ..EtcdParams::at(addresses(&etcd.endpoints))
        }
    }

    fn redis(&self, redis: &RedisConfig, sealer: &Arc<Sealer>) -> RedisParams {
        let username = (!redis.username.is_empty()).then(|| redis.username.clone());
        RedisParams {
            port: redis.port,
            db: redis.db,
            username,
            password: self.secrets.redis_password.as_deref().map(Password::new),
            key_prefix: redis.key_prefix.clone(),
            sealer: sealer.clone(),
            pool: redis.pool_size as usize,
            tls: redis.tls.enabled.then(|| RedisTls {
                ca: self.secrets.redis_ca.as_deref().map(Into::into),
                server_name: Some(redis.tls.server_name.clone()).filter(|name| !name.is_empty()),
            }),
            topology: topology(redis),
            ..RedisParams::at(&redis.host, redis.port)
        }
    }
}

/// Validated: every address can be read.
fn addresses(texts: &[String]) -> Vec<Address> {
    let read = texts.iter().map(|text| Address::parse(text));
    read.flatten().collect()
}

fn topology(redis: &RedisConfig) -> Topology {
    if redis.sentinel.enabled {
        Topology::Sentinel(Sentinels {
            master: redis.sentinel.master_name.clone(),
            addresses: addresses(&redis.sentinel.addresses),
        })
    } else if redis.cluster.enabled {
        Topology::Cluster(addresses(&redis.cluster.addresses))
    } else {
        Topology::Server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(sets: &[&str]) -> ClusterParams {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let config = GatewayConfig::load(None, [], &sets).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 1));
        let addresses = Addresses {
            ws: Some(any),
            http: any,
            grpc: any,
            admin: any,
        };
        let means = (&Sealer::off(), &StoreTimes::default());
        Options::default().cluster_params(&config, addresses, (means, None))
    }

    #[test]
    fn routing_and_balance_are_what_the_configuration_says() {
        let default = params(&[]);
        assert_eq!(default.routing, Policy::Hash);
        assert_eq!(default.balance, Balance::ByLoad);
        for (key, policy) in [
            ("random", Policy::Random),
            ("round-robin", Policy::RoundRobin),
        ] {
            let set = format!("wsc.distributed.messageRouting={key}");
            assert_eq!(params(&[&set]).routing, policy);
        }
        let even = params(&["wsc.distributed.enableLoadBalance=false"]);
        assert_eq!(even.balance, Balance::Even);
    }

    fn redis(secrets: Secrets, sets: &[&str]) -> RedisParams {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let config = GatewayConfig::load(None, [], &sets).unwrap();
        let options = Options {
            secrets,
            ..Options::default()
        };
        match options.backend(&config, (&Sealer::off(), &StoreTimes::default())) {
            Backend::Redis(redis) => redis,
            Backend::Memory(_) | Backend::Etcd(..) => panic!("not Redis alone"),
        }
    }

    #[test]
    fn every_key_of_etcd_reaches_the_link_and_redis_stays_beside_it() {
        let sets = [
            "wsc.distributed.enabled=true",
            "wsc.distributed.nodeDiscovery=etcd",
            "wsc.distributed.etcd.endpoints=[e1:2379, e2:2380]",
            "wsc.distributed.etcd.username=wsc",
            "wsc.distributed.etcd.passwordSecretRef={name: etcd, key: password}",
            "wsc.distributed.etcd.keyPrefix=/chat/",
            "wsc.distributed.etcd.tls.enabled=true",
            "wsc.distributed.etcd.tls.serverName=etcd.example",
            "wsc.redis.host=r",
        ]
        .map(str::to_owned);
        let secret = |text: &str| Some(text.to_owned());
        let options = Options {
            secrets: Secrets {
                etcd_password: secret("hunter2"),
                etcd_ca: secret("the authority"),
                etcd_cert: secret("who we are"),
                etcd_key: secret("its key"),
                ..Secrets::default()
            },
            ..Options::default()
        };
        let config = GatewayConfig::load(None, [], &sets).unwrap();
        let Backend::Etcd(redis, etcd) =
            options.backend(&config, (&Sealer::off(), &StoreTimes::default()))
        else {
            panic!("not etcd");
        };
        assert_eq!(redis.host, "r");
        let endpoints: Vec<String> = etcd.endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(endpoints, ["e1:2379", "e2:2380"]);
        let password = Password::new("hunter2");
        assert_eq!(etcd.user, Some(("wsc".to_owned(), password)));
        assert_eq!(etcd.key_prefix, "/chat/");
        let tls = EtcdTls {
            ca: Some("the authority".into()),
            identity: Some(("who we are".into(), Password::new("its key"))),
            server_name: secret("etcd.example"),
        };
        assert_eq!(etcd.tls, Some(tls));
    }

    #[test]
    fn every_key_of_redis_reaches_the_link() {
        const ON: &str = "wsc.distributed.enabled=true";
        const HOST: &str = "wsc.redis.host=r";
        let plain = redis(Secrets::default(), &[ON, HOST]);
        assert_eq!((plain.pool, plain.tls), (10, None));
        assert_eq!(plain.topology, Topology::Server);
        let secrets = Secrets {
            redis_ca: Some("the authority".to_owned()),
            ..Secrets::default()
        };
        let tls = [
            ON,
            HOST,
            "wsc.redis.poolSize=3",
            "wsc.redis.tls.enabled=true",
            "wsc.redis.tls.serverName=redis.example",
        ];
        let tls = redis(secrets, &tls);
        assert_eq!(tls.pool, 3);
        let wanted = RedisTls {
            ca: Some("the authority".into()),
            server_name: Some("redis.example".to_owned()),
        };
        assert_eq!(tls.tls, Some(wanted));
        let address = |host: &str, port| Address {
            host: host.to_owned(),
            port,
        };
        let sentinel = [
            ON,
            "wsc.redis.sentinel.enabled=true",
            "wsc.redis.sentinel.masterName=main",
            "wsc.redis.sentinel.addresses=[s1:1, s2:2]",
        ];
        let sentinels = Sentinels {
            master: "main".to_owned(),
            addresses: vec![address("s1", 1), address("s2", 2)],
        };
        let sentinel = redis(Secrets::default(), &sentinel).topology;
        assert_eq!(sentinel, Topology::Sentinel(sentinels));
        let cluster = [
            ON,
            HOST,
            "wsc.redis.cluster.enabled=true",
            "wsc.redis.cluster.addresses=[c:3]",
        ];
        let cluster = redis(Secrets::default(), &cluster);
        let members: Vec<Address> = cluster.members().collect();
        assert_eq!(members, [address("r", 6379), address("c", 3)]);
    }
}
