//! `Awaited`: a message whose recipient is to acknowledge it, as the log remembers it until its time is over.

use super::MessageName;
use crate::protocol::UserId;

/// A message in a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Awaited {
    /// Whose inbox.
    pub user: UserId,
    /// The message.
    pub message: MessageName,
}

impl Awaited {
    /// What waits is looked after in so many shares, each by one node.
    pub const SHARES: u8 = 8;

    /// The share it belongs to: the same on every node and in every release (FNV-1a).
    pub fn share(&self) -> u8 {
        let hash = self
            .user
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        u8::try_from(hash % u64::from(Self::SHARES)).unwrap_or_default()
    }

    /// As one text, whatever is in the parts.
    pub(super) fn text(&self) -> String {
        let MessageName { sender, id } = &self.message;
        super::name::text(self.user.as_str(), &super::name::text(sender, id))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (user, rest) = parts(text)?;
        let (sender, id) = parts(rest)?;
        Some(Self {
            user: UserId::new(user).ok()?,
            message: MessageName::new(sender, id),
        })
    }
}

fn parts(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    rest.split_at_checked(length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_whatever_its_parts_are() {
        for (user, sender, id) in [
            ("bob", "alice", "m1"),
            ("a:b 3", "3:x", ":"),
            ("é", "é", "é:é"),
        ] {
            let awaited = Awaited {
                user: UserId::new(user).unwrap(),
                message: MessageName::new(sender, id),
            };
            assert_eq!(Awaited::parse(&awaited.text()), Some(awaited));
        }
        assert_eq!(Awaited::parse("9:bob"), None);
        assert_eq!(Awaited::parse("bob"), None);
        assert_eq!(Awaited::parse("3:bobm1"), None, "nobody sent it");
    }

    #[test]
    fn the_share_of_a_user_never_changes() {
        let share = |user| {
            let user = UserId::new(user).unwrap();
            Awaited {
                user,
                message: MessageName::new("", ""),
            }
            .share()
        };
        // Nodes of two releases must agree during an update.
        assert_eq!(["alice", "bob", "carol"].map(share), [7, 4, 2]);
    }
}
