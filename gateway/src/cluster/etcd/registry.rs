//! `EtcdRegistry`: names in etcd under a lease of this process. `nodes/NAME` says who holds a name and goes with the lease;
//! `epochs/NAME` remembers the last epoch for a week.
//!
//! A claim or renewal reads, decides (`decide.rs`) and commits on what was read, or reads again. What etcd has granted is
//! then written to the shadow, if there is one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wsc_proto::etcd::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use wsc_proto::etcd::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op,
    response_op,
};
use wsc_proto::etcd::mvccpb::KeyValue;

use super::decide::{self, Claimed, Held, Renewed, Seen};
use super::{EtcdFault, EtcdLink};
use crate::cluster::redis::Shadow;
use crate::cluster::{Claim, ClusterError, NodeInfo, NodeRegistry};
use crate::protocol::{Epoch, NodeId};

/// How long the last epoch of a name is remembered.
const MEMORY: Duration = Duration::from_hours(7 * 24);

/// How often a commit is tried on what was read anew.
const ATTEMPTS: u32 = 8;

/// See the module.
#[derive(Debug)]
pub struct EtcdRegistry {
    link: Arc<EtcdLink>,
    shadow: Option<Shadow>,
    lease: Duration,
    process: u64,
    /// etcd's number of this process' lease.
    granted: Mutex<Option<i64>>,
    /// When the lease was last known to have its whole life before it.
    confirmed: Mutex<Option<Instant>>,
}

/// The value of a name.
#[derive(Debug, Serialize, Deserialize)]
struct Value {
    #[serde(flatten)]
    info: NodeInfo,
    #[serde(default)]
    process: u64,
}

/// One key as it was read.
#[derive(Debug, Default)]
struct Entry {
    /// 0: it is not there.
    revision: i64,
    lease: i64,
    value: Vec<u8>,
}

impl EtcdRegistry {
    /// Over this link, with leases of this life, for a process that does not know leases by their process.
    pub fn new(link: Arc<EtcdLink>, shadow: Option<Shadow>, lease: Duration) -> Self {
        Self::of_process(0, link, shadow, lease)
    }

    /// The same for the process of this number, drawn at random and not zero.
    pub fn of_process(
        process: u64,
        link: Arc<EtcdLink>,
        shadow: Option<Shadow>,
        lease: Duration,
    ) -> Self {
        Self {
            link,
            shadow,
            lease,
            process,
            granted: Mutex::default(),
            confirmed: Mutex::default(),
        }
    }

    async fn claim(&self, info: &NodeInfo, claim: Claim) -> Result<Epoch, ClusterError> {
        let remembered = match &self.shadow {
            Some(shadow) => shadow.last_epoch(&info.node).await?,
            None => Epoch(0),
        };
        for _ in 0..ATTEMPTS {
            let asked = Instant::now();
            let (name, last, revision) = self.read(&info.node).await?;
            let seen = Seen {
                held: held(&name)?,
                last: read_epoch(&last).max(remembered),
                revision,
            };
            let epoch = match decide::claim(&seen, info.epoch, claim, self.process) {
                Claimed::Granted(epoch) => epoch,
                Claimed::Held(epoch) => return Err(fenced(&info.node, epoch)),
            };
            let info = NodeInfo {
                epoch,
                ..info.clone()
            };
            if self.commit_claim(&info, &name, &last).await? {
                if let Some(shadow) = &self.shadow {
                    shadow.take(&info, self.process).await?;
                }
                *self.confirmed.lock() = Some(asked);
                return Ok(epoch);
            }
        }
        Err(contended("claim a name"))
    }

    async fn commit_claim(
        &self,
        info: &NodeInfo,
        name: &Entry,
        last: &Entry,
    ) -> Result<bool, ClusterError> {
        let lease = self.living_lease().await?;
        let memory = match last.lease {
            0 => self.link.grant(MEMORY).await?,
            id if self.link.keep_alive(id).await? => id,
            _ => self.link.grant(MEMORY).await?,
        };
        let (name_key, epoch_key) = (self.name_key(&info.node), self.epoch_key(&info.node));
        let epoch = info.epoch.0.to_string().into_bytes();
        self.commit(
            vec![
                unchanged(&name_key, name.revision),
                unchanged(&epoch_key, last.revision),
            ],
            vec![
                put(name_key, self.value(info), lease),
                put(epoch_key, epoch, memory),
            ],
        )
        .await
    }

    async fn renew(&self, info: &NodeInfo) -> Result<bool, ClusterError> {
        for _ in 0..ATTEMPTS {
            let asked = Instant::now();
            let (name, _, _) = self.read(&info.node).await?;
            match decide::renew(held(&name)?.as_ref(), info.epoch, self.process) {
                Renewed::Mine => {}
                Renewed::Gone => return Ok(false),
                Renewed::Fenced(epoch) => return Err(fenced(&info.node, epoch)),
            }
            let lease = self.living_lease().await?;
            let key = self.name_key(&info.node);
            let same = vec![unchanged(&key, name.revision)];
            if !self
                .commit(same, vec![put(key, self.value(info), lease)])
                .await?
            {
                continue;
            }
            // Somebody of another epoch has written it: claiming anew puts it right.
            let is_shadowed = match &self.shadow {
                Some(shadow) => shadow.renew(info, self.process).await?,
                None => true,
            };
            if is_shadowed {
                *self.confirmed.lock() = Some(asked);
            }
            return Ok(is_shadowed);
        }
        Err(contended("renew a name"))
    }

    async fn leave(&self, node: &NodeId, epoch: Epoch) -> Result<(), ClusterError> {
        let (name, _, _) = self.read(node).await?;
        if held(&name)?.is_some_and(|held| held.info.epoch == epoch) {
            let key = self.name_key(node);
            let delete =
                request_op::Request::RequestDeleteRange(DeleteRangeRequest { key: key.clone() });
            // Not unchanged any more: somebody else has it, and there is nothing to give back.
            self.commit(vec![unchanged(&key, name.revision)], vec![op(delete)])
                .await?;
            *self.confirmed.lock() = None;
        }
        match &self.shadow {
            Some(shadow) => shadow.erase(node, epoch).await,
            None => Ok(()),
        }
    }

    async fn nodes(&self) -> Result<Vec<NodeInfo>, ClusterError> {
        let (from, to) = self.all_names();
        let answer = self.link.range(from, to).await?;
        // A name that cannot be read was not written by a gateway of this kind: nobody is there for us.
        let read = |kv: &KeyValue| serde_json::from_slice::<Value>(&kv.value).ok();
        let mut live: Vec<NodeInfo> = answer.kvs.iter().filter_map(read).map(|v| v.info).collect();
        live.sort_by(|a, b| a.node.as_str().cmp(b.node.as_str()));
        Ok(live)
    }

    /// Both keys of a name at one revision.
    async fn read(&self, node: &NodeId) -> Result<(Entry, Entry, u64), ClusterError> {
        let get = |key| {
            op(request_op::Request::RequestRange(RangeRequest {
                key,
                range_end: Vec::new(),
            }))
        };
        let request = TxnRequest {
            success: vec![get(self.name_key(node)), get(self.epoch_key(node))],
            ..TxnRequest::default()
        };
        let answer = self.link.txn(request).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let mut entries = answer.responses.into_iter().map(|op| match op.response {
            Some(response_op::Response::ResponseRange(range)) => {
                range.kvs.into_iter().next().map(|kv| Entry {
                    revision: kv.mod_revision,
                    lease: kv.lease,
                    value: kv.value,
                })
            }
            Some(_) | None => None,
        });
        let mut next = || entries.next().flatten().unwrap_or_default();
        Ok((next(), next(), u64::try_from(revision).unwrap_or(0)))
    }

    async fn commit(
        &self,
        compare: Vec<Compare>,
        success: Vec<RequestOp>,
    ) -> Result<bool, ClusterError> {
        let request = TxnRequest {
            compare,
            success,
            failure: Vec::new(),
        };
        Ok(self.link.txn(request).await?.succeeded)
    }

    /// This process' lease with its whole life before it; a new one where the last has run out.
    async fn living_lease(&self) -> Result<i64, ClusterError> {
        let known = *self.granted.lock();
        if let Some(id) = known
            && self.link.keep_alive(id).await?
        {
            return Ok(id);
        }
        let id = self.link.grant(self.lease).await?;
        *self.granted.lock() = Some(id);
        Ok(id)
    }

    fn value(&self, info: &NodeInfo) -> Vec<u8> {
        let value = Value {
            info: info.clone(),
            process: self.process,
        };
        // Serialising strings and numbers into memory cannot fail.
        serde_json::to_vec(&value).unwrap_or_default()
    }

    fn name_key(&self, node: &NodeId) -> Vec<u8> {
        self.link.key(&format!("nodes/{node}"))
    }

    fn epoch_key(&self, node: &NodeId) -> Vec<u8> {
        self.link.key(&format!("epochs/{node}"))
    }

    fn all_names(&self) -> (Vec<u8>, Vec<u8>) {
        names(&self.link)
    }
}

/// From where to where the names of all nodes are. `0` follows `/`.
pub(super) fn names(link: &EtcdLink) -> (Vec<u8>, Vec<u8>) {
    (link.key("nodes/"), link.key("nodes0"))
}

/// Who a value says holds the name.
pub(super) fn info(value: &[u8]) -> Option<NodeInfo> {
    let value: Value = serde_json::from_slice(value).ok()?;
    Some(value.info)
}

fn held(entry: &Entry) -> Result<Option<Held>, ClusterError> {
    if entry.revision == 0 {
        return Ok(None);
    }
    let unreadable = |_| ClusterError::Registry {
        operation: "read a name",
        source: EtcdFault::Unreadable,
    };
    let Value { info, process } = serde_json::from_slice(&entry.value).map_err(unreadable)?;
    Ok(Some(Held { info, process }))
}

fn read_epoch(entry: &Entry) -> Epoch {
    let text = std::str::from_utf8(&entry.value).ok();
    Epoch(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn fenced(node: &NodeId, epoch: Epoch) -> ClusterError {
    ClusterError::Fenced {
        node: node.clone(),
        epoch,
    }
}

fn contended(operation: &'static str) -> ClusterError {
    ClusterError::Registry {
        operation,
        source: EtcdFault::Contended,
    }
}

fn unchanged(key: &[u8], revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.to_vec(),
        target_union: Some(TargetUnion::ModRevision(revision)),
    }
}

fn put(key: Vec<u8>, value: Vec<u8>, lease: i64) -> RequestOp {
    op(request_op::Request::RequestPut(PutRequest {
        key,
        value,
        lease,
    }))
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

impl NodeRegistry for EtcdRegistry {
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

    fn still_holds(&self) -> bool {
        let confirmed = *self.confirmed.lock();
        confirmed.is_some_and(|at| at.elapsed() < self.lease)
    }
}
