//! `GroupConfig`: groups of users and their limits.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Seconds, schema};

/// Groups of users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
// Each switch is a key of the reference and none excludes another.
#[allow(clippy::struct_excessive_bools)]
pub struct GroupConfig {
    /// Whether there are groups.
    pub enabled: bool,
    /// The most members of a group.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_group_size: u32,
    /// The most groups that a user can be in.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_groups_per_user: u32,
    /// Whether members can send to the whole group.
    pub enable_broadcast: bool,
    /// The most messages to a group, from each member, in a minute. 0: no limit.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub broadcast_rate_limit: u32,
    /// How long a node trusts its copy of a group's members.
    #[schemars(transform = schema::between("1s", "24h"))]
    pub cache_expire: Seconds,
    /// Whether joining a group that does not exist makes it.
    pub auto_create: bool,
    /// Whether messages to groups are kept in the group's log.
    pub enable_message_record: bool,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            max_group_size: 500,
            max_groups_per_user: 100,
            enable_broadcast: true,
            broadcast_rate_limit: 10,
            cache_expire: Seconds::from_secs(3600),
            auto_create: false,
            enable_message_record: true,
        }
    }
}
