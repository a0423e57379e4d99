//! `RedisInterest`: the nodes that get a group's messages, in a hash beside the group.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::redis::{Pipeline, Script};
use futures_util::future::{BoxFuture, join_all};

use super::{RedisCalls, RedisLink};
use crate::cluster::{ClusterError, Holding, Interest};
use crate::protocol::{GroupId, NodeId};
use crate::telemetry::RedisPart;

/// The name of that hash: whoever lets messages through to a group reads it on the way.
pub const NODES: &str = "nodes";

/// Nodes say again what they hold far more often than this, so only what nobody holds runs out.
const MEMORY: Duration = Duration::from_hours(24);

/// KEYS nodes · ARGV node, number, memory ms.
static HOLD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or tonumber(held) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0
",
    )
});

/// KEYS nodes · ARGV node, number.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and tonumber(held) <= tonumber(ARGV[2]) then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0
",
    )
});

/// See the module.
#[derive(Debug)]
pub struct RedisInterest {
    link: RedisCalls,
}

impl RedisInterest {
    /// Over this link.
    pub fn new(link: &Arc<RedisLink>) -> Self {
        let link = link.calls(RedisPart::Groups);
        Self { link }
    }

    /// In one round trip, to which they all have an answer or none has.
    async fn ask(&self, groups: &[GroupId]) -> Result<Vec<Vec<Holding>>, ClusterError> {
        let mut pipeline = Pipeline::with_capacity(groups.len());
        for group in groups {
            pipeline.cmd("HGETALL").arg(self.key(group));
        }
        let held: Vec<HashMap<String, u64>> = self.link.query("group interest", &pipeline).await?;
        let named = |held: HashMap<String, u64>| {
            let held = held.into_iter();
            held.map(|(node, number)| (NodeId::new(&node), number))
                .collect()
        };
        Ok(held.into_iter().map(named).collect())
    }

    fn key(&self, group: &GroupId) -> String {
        self.link.key(&format!("g:{group}"), NODES)
    }
}

impl Interest for RedisInterest {
    fn hold<'a>(
        &'a self,
        node: &'a NodeId,
        group: &'a GroupId,
        number: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let mut call = HOLD.key(self.key(group));
            let memory = u64::try_from(MEMORY.as_millis()).unwrap_or(u64::MAX);
            call.arg(node.as_str()).arg(number).arg(memory);
            self.link.run("group interest", &call).await
        })
    }

    fn release<'a>(
        &'a self,
        node: &'a NodeId,
        group: &'a GroupId,
        number: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let mut call = RELEASE.key(self.key(group));
            call.arg(node.as_str()).arg(number);
            self.link.run("group interest", &call).await
        })
    }

    fn holders<'a>(
        &'a self,
        groups: &'a [GroupId],
    ) -> BoxFuture<'a, Vec<Result<Vec<Holding>, ClusterError>>> {
        Box::pin(async move {
            if self.link.is_cluster() {
                // Each lies in a slot of its own, and one shard may be away.
                let each = groups.iter().map(async |group| {
                    let held = self.ask(std::slice::from_ref(group)).await?;
                    Ok(held.concat())
                });
                return join_all(each).await;
            }
            match self.ask(groups).await {
                Ok(held) => held.into_iter().map(Ok).collect(),
                Err(error) => groups.iter().map(|_| Err(error.clone())).collect(),
            }
        })
    }
}
