//! What the cluster asks of this node, done by the hub.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wsc_wire::Opcode;

use super::{Hub, KickWhom};
use crate::cluster::{LocalNode, SessionRecord};
use crate::protocol::{SessionId, UserId};

impl LocalNode for Hub {
    fn deliver<'a>(&'a self, users: &'a [UserId], json: &'a [u8]) -> BoxFuture<'a, usize> {
        let frame = frame(json);
        Box::pin(async move { self.deliver(users, &frame).await.into_iter().sum() })
    }

    fn broadcast<'a>(&'a self, json: &'a [u8]) -> BoxFuture<'a, usize> {
        let frame = frame(json);
        Box::pin(async move { self.broadcast(&frame).await })
    }

    fn kick_user<'a>(&'a self, user: &'a UserId, reason: &'a str) -> BoxFuture<'a, usize> {
        Box::pin(self.kick(KickWhom::User(user.clone()), reason))
    }

    fn kick_session<'a>(&'a self, session: SessionId, reason: &'a str) -> BoxFuture<'a, usize> {
        Box::pin(self.kick(KickWhom::Session(session), reason))
    }

    fn sessions(&self) -> BoxFuture<'_, Option<Vec<SessionRecord>>> {
        Box::pin(self.sessions())
    }

    fn connections(&self) -> u64 {
        self.connections()
    }
}

/// The one encoding of a message for all sessions of this node.
fn frame(json: &[u8]) -> Bytes {
    wsc_wire::encode(Opcode::Text, json)
}
