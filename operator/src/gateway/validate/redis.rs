//! Which Redis a gateway uses, and what the managed one is made of.

use wsc_config::WscConfig;

use super::Defaults;
use crate::api::{ManagedRedisSpec, PersistenceSpec, ResourcesSpec};

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

/// The Redis to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedRedis {
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
            image,
            resources,
            persistence,
        } = spec;
        (RedisMode::of(wsc) == RedisMode::Managed).then(|| Self {
            image: image
                .clone()
                .unwrap_or_else(|| defaults.redis_image.clone()),
            resources: resources
                .clone()
                .unwrap_or_else(|| ResourcesSpec::new("50m", "64Mi", "256Mi")),
            persistence: persistence.clone(),
        })
    }

    /// The most memory that data may take: three quarters of the pod's limit.
    ///
    /// The rest is for the copy that rewriting the append-only file makes; without this bound a full Redis is killed
    /// instead of refusing writes with an error that names the reason.
    pub fn max_memory(&self) -> Option<u64> {
        let limit = self.resources.limits.get("memory")?.bytes()?;
        Some(limit / 4 * 3)
    }
}
