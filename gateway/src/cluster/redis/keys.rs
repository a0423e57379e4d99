//! `Keys`: the names of everything in Redis, in one place. Pure.
//!
//! | name | type | holds |
//! |---|---|---|
//! | `nodes` | set | names of nodes, live or not |
//! | `lease:<node>` | string, expires | `NodeInfo` as JSON |
//! | `epoch:<node>` | string, expires late | the last epoch given under that name |
//! | `user:<user>` | hash | `<session> <holder>` → `SessionRecord` as JSON |
//! | `at:<user>` | hash | holder → how many sessions |
//! | `seats:<user>` | sorted set, expires | `<session> <holder>` of sessions that count for `maxConnectionsPerUser` |
//! | `users:<holder>` | sorted set | users of that holder |
//! | `holders` | set | holders with entries, live or not |
//! | `online` | sorted set | users with entries |
//! | `presence:<user>` | string, expires when offline | `1` or `0` and the generation of the last change |
//! | `leaving` | sorted set | users without entries, by the time from which on they are offline |
//! | `changes` | stream | who came and went |
//! | `mark:<reader>` | string, expires late | up to where that reader has passed the changes on |
//!
//! A holder is `<epoch>@<node>`. Before each name stands `<prefix>{<cluster>}:`. Channels carry the number of the database
//! too, since pub/sub knows no databases. What other modules keep stands under a tag of its own, `<prefix>{<cluster>:<tag>}:`,
//! so that it does not all lie in the cluster's one slot.

use std::borrow::Cow;

use crate::cluster::RedisParams;
use crate::protocol::{Epoch, NodeId, SessionId, UserId};

/// The length of a session's id as text.
const SESSION: usize = 36;

#[derive(Clone, Debug)]
pub(super) struct Keys {
    base: String,
    prefix: String,
    cluster: String,
    db: u32,
}

impl Keys {
    pub(super) fn new(redis: &RedisParams, cluster: &str) -> Self {
        Self {
            base: format!("{}{{{cluster}}}:", redis.key_prefix),
            prefix: redis.key_prefix.clone(),
            cluster: cluster.to_owned(),
            db: redis.db,
        }
    }

    /// A `}` in a tag would end the hash tag early, and keys of one tag would lie in several slots.
    pub(super) fn tagged(&self, tag: &str, name: &str) -> String {
        let tag = if tag.contains(['%', '}']) {
            Cow::Owned(tag.replace('%', "%25").replace('}', "%7D"))
        } else {
            Cow::Borrowed(tag)
        };
        format!("{}{{{}:{tag}}}:{name}", self.prefix, self.cluster)
    }

    pub(super) fn nodes(&self) -> String {
        format!("{}nodes", self.base)
    }

    pub(super) fn lease(&self, node: &NodeId) -> String {
        format!("{}lease:{node}", self.base)
    }

    pub(super) fn epoch(&self, node: &NodeId) -> String {
        format!("{}epoch:{node}", self.base)
    }

    pub(super) fn user(&self, user: &UserId) -> String {
        format!("{}user:{user}", self.base)
    }

    pub(super) fn at(&self, user: &UserId) -> String {
        format!("{}at:{user}", self.base)
    }

    pub(super) fn seats(&self, user: &UserId) -> String {
        format!("{}seats:{user}", self.base)
    }

    pub(super) fn users(&self, holder: &str) -> String {
        format!("{}users:{holder}", self.base)
    }

    pub(super) fn holders(&self) -> String {
        format!("{}holders", self.base)
    }

    pub(super) fn online(&self) -> String {
        format!("{}online", self.base)
    }

    pub(super) fn presence(&self, user: &UserId) -> String {
        format!("{}presence:{user}", self.base)
    }

    pub(super) fn leaving(&self) -> String {
        format!("{}leaving", self.base)
    }

    pub(super) fn changes(&self) -> String {
        format!("{}changes", self.base)
    }

    pub(super) fn mark(&self, reader: &str) -> String {
        format!("{}mark:{reader}", self.base)
    }

    pub(super) fn channel(&self, node: &NodeId) -> String {
        format!("{}{}:to:{node}", self.base, self.db)
    }

    pub(super) fn channel_of_all(&self) -> String {
        format!("{}{}:all", self.base, self.db)
    }
}

pub(super) fn holder(node: &NodeId, epoch: Epoch) -> String {
    format!("{epoch}@{node}")
}

pub(super) fn parse_holder(text: &str) -> Option<(NodeId, Epoch)> {
    let (epoch, node) = text.split_once('@')?;
    Some((NodeId::new(node), Epoch(epoch.parse().ok()?)))
}

/// The field of a session in its user's hash is `session`, a space and the holder.
pub(super) fn field_holder(field: &str) -> Option<(NodeId, Epoch)> {
    parse_holder(field.get(SESSION + 1..)?)
}

pub(super) fn session_text(session: SessionId) -> String {
    session.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_cluster_lies_in_one_slot() {
        let keys = Keys::new(&RedisParams::at("localhost", 6379), "chat");
        let user = UserId::new("{bob}").unwrap();
        let node = NodeId::new("n");
        for key in [
            keys.nodes(),
            keys.lease(&node),
            keys.user(&user),
            keys.at(&user),
            keys.presence(&user),
            keys.changes(),
            keys.users("1@n"),
        ] {
            assert!(key.starts_with("wsc:{chat}:"), "{key}");
        }
    }

    #[test]
    fn a_tag_that_closes_a_brace_stays_one_tag_and_differs_from_its_likes() {
        let keys = Keys::new(&RedisParams::at("localhost", 6379), "chat");
        assert_eq!(keys.tagged("u:bob", "log"), "wsc:{chat:u:bob}:log");
        let tags = ["u:b}c", "u:b%7Dc", "u:bc"].map(|tag| keys.tagged(tag, "log"));
        for key in &tags {
            assert_eq!(key.matches('}').count(), 1, "{key}");
        }
        assert!(tags[0] != tags[1] && tags[1] != tags[2]);
    }

    #[test]
    fn a_holder_is_read_back_whatever_the_node_is_called() {
        for name in ["chat-abc", "a@b", "a b 7@c"] {
            let node = NodeId::new(name);
            let text = holder(&node, Epoch(7));
            assert_eq!(parse_holder(&text), Some((node.clone(), Epoch(7))));
            let field = format!("{} {text}", session_text(SessionId::generate()));
            assert_eq!(field_holder(&field), Some((node, Epoch(7))));
        }
        assert_eq!(parse_holder("x@n"), None);
        assert_eq!(field_holder("short"), None);
    }
}
