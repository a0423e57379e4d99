//! `ManagedRedisSpec`: the Redis that the operator runs for one gateway.
//!
//! One replica that appends every write to a file and syncs it each second: after a crash at most the last second is
//! gone. Its password is generated. A Redis that must survive the loss of a machine is named in `wsc.redis` instead.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResourcesSpec;

/// The Redis that the operator runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedRedisSpec {
    /// The image; `redis-server` (7.0 or later) must be on its path. Absent: the operator's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^\s]+$"))]
    pub image: Option<String>,
    /// What the pod asks for and is held to. Absent: 50m CPU and 64Mi asked for, 256Mi allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// Whether and where data outlives the pod.
    pub persistence: PersistenceSpec,
}

/// Whether and where data outlives the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::persistence)]
pub struct PersistenceSpec {
    /// Whether there is a volume. False: data goes with the pod. A volume once made stays until the resource goes.
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
