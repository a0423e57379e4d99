//! Where each key of the reference goes. A key that is not here goes where it has the same name, if there is one.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use wsc_config::Key;

use super::source::plain;

/// What is done with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is carried over as it is; bare integers count the same.
    Same,
    /// Bare integers count KiB there.
    Kib,
    /// Bare integers count milliseconds there.
    Millis,
    /// Bare integers count seconds there.
    Secs,
    /// A list of origins: entries that allow everyone are left behind.
    Origins,
    /// `host:port` of a Redis.
    RedisAddress,
    /// `host:port` of each member, perhaps as URLs.
    Addresses,
    /// One `host:port` or the members of a Redis Cluster.
    RedisAddresses,
    /// An address to listen on: only all of a pod's can be meant.
    Anywhere,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// It goes there.
    To(&'static str, Way),
    /// There is nowhere to go, and why.
    Left(&'static str),
}

use Fate::{Left, To};
use Way::{Addresses, Anywhere, Kib, Millis, Origins, RedisAddress, RedisAddresses, Same, Secs};

const BY_CLIENTS: &str =
    "clients decide how they come back; docs/protocol.md says what they should do";
const BY_OUTBOX: &str = "has no counterpart: sockets are bounded by wsc.clientTimeout, wsc.messageBufferSize and wsc.outboxBytes";
const IN_A_SECRET: &str = "secrets are not copied: put it in a Secret and name that in ";
const BY_OPERATOR: &str = "the operator decides this in a cluster";
const POOL: &str = "the gateway keeps its connections to Redis by itself";
const POOL_OF_ETCD: &str = "the gateway keeps its connections to etcd by itself";
const DATABASE: &str = "the gateway has no database of its own; records are in Redis (wsc.record)";
const IDENTITY: &str = "who a client is comes from its token, never from a query or a header";

/// Keys of the reference under another name, by their path in small letters without separators.
/// `.*` at the end stands for everything in a section. Where two go to one place, the first of them is taken.
pub(super) const KEYS: &[(&str, Fate)] = &[
    ("name", To("gateway.name", Same)),
    ("version", To("gateway.version", Same)),
    ("environment", To("gateway.environment", Same)),
    ("http.host", To("http.host", Anywhere)),
    ("grpc.host", To("grpc.host", Anywhere)),
    ("grpc.server.host", To("grpc.host", Anywhere)),
    ("grpc.server.port", To("grpc.port", Same)),
    ("grpc.enablereflection", To("grpc.reflection", Same)),
    ("grpc.server.enablereflection", To("grpc.reflection", Same)),
    ("admin.*", Left(BY_OPERATOR)),
    ("log.format", Left(BY_OPERATOR)),
    ("wsc.logging.level", To("log.level", Same)),
    ("wsc.network", Left("the listener takes IPv4 and IPv6")),
    ("wsc.nodeip", To("wsc.nodeIp", Anywhere)),
    ("wsc.websocketorigins", To("wsc.websocketOrigins", Origins)),
    (
        "wsc.sendkicknotification",
        Left("a client that is sent away is always told why"),
    ),
    (
        "wsc.kicknotificationmsg",
        Left("the words are fixed, or those of whoever sends the client away"),
    ),
    ("wsc.shutdownmaxtimeout", To("drain.deadline", Secs)),
    (
        "wsc.shutdownbasetimeout",
        Left("spec.drain says how a pod goes: unreadyDelay, window, deadline"),
    ),
    ("wsc.maxpendingqueuesize", Left(BY_OUTBOX)),
    ("wsc.readtimeout", Left(BY_OUTBOX)),
    ("wsc.writetimeout", Left(BY_OUTBOX)),
    ("wsc.writewait", Left(BY_OUTBOX)),
    ("wsc.idletimeout", Left(BY_OUTBOX)),
    ("wsc.clientcapacity.*", Left(BY_OUTBOX)),
    (
        "wsc.maxmessagesize",
        Left("wsc.security.max_message_size is the limit"),
    ),
    ("wsc.minrectime", Left(BY_CLIENTS)),
    ("wsc.maxrectime", Left(BY_CLIENTS)),
    ("wsc.recfactor", Left(BY_CLIENTS)),
    ("wsc.autoreconnect", Left(BY_CLIENTS)),
    (
        "wsc.performancemetricsinterval",
        Left("wsc.performance.metrics_interval is the interval"),
    ),
    ("wsc.enableack", To("wsc.ack.enabled", Same)),
    ("wsc.acktimeout", To("wsc.ack.timeout", Same)),
    ("wsc.acktimeoutms", To("wsc.ack.timeout", Millis)),
    ("wsc.ackmaxretries", To("wsc.ack.maxRetries", Same)),
    (
        "wsc.ackcleanupinterval",
        Left("what is over is forgotten at once"),
    ),
    ("wsc.ack.base", To("wsc.ack.baseDelay", Same)),
    ("wsc.ack.max", To("wsc.ack.maxDelay", Same)),
    ("wsc.ack.factor", To("wsc.ack.backoffFactor", Same)),
    ("wsc.basedelay", To("wsc.ack.baseDelay", Same)),
    ("wsc.maxdelay", To("wsc.ack.maxDelay", Same)),
    ("wsc.backofffactor", To("wsc.ack.backoffFactor", Same)),
    ("wsc.jitter", To("wsc.ack.jitter", Same)),
    ("wsc.maxretries", To("wsc.ack.maxRetries", Same)),
    ("wsc.retrypolicy.maxretries", To("wsc.ack.maxRetries", Same)),
    ("wsc.retrypolicy.basedelay", To("wsc.ack.baseDelay", Same)),
    ("wsc.retrypolicy.maxdelay", To("wsc.ack.maxDelay", Same)),
    (
        "wsc.retrypolicy.backofffactor",
        To("wsc.ack.backoffFactor", Same),
    ),
    ("wsc.retrypolicy.jitter", To("wsc.ack.jitter", Same)),
    ("wsc.enablemessagerecord", To("wsc.record.enabled", Same)),
    ("wsc.messagerecordttl", To("wsc.record.ttl", Same)),
    (
        "wsc.recordcleanupinterval",
        Left("records end by themselves, after wsc.record.ttl"),
    ),
    ("wsc.ssepath", To("wsc.sse.path", Same)),
    ("wsc.sseheartbeat", To("wsc.sse.heartbeat", Same)),
    ("wsc.ssetimeout", To("wsc.sse.timeout", Same)),
    ("wsc.ssemessagebuffer", To("wsc.sse.messageBuffer", Same)),
    ("wsc.redis.addr", To("wsc.redis.host", RedisAddress)),
    (
        "wsc.redis.addrs",
        To("wsc.redis.cluster.addresses", RedisAddresses),
    ),
    (
        "wsc.redis.clustermode",
        To("wsc.redis.cluster.enabled", Same),
    ),
    (
        "wsc.redis.modulename",
        Left("wsc.redis.keyPrefix separates who shares a Redis"),
    ),
    ("wsc.redis.maxretries", Left(POOL)),
    ("wsc.redis.minidleconns", Left(POOL)),
    ("wsc.redis.maxidleconns", Left(POOL)),
    ("wsc.redis.maxconnage", Left(POOL)),
    ("wsc.redis.dialtimeout", Left(POOL)),
    ("wsc.redis.pooltimeout", Left(POOL)),
    ("wsc.redis.idletimeout", Left(POOL)),
    ("wsc.redis.readtimeout", Left(POOL)),
    ("wsc.redis.writetimeout", Left(POOL)),
    ("wsc.redis.minretrybackoff", Left(POOL)),
    ("wsc.redis.maxretrybackoff", Left(POOL)),
    (
        "wsc.etcd.endpoints",
        To("wsc.distributed.etcd.endpoints", Addresses),
    ),
    (
        "wsc.etcd.username",
        To("wsc.distributed.etcd.username", Same),
    ),
    (
        "wsc.etcd.keyprefix",
        To("wsc.distributed.etcd.keyPrefix", Same),
    ),
    ("wsc.etcd.dialtimeout", Left(POOL_OF_ETCD)),
    (
        "wsc.group.groupcacheexpire",
        To("wsc.group.cacheExpire", Same),
    ),
    (
        "wsc.group.autocreategroup",
        To("wsc.group.autoCreate", Same),
    ),
    (
        "wsc.performance.readbuffersize",
        To("wsc.performance.readBufferSize", Kib),
    ),
    (
        "wsc.performance.writebuffersize",
        To("wsc.performance.writeBufferSize", Kib),
    ),
    (
        "wsc.security.messageencryption.enabled",
        To("wsc.security.enableEncryption", Same),
    ),
    (
        "wsc.security.messageratelimit.enabled",
        To("wsc.security.enableRateLimit", Same),
    ),
    (
        "wsc.redisrepository.*",
        Left("the gateway lays out its own keys in Redis"),
    ),
    ("wsc.clientattributes.*", Left(IDENTITY)),
    ("wsc.database.*", Left(DATABASE)),
    (
        "wsc.vip.*",
        Left("applications give messages their priority, tickets theirs"),
    ),
    (
        "wsc.enhancement.*",
        Left("has no counterpart: a hook of the application can do it"),
    ),
    ("jwt.issuer", To("wsc.security.jwt.issuer", Same)),
    ("jwt.audience", To("wsc.security.jwt.audience", Same)),
];

/// Keys whose values are secrets, by the last part of their path; said apart, so that the note says what to do.
pub(super) const SECRETS: &[(&str, &str)] = &[
    ("wsc.redis.password", "spec.wsc.redis.passwordSecretRef"),
    (
        "wsc.etcd.password",
        "spec.wsc.distributed.etcd.passwordSecretRef",
    ),
    ("jwt.signingkey", "spec.wsc.security.jwt.secretRef"),
    ("jwt.secret", "spec.wsc.security.jwt.secretRef"),
    ("wsc.security.messageencryption.key", "spec.wsc.security"),
];

static SAME: LazyLock<BTreeMap<String, &'static Key>> = LazyLock::new(|| {
    let keys = wsc_config::keys().iter();
    keys.map(|key| (plain_path(&key.path), key)).collect()
});

/// The key of this path of ours.
pub(super) fn key(path: &str) -> Option<&'static Key> {
    wsc_config::keys().iter().find(|key| key.path == path)
}

/// Whether an object at this path is one value and not a section.
pub(super) fn is_one_value(plain: &str) -> bool {
    SAME.contains_key(plain)
}

/// What becomes of a key, and its place in the order of preference.
pub(super) fn fate(plain: &str) -> Option<(usize, FateOf)> {
    if let Some((_, place)) = SECRETS.iter().find(|(path, _)| *path == plain) {
        return Some((0, FateOf::Left(format!("{IN_A_SECRET}{place}"))));
    }
    let listed = KEYS
        .iter()
        .enumerate()
        .find(|(_, (path, _))| *path == plain);
    let own = SAME.get(plain).map(|key| (0, To(&key.path, Same)));
    let section = || {
        let within = |path: &str| {
            let section = path.strip_suffix('*');
            section.is_some_and(|section| plain.starts_with(section))
        };
        KEYS.iter().enumerate().find(|(_, (path, _))| within(path))
    };
    let listed = listed.map(|(order, (_, fate))| (order + 1, *fate));
    let (order, fate) = listed
        .or(own)
        .or_else(|| section().map(|(order, (_, fate))| (order + 1, *fate)))?;
    // A key under its own name is preferred to one of another name that goes there, too.
    let own = matches!(fate, To(path, _) if plain_path(path) == plain);
    let order = if own { 0 } else { order };
    Some((
        order,
        match fate {
            To(path, way) => FateOf::To(path, way),
            Left(why) => FateOf::Left(why.to_owned()),
        },
    ))
}

/// What becomes of one key of a file.
#[derive(Debug)]
pub(super) enum FateOf {
    /// It goes there.
    To(&'static str, Way),
    /// It stays behind, and why.
    Left(String),
}

fn plain_path(path: &str) -> String {
    let parts: Vec<String> = path.split('.').map(plain).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_leads_to_a_key_that_there_is() {
        for (path, fate) in KEYS {
            assert_eq!(*path, path.to_lowercase(), "{path}");
            if let To(target, _) = fate {
                assert!(key(target).is_some(), "{path} goes to {target}");
            }
        }
    }

    #[test]
    fn no_two_keys_of_ours_are_one_in_small_letters() {
        assert_eq!(SAME.len(), wsc_config::keys().len());
    }
}
