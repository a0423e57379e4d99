//! `GroupSettings`: what the configuration says of groups, in the units of the code that uses it.

use std::time::Duration;

use wsc_config::GroupConfig;

use super::Bounds;
use super::rules::GroupRules;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// What is allowed.
    pub rules: GroupRules,
    /// The most that there may be of each.
    pub bounds: Bounds,
    /// Messages of a member in a minute; 0: no limit.
    pub per_minute: u32,
    /// How long a node believes what it knows of a user's groups.
    pub cache: Duration,
    /// Whether messages are kept in the group's log.
    pub records: bool,
}

impl GroupSettings {
    /// As the configuration says.
    pub fn new(config: &GroupConfig) -> Self {
        Self {
            rules: GroupRules {
                enabled: config.enabled,
                broadcast: config.enable_broadcast,
                auto_create: config.auto_create,
            },
            bounds: Bounds {
                group_size: config.max_group_size,
                groups_per_user: config.max_groups_per_user,
            },
            per_minute: config.broadcast_rate_limit,
            cache: config.cache_expire.into(),
            records: config.enable_message_record,
        }
    }
}
