//! Which Redis a gateway uses, and what the managed one is made of.

use wsc_config::{RedisConfig, WscConfig};

use super::Defaults;
use crate::api::{ManagedRedisMode, ManagedRedisSpec, PersistenceSpec, ResourcesSpec};
use crate::gateway::build::{PRIMARY, REDIS_PORT, SENTINEL_PORT};
use crate::names::Names;

/// Which Redis a gateway uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// None: a gateway that is alone keeps everything in memory.
    None,
    /// The one that `wsc.redis` names.
    External,
    /// One that the operator runs.
    Managed,
}

impl RedisMode {
    /// Its word in an annotation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::External => "External",
            Self::Managed => "Managed",
        }
    }

    /// What the configuration asks for.
    pub fn of(wsc: &WscConfig) -> Self {
        if wsc.redis.is_configured() {
            Self::External
        } else if wsc.distributed.enabled {
            Self::Managed
        } else {
            Self::None
        }
    }
}

/// How many pods it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One, alone.
    Standalone,
    /// So many, each with a Redis and a Sentinel.
    Replicated(i32),
}

/// The Redis to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedRedis {
    /// How many pods it has.
    pub layout: Layout,
    /// Its image.
    pub image: String,
    /// What its pod asks for.
    pub resources: ResourcesSpec,
    /// Its volume.
    pub persistence: PersistenceSpec,
}

impl ManagedRedis {
    /// What to run, if anything.
    pub(super) fn plan(
        wsc: &WscConfig,
        spec: &ManagedRedisSpec,
        defaults: &Defaults,
    ) -> Option<Self> {
        let ManagedRedisSpec {
            mode,
            replicas,
            image,
            resources,
            persistence,
        } = spec;
        (RedisMode::of(wsc) == RedisMode::Managed).then(|| Self {
            layout: match mode {
                ManagedRedisMode::Standalone => Layout::Standalone,
                ManagedRedisMode::Replicated => Layout::Replicated(*replicas),
            },
            image: image
                .clone()
                .unwrap_or_else(|| defaults.redis_image.clone()),
            resources: resources
                .clone()
                .unwrap_or_else(|| ResourcesSpec::new("50m", "64Mi", "256Mi")),
            persistence: persistence.clone(),
        })
    }

    /// Points gateways at it. Short names are found on the first try of a pod's resolver.
    pub(super) fn be_used_by(&self, redis: &mut RedisConfig, names: &Names) {
        match self.layout {
            Layout::Standalone => {
                redis.host = names.redis();
                redis.port = REDIS_PORT;
            }
            Layout::Replicated(pods) => {
                redis.sentinel.enabled = true;
                PRIMARY.clone_into(&mut redis.sentinel.master_name);
                redis.sentinel.addresses = (0..pods)
                    .map(|ordinal| format!("{}:{SENTINEL_PORT}", names.redis_member(ordinal)))
                    .collect();
            }
        }
    }

    /// The most memory that data may take: three quarters of the pod's limit, with replicas half.
    ///
    /// The rest is for the copy that rewriting the append-only file makes, and for what replicas have not read; without
    /// this bound a full Redis is killed instead of refusing writes with an error that names the reason.
    pub fn max_memory(&self) -> Option<u64> {
        let limit = self.resources.limits.get("memory")?.bytes()?;
        Some(match self.layout {
            Layout::Standalone => limit / 4 * 3,
            Layout::Replicated(_) => limit / 2,
        })
    }
}
