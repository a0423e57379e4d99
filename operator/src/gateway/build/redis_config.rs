//! The managed Redis' file. The password is in a file of its own, from the Secret: never here, never on a command line.

use std::fmt::Write;

use k8s_openapi::api::core::v1::ConfigMap;

use super::REDIS_PORT;
use super::redis_set::{AUTH_FILE, DATA_DIR};
use crate::gateway::validate::{ManagedRedis, Validated};
use crate::names::Component;

/// The file's name.
pub(super) const REDIS_FILE: &str = "redis.conf";

/// The file's text.
///
/// `appendfsync everysec`: a crash of the machine loses at most a second; of the process alone, nothing. Data is never
/// evicted: a full Redis says so with an error, since what was accepted must not vanish.
pub(super) fn file(redis: &ManagedRedis) -> String {
    let append_only = if redis.persistence.enabled {
        "yes"
    } else {
        "no"
    };
    let mut text = format!(
        "port {REDIS_PORT}\n\
         bind * -::*\n\
         protected-mode yes\n\
         dir {DATA_DIR}\n\
         save \"\"\n\
         appendonly {append_only}\n\
         appendfsync everysec\n\
         maxmemory-policy noeviction\n\
         tcp-keepalive 30\n\
         timeout 0\n"
    );
    if let Some(bytes) = redis.max_memory() {
        let _ = writeln!(text, "maxmemory {bytes}");
    }
    let _ = writeln!(text, "include {AUTH_FILE}");
    text
}

pub(super) fn build(input: &Validated, redis: &ManagedRedis) -> ConfigMap {
    ConfigMap {
        metadata: input.meta(&input.names.redis(), Component::Redis),
        data: Some([(REDIS_FILE.to_owned(), file(redis))].into()),
        ..ConfigMap::default()
    }
}
