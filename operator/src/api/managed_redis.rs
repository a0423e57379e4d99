//! `ManagedRedisSpec`: the Redis that the operator runs for one gateway.
//!
//! Alone, or a primary with replicas that Sentinels watch. Each appends every write to a file and syncs it each second: after
//! a crash of a machine at most the last second is gone, and with replicas nothing that one of them had. Its password is
//! generated.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResourcesSpec;

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ManagedRedisMode {
    /// One.
    #[default]
    Standalone,
    /// A primary and replicas, with a Sentinel beside each, which make another the primary when that is gone.
    Replicated,
}

/// The Redis that the operator runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::managed_redis)]
pub struct ManagedRedisSpec {
    /// How many there are: one (`Standalone`), or a primary with replicas and Sentinels (`Replicated`), of which a machine
    /// may be lost. Fixed once the resource is made.
    pub mode: ManagedRedisMode,
    /// With `Replicated`: how many pods, each with a Redis and a Sentinel. More than half of them must be there for another to
    /// become the primary. It can grow.
    #[schemars(range(min = 3, max = 7))]
    pub replicas: i32,
    /// The image; `redis-server` and `redis-cli` (7.0 or later), `sh`, `sleep` and `timeout` must be on its path. Absent: the operator's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^\s]+$"))]
    pub image: Option<String>,
    /// What a pod's Redis asks for and is held to. Absent: 50m CPU and 64Mi asked for, 256Mi allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// Whether and where data outlives the pod.
    pub persistence: PersistenceSpec,
}

impl Default for ManagedRedisSpec {
    fn default() -> Self {
        Self {
            mode: ManagedRedisMode::Standalone,
            replicas: 3,
            image: None,
            resources: None,
            persistence: PersistenceSpec::default(),
        }
    }
}

/// Whether and where data outlives the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::persistence)]
pub struct PersistenceSpec {
    /// Whether there is a volume, or one for each pod. False: data goes with the pod. A volume once made stays until the
    /// resource goes.
    pub enabled: bool,
    /// The volume's size. It can grow where the storage class allows it; a volume that is larger stays as it is.
    #[schemars(
        length(max = 24),
        regex(pattern = r"^[1-9][0-9]{0,8}(Mi|Gi|Ti|M|G|T)$")
    )]
    pub size: String,
    /// The volume's storage class; fixed once the volume is made. Absent: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub storage_class_name: Option<String>,
}

impl Default for PersistenceSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            size: "1Gi".to_owned(),
            storage_class_name: None,
        }
    }
}
