//! What the cluster asks of this node, done by the hub.

use futures_util::future::BoxFuture;

use super::{Hub, KickWhom, Outgoing};
use crate::cluster::{LocalNode, SessionRecord};
use crate::group::Change;
use crate::protocol::{GroupId, Parcel, SessionId, UserId};

impl LocalNode for Hub {
    fn deliver<'a>(&'a self, users: &'a [UserId], parcel: Parcel) -> BoxFuture<'a, Vec<usize>> {
        let message = Outgoing::new(parcel);
        Box::pin(async move { self.deliver(users, &message).await })
    }

    fn broadcast(&self, parcel: Parcel) -> BoxFuture<'_, usize> {
        let message = Outgoing::new(parcel);
        Box::pin(async move { self.broadcast(&message).await })
    }

    fn deliver_group<'a>(&'a self, group: &'a GroupId, parcel: Parcel) -> BoxFuture<'a, usize> {
        let message = Outgoing::new(parcel);
        Box::pin(async move { self.deliver_group(group, &message).await })
    }

    fn group_changed(&self, change: Change) {
        self.groups().hear(change);
    }

    fn kick_user<'a>(&'a self, user: &'a UserId, reason: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.order_kick(KickWhom::User(user.clone()), reason))
    }

    fn kick_session<'a>(&'a self, session: SessionId, reason: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.order_kick(KickWhom::Session(session), reason))
    }

    fn sessions(&self) -> BoxFuture<'_, Option<Vec<SessionRecord>>> {
        Box::pin(self.sessions())
    }

    fn connections(&self) -> u64 {
        self.connections()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::hub::Command;

    #[test]
    fn a_kick_from_another_node_waits_for_no_shard() {
        let (hub, mut inboxes) = Hub::new(3);
        let user = UserId::new("bob").unwrap();
        let kicked = LocalNode::kick_user(&*hub, &user, "enough").now_or_never();
        assert!(kicked.is_some(), "no shard has taken a turn");
        let session = SessionId::generate();
        let kicked = LocalNode::kick_session(&*hub, session, "enough").now_or_never();
        assert!(kicked.is_some());
        for inbox in &mut inboxes {
            for expected in [KickWhom::User(user.clone()), KickWhom::Session(session)] {
                let command = inbox.commands.try_recv().unwrap();
                assert!(matches!(command, Command::Kick { whom, .. } if whom == expected));
            }
        }
    }
}
