//! `Shadow`: the lease that a node holds elsewhere, as Redis' scripts look for it. Written only by who has just been told
//! that the lease is its own, and runs out as that one does.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Pipeline;

use super::registry::{MEMORY, Value};
use super::scripts::{LEAVE, SHADOW};
use super::{RedisCalls, RedisLink};
use crate::cluster::{ClusterError, NodeInfo};
use crate::protocol::{Epoch, NodeId};
use crate::telemetry::RedisPart;
use crate::time::millis;

/// See the module.
#[derive(Clone, Debug)]
pub struct Shadow {
    link: RedisCalls,
    lease: Duration,
}

impl Shadow {
    /// Over this link, of leases of this life.
    pub fn new(link: &Arc<RedisLink>, lease: Duration) -> Self {
        let link = link.calls(RedisPart::Registry);
        Self { link, lease }
    }

    /// The last epoch that Redis remembers of this name: also one from before leases were held elsewhere.
    pub(in crate::cluster) async fn last_epoch(
        &self,
        node: &NodeId,
    ) -> Result<Epoch, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg(self.link.keys.epoch(node));
        let (last,): (Option<u64>,) = self.link.query("last epoch", &pipeline).await?;
        Ok(Epoch(last.unwrap_or(0)))
    }

    /// The name was granted under a new epoch: whatever stood there is over.
    pub(in crate::cluster) async fn take(
        &self,
        info: &NodeInfo,
        process: u64,
    ) -> Result<(), ClusterError> {
        self.write("take", info, process).await.map(drop)
    }

    /// The lease was renewed. False: another epoch's shadow stands there, and was left alone.
    pub(in crate::cluster) async fn renew(
        &self,
        info: &NodeInfo,
        process: u64,
    ) -> Result<bool, ClusterError> {
        self.write("renew", info, process).await
    }

    async fn write(
        &self,
        mode: &'static str,
        info: &NodeInfo,
        process: u64,
    ) -> Result<bool, ClusterError> {
        let keys = &self.link.keys;
        // Serialising strings and numbers into memory cannot fail.
        let json = serde_json::to_string(&Value { info, process }).unwrap_or_default();
        let script = &SHADOW;
        let mut call = script.key(keys.lease(&info.node));
        call.key(keys.epoch(&info.node))
            .arg(mode)
            .arg(info.epoch.0)
            .arg(json)
            .arg(millis(self.lease))
            .arg(millis(MEMORY));
        self.link.run("shadow of a lease", &call).await
    }

    /// The lease was given back.
    pub(in crate::cluster) async fn erase(
        &self,
        node: &NodeId,
        epoch: Epoch,
    ) -> Result<(), ClusterError> {
        let keys = &self.link.keys;
        let script = &LEAVE;
        let mut call = script.key(keys.lease(node));
        call.key(keys.nodes()).arg(epoch.0).arg(node.as_str());
        self.link.run("leave", &call).await
    }
}
