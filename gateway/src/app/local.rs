//! What the cluster asks of this node: the hub's sessions, and the application's ear for sessions lost with a dead node.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::cluster::{LocalNode, SessionRecord};
use crate::group::Change;
use crate::hub::Hub;
use crate::protocol::{GroupId, Parcel, SessionId, UserId};
use crate::service::Service;

/// See the module.
pub(super) struct Local {
    hub: Arc<Hub>,
    service: Arc<Service>,
}

impl Local {
    pub(super) fn of(hub: &Arc<Hub>, service: &Arc<Service>) -> Arc<Self> {
        Arc::new(Self {
            hub: hub.clone(),
            service: service.clone(),
        })
    }
}

impl LocalNode for Local {
    fn deliver<'a>(&'a self, users: &'a [UserId], parcel: Parcel) -> BoxFuture<'a, Vec<usize>> {
        LocalNode::deliver(&*self.hub, users, parcel)
    }

    fn broadcast(&self, parcel: Parcel) -> BoxFuture<'_, usize> {
        LocalNode::broadcast(&*self.hub, parcel)
    }

    fn deliver_group<'a>(&'a self, group: &'a GroupId, parcel: Parcel) -> BoxFuture<'a, usize> {
        LocalNode::deliver_group(&*self.hub, group, parcel)
    }

    fn group_changed(&self, change: Change) {
        self.hub.group_changed(change);
    }

    fn kick_user<'a>(&'a self, user: &'a UserId, reason: &'a str) -> BoxFuture<'a, ()> {
        self.hub.kick_user(user, reason)
    }

    fn kick_session<'a>(&'a self, session: SessionId, reason: &'a str) -> BoxFuture<'a, ()> {
        self.hub.kick_session(session, reason)
    }

    fn sessions(&self) -> BoxFuture<'_, Option<Vec<SessionRecord>>> {
        LocalNode::sessions(&*self.hub)
    }

    fn connections(&self) -> u64 {
        self.hub.connections()
    }

    fn lost<'a>(&'a self, sessions: &'a [SessionRecord]) -> BoxFuture<'a, ()> {
        Box::pin(self.service.clients_lost(sessions))
    }
}
