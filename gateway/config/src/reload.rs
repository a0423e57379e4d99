//! Which changes reach a running gateway, and which need a new process: the one table of it.
//!
//! The gateway reads it to take over what it can and to name what waits. A key that is not in the table needs a new
//! process: that is always right, only slower. To make a key live, have the gateway act on
//! it at a reload, add it here, and add its case to `gateway/tests/reload.rs`.

use serde_json::Value;

use crate::GatewayConfig;
use crate::keys::{keys, lookup};

/// Keys whose change takes effect without closing a connection. What is agreed with a client when it connects, such as
/// the size of a message, holds for those who connect from then on.
const LIVE: &[&str] = &[
    "log.level",
    "drain.unreadyDelay",
    "drain.window",
    "drain.ratePerSecond",
    "drain.jitter",
    "rebalance.enabled",
    "rebalance.absolute",
    "rebalance.relative",
    "rebalance.ratePerSecond",
    "rebalance.jitter",
    "rebalance.minAge",
    "hooks",
    "wsc.heartbeatInterval",
    "wsc.clientTimeout",
    "wsc.messageBufferSize",
    "wsc.outboxBytes",
    "wsc.slowConsumerPolicy",
    "wsc.websocketOrigins",
    "wsc.presence.maxWatched",
    "wsc.group.maxGroupSize",
    "wsc.group.maxGroupsPerUser",
    "wsc.group.enableBroadcast",
    "wsc.group.broadcastRateLimit",
    "wsc.group.cacheExpire",
    "wsc.group.autoCreate",
    "wsc.group.enableMessageRecord",
    "wsc.ticket.enabled",
    "wsc.ticket.maxTicketsPerAgent",
    "wsc.ticket.autoAssign",
    "wsc.ticket.assignStrategy",
    "wsc.ticket.ticketTimeout",
    "wsc.ticket.enableQueueing",
    "wsc.ticket.queueTimeout",
    "wsc.ticket.notifyTimeout",
    "wsc.ticket.enableTransfer",
    "wsc.ticket.transferMaxTimes",
    "wsc.ticket.enableOfflineMessage",
    "wsc.ticket.offlineMessageExpire",
    "wsc.ticket.enableAck",
    "wsc.ticket.ackTimeout",
    "wsc.ticket.maxRetry",
    "wsc.allowMultiLogin",
    "wsc.maxConnectionsPerUser",
    "wsc.connectionPolicy",
    "wsc.sse.heartbeat",
    "wsc.sse.timeout",
    "wsc.sse.messageBuffer",
    "wsc.performance.maxConnectionsPerNode",
    "wsc.performance.maxMemoryPercent",
    "wsc.performance.enableMetrics",
    "wsc.performance.metricsInterval",
    "wsc.performance.enableSlowLog",
    "wsc.performance.slowLogThreshold",
    "wsc.delivery.retention",
    "wsc.delivery.maxMessages",
    "wsc.delivery.dedupeWindow",
    "wsc.delivery.transientTypes",
    "wsc.record.enabled",
    "wsc.record.ttl",
    "wsc.ack.enabled",
    "wsc.ack.timeout",
    "wsc.ack.maxRetries",
    "wsc.ack.baseDelay",
    "wsc.ack.maxDelay",
    "wsc.ack.backoffFactor",
    "wsc.ack.jitter",
    "wsc.security.maxMessageSize",
    "wsc.security.allowedUserTypes",
    "wsc.security.tokenExpiration",
    "wsc.security.jwt.issuer",
    "wsc.security.jwt.audience",
    "wsc.security.jwt.leeway",
    "wsc.security.enableRateLimit",
    "wsc.security.messageRateLimit.window",
    "wsc.security.messageRateLimit.maxMessages",
    "wsc.security.messageRateLimit.maxBytes",
    "wsc.security.messageRateLimit.maxMessagesPerAddress",
    "wsc.security.messageRateLimit.maxMessagesPerSession",
    "wsc.security.messageRateLimit.maxBytesPerSession",
    "wsc.security.messageRateLimit.blockDuration",
    "wsc.security.maxConnectionsPerAddress",
    "wsc.security.maxHandshakesPerAddress",
    "wsc.security.enableIpWhitelist",
    "wsc.security.whitelistIps",
    "wsc.security.blockedIps",
    "wsc.security.trustedProxies",
    "wsc.security.maxLoginAttempts",
    "wsc.security.loginLockDuration",
    "wsc.security.allowQueryToken",
    "wsc.security.handshakeTimeout",
    "wsc.security.authTimeout",
];

/// The keys whose change reaches a running gateway.
pub const fn live_keys() -> &'static [&'static str] {
    LIVE
}

/// What is different between two configurations, by what it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that take effect at once.
    pub live: Vec<String>,
    /// Keys that wait for a new process.
    pub restart: Vec<String>,
}

impl GatewayConfig {
    /// The keys in which another configuration differs from this one.
    pub fn changes(&self, other: &Self) -> Changes {
        let (old, new) = (value(self), value(other));
        let mut changes = Changes::default();
        for key in keys() {
            if lookup(&old, &key.path) == lookup(&new, &key.path) {
                continue;
            }
            let list = if LIVE.contains(&key.path.as_str()) {
                &mut changes.live
            } else {
                &mut changes.restart
            };
            list.push(key.path.clone());
        }
        changes
    }

    /// This configuration with the live keys of another: what a running gateway can go by.
    #[must_use]
    pub fn with_live_of(&self, other: &Self) -> Self {
        let (mut mixed, new) = (value(self), value(other));
        for path in LIVE {
            remove(&mut mixed, path);
            let (section, key) = parts(path);
            if let Some(new) = lookup(&new, path)
                && let Some(Value::Object(section)) = section_of(&mut mixed, section)
            {
                section.insert(key.to_owned(), new.clone());
            }
        }
        // What was written from a configuration can be read as one.
        serde_json::from_value(mixed).unwrap_or_else(|_| self.clone())
    }

    /// The configuration without its live keys: as long as this stays the same, no new process is needed.
    pub fn fixed(&self) -> Value {
        let mut fixed = value(self);
        for path in LIVE {
            remove(&mut fixed, path);
        }
        fixed
    }
}

fn value(config: &GatewayConfig) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

fn remove(value: &mut Value, path: &str) {
    let (section, key) = parts(path);
    if let Some(Value::Object(section)) = section_of(value, section) {
        section.remove(key);
    }
}

/// A key's section, empty for what stands beside the sections, and its own name.
fn parts(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn section_of<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut keys = path.split('.').filter(|key| !key.is_empty());
    keys.try_fold(value, |value, key| value.get_mut(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_key() {
        for path in LIVE {
            assert!(keys().iter().any(|key| key.path == *path), "{path}");
        }
    }

    #[test]
    fn every_key_is_either_live_or_needs_a_new_process() {
        let fixed = GatewayConfig::default().fixed();
        let whole = value(&GatewayConfig::default());
        for key in keys() {
            let live = LIVE.contains(&key.path.as_str());
            let stays = lookup(&fixed, &key.path).is_some();
            let there = lookup(&whole, &key.path).is_some();
            assert_eq!(stays, there && !live, "{}", key.path);
        }
    }

    #[test]
    fn a_change_is_told_by_its_key_and_by_what_it_takes() {
        let old = GatewayConfig::default();
        let mut new = old.clone();
        new.wsc.security.allow_query_token = true;
        assert_eq!(old.fixed(), new.fixed());
        new.wsc.node_port = 9000;
        assert_ne!(old.fixed(), new.fixed());
        let changes = old.changes(&new);
        assert_eq!(changes.live, ["wsc.security.allowQueryToken"]);
        assert_eq!(changes.restart, ["wsc.nodePort"]);
        assert_eq!(old.changes(&old), Changes::default());
        let mixed = old.with_live_of(&new);
        assert!(mixed.wsc.security.allow_query_token);
        assert_eq!(mixed.wsc.node_port, old.wsc.node_port);
        assert_eq!(old.with_live_of(&old), old);
    }
}
