//! The managed Redis' files. The password is in a file of its own, from the Secret: never here, never on a command line.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::ConfigMap;

use super::redis_set::DATA_DIR;
use super::{REDIS_PORT, redis_members};
use crate::gateway::validate::{Layout, ManagedRedis, Validated};
use crate::names::Component;

/// Redis' own file.
const REDIS_FILE: &str = "redis.conf";

/// The files by their names.
pub(super) fn files(input: &Validated, redis: &ManagedRedis) -> BTreeMap<String, String> {
    let mut text = common(redis);
    match redis.layout {
        Layout::Standalone => {
            let mut files = redis_members::alone();
            files.insert(REDIS_FILE.to_owned(), text);
            files
        }
        Layout::Replicated(pods) => {
            text.push_str(redis_members::REDIS_LINES);
            let mut files = redis_members::files(input, pods);
            files.insert(REDIS_FILE.to_owned(), text);
            files
        }
    }
}

/// What every managed Redis is told.
///
/// `appendfsync everysec`: a crash of the machine loses at most a second; of the process alone, nothing. Data is never
/// evicted: a full Redis says so with an error, since what was accepted must not vanish.
fn common(redis: &ManagedRedis) -> String {
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
    text
}

pub(super) fn build(input: &Validated, redis: &ManagedRedis) -> ConfigMap {
    ConfigMap {
        metadata: input.meta(&input.names.redis(), Component::Redis),
        data: Some(files(input, redis)),
        ..ConfigMap::default()
    }
}
