//! `Client`: the session an extension is called for, as it was when it began. Cheap to clone, safe to keep.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;

use crate::cluster::SessionRecord;
use crate::protocol::{Epoch, NodeId, SessionId, UserId};

/// What an application notes about a session when it connects; every later call carries it.
pub type Attributes = BTreeMap<String, String>;

/// One session.
#[derive(Clone, Debug, Serialize)]
pub struct ClientInfo {
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The user's type.
    pub user_type: Arc<str>,
    /// The device the token names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Arc<str>>,
    /// `ws`, `sse` or `grpc`.
    pub transport: &'static str,
    /// The node that holds it.
    pub node: NodeId,
    /// That node's incarnation: what comes with a smaller one is from before.
    pub epoch: Epoch,
    /// Where it connects from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// When it began, Unix milliseconds.
    pub connected_at: u64,
    /// What the application noted when it connected.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// A shared [`ClientInfo`].
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Client(Arc<ClientInfo>);

impl Client {
    /// What the directory knows of a session that another node held.
    pub fn of_record(record: &SessionRecord) -> Self {
        let transports = ["ws", "sse", "grpc"];
        let transport = transports.iter().find(|known| **known == record.transport);
        Self::new(ClientInfo {
            session: record.session,
            user: record.user.clone(),
            user_type: Arc::clone(&record.user_type),
            device: record.device.clone(),
            transport: transport.copied().unwrap_or("ws"),
            node: record.node.clone(),
            epoch: record.epoch,
            address: None,
            connected_at: record.connected_at,
            attributes: Attributes::new(),
        })
    }

    /// Shares it.
    pub fn new(info: ClientInfo) -> Self {
        Self(Arc::new(info))
    }
}

impl Deref for Client {
    type Target = ClientInfo;

    fn deref(&self) -> &ClientInfo {
        &self.0
    }
}

#[cfg(test)]
pub(crate) fn sample(user: &str) -> Client {
    Client::new(ClientInfo {
        session: SessionId::generate(),
        user: UserId::new(user).expect("valid"),
        user_type: "customer".into(),
        device: None,
        transport: "ws",
        node: NodeId::new("node"),
        epoch: Epoch(1),
        address: None,
        connected_at: 1,
        attributes: Attributes::new(),
    })
}
