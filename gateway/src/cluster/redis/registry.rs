//! `RedisRegistry`: leases in Redis. A lease is a key that expires; the set of names only tells where to look.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Pipeline;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::scripts::{CLAIM, FORGET, LEAVE, RENEW};
use super::{RedisCalls, RedisLink};
use crate::cluster::{Claim, ClusterError, NodeInfo, NodeRegistry};
use crate::protocol::{Epoch, NodeId};
use crate::telemetry::RedisPart;
use crate::time::millis;

/// How long the last epoch of a name is remembered.
pub(super) const MEMORY: Duration = Duration::from_hours(7 * 24);

/// See the module.
#[derive(Debug)]
pub struct RedisRegistry {
    link: RedisCalls,
    lease: Duration,
    process: u64,
}

/// The value of a lease.
#[derive(Serialize)]
pub(super) struct Value<'a> {
    #[serde(flatten)]
    pub(super) info: &'a NodeInfo,
    /// Who was given it. By this a process knows a lease of which it has not heard.
    pub(super) process: u64,
}

impl RedisRegistry {
    /// Over this link, with leases of this life, for a process that does not know leases by their process.
    pub fn new(link: &Arc<RedisLink>, lease: Duration) -> Self {
        Self::of_process(0, link, lease)
    }

    /// The same for the process of this number, drawn at random and not zero.
    pub fn of_process(process: u64, link: &Arc<RedisLink>, lease: Duration) -> Self {
        Self {
            link: link.calls(RedisPart::Registry),
            lease,
            process,
        }
    }

    fn json(&self, info: &NodeInfo) -> String {
        let process = self.process;
        // Serialising strings and numbers into memory cannot fail.
        serde_json::to_string(&Value { info, process }).unwrap_or_default()
    }

    async fn claim(&self, info: &NodeInfo, claim: Claim) -> Result<Epoch, ClusterError> {
        let keys = &self.link.keys;
        let mode = match claim {
            Claim::Take => "take",
            Claim::IfVacant => "vacant",
        };
        let blank = NodeInfo {
            epoch: Epoch(0),
            ..info.clone()
        };
        let (granted, epoch): (u8, u64) = self
            .link
            .run(
                "claim",
                CLAIM
                    .key(keys.lease(&info.node))
                    .key(keys.epoch(&info.node))
                    .key(keys.nodes())
                    .arg(mode)
                    .arg(info.epoch.0)
                    .arg(self.json(&blank))
                    .arg(millis(self.lease))
                    .arg(millis(MEMORY))
                    .arg(info.node.as_str())
                    .arg(self.process),
            )
            .await?;
        match granted {
            1 => Ok(Epoch(epoch)),
            _ => Err(ClusterError::Fenced {
                node: info.node.clone(),
                epoch: Epoch(epoch),
            }),
        }
    }

    async fn renew(&self, info: &NodeInfo) -> Result<bool, ClusterError> {
        let keys = &self.link.keys;
        let (outcome, epoch): (u8, String) = self
            .link
            .run(
                "renew",
                RENEW
                    .key(keys.lease(&info.node))
                    .key(keys.epoch(&info.node))
                    .key(keys.nodes())
                    .arg(info.epoch.0)
                    .arg(self.json(info))
                    .arg(millis(self.lease))
                    .arg(millis(MEMORY))
                    .arg(info.node.as_str())
                    .arg(self.process),
            )
            .await?;
        match outcome {
            0 => Ok(false),
            1 => Ok(true),
            _ => {
                let epoch = Epoch(epoch.parse().unwrap_or(u64::MAX));
                Err(ClusterError::Fenced {
                    node: info.node.clone(),
                    epoch,
                })
            }
        }
    }

    async fn leave(&self, node: &NodeId, epoch: Epoch) -> Result<(), ClusterError> {
        let keys = &self.link.keys;
        let script = &LEAVE;
        let mut call = script.key(keys.lease(node));
        self.link
            .run(
                "leave",
                call.key(keys.nodes()).arg(epoch.0).arg(node.as_str()),
            )
            .await
    }

    async fn nodes(&self) -> Result<Vec<NodeInfo>, ClusterError> {
        let keys = &self.link.keys;
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SMEMBERS").arg(keys.nodes());
        let (mut names,): (Vec<String>,) = self.link.query("nodes", &pipeline).await?;
        names.sort_unstable();
        let names: Vec<NodeId> = names.iter().map(|name| NodeId::new(name)).collect();
        let leases = self.link.leases(&names).await?;
        let mut live = Vec::with_capacity(names.len());
        for (node, lease) in names.iter().zip(leases) {
            match lease {
                Some(info) => live.push(info),
                None => self.forget(node).await?,
            }
        }
        Ok(live)
    }

    async fn forget(&self, node: &NodeId) -> Result<(), ClusterError> {
        let keys = &self.link.keys;
        let script = &FORGET;
        let mut call = script.key(keys.nodes());
        self.link
            .run("forget", call.key(keys.lease(node)).arg(node.as_str()))
            .await
    }
}

impl RedisCalls {
    /// The lease of each of these nodes, in order.
    pub(super) async fn leases(
        &self,
        nodes: &[NodeId],
    ) -> Result<Vec<Option<NodeInfo>>, ClusterError> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::new();
        let command = pipeline.cmd("MGET");
        for node in nodes {
            command.arg(self.keys.lease(node));
        }
        let (leases,): (Vec<Option<String>>,) = self.query("leases", &pipeline).await?;
        // A lease that cannot be read was not written by a gateway of this kind: it holds nothing for us.
        let read = |lease: Option<String>| lease.and_then(|json| serde_json::from_str(&json).ok());
        Ok(leases.into_iter().map(read).collect())
    }
}

impl NodeRegistry for RedisRegistry {
    fn claim<'a>(
        &'a self,
        info: &'a NodeInfo,
        claim: Claim,
    ) -> BoxFuture<'a, Result<Epoch, ClusterError>> {
        Box::pin(self.claim(info, claim))
    }

    fn renew<'a>(&'a self, info: &'a NodeInfo) -> BoxFuture<'a, Result<bool, ClusterError>> {
        Box::pin(self.renew(info))
    }

    fn leave<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.leave(node, epoch))
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, ClusterError>> {
        Box::pin(self.nodes())
    }
}
