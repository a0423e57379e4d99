//! `Awaited`: a message whose recipient is to acknowledge it, as the log remembers it until its time is over.

use crate::protocol::UserId;

/// A message in a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Awaited {
    /// Whose inbox.
    pub user: UserId,
    /// The message's id.
    pub id: String,
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
        format!("{}:{}{}", self.user.as_str().len(), self.user, self.id)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (length, rest) = text.split_once(':')?;
        let (user, id) = rest.split_at_checked(length.parse().ok()?)?;
        Some(Self {
            user: UserId::new(user).ok()?,
            id: id.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_whatever_its_parts_are() {
        for (user, id) in [("bob", "m1"), ("a:b 3", ":"), ("é", "é:é")] {
            let awaited = Awaited {
                user: UserId::new(user).unwrap(),
                id: id.to_owned(),
            };
            assert_eq!(Awaited::parse(&awaited.text()), Some(awaited));
        }
        assert_eq!(Awaited::parse("9:bob"), None);
        assert_eq!(Awaited::parse("bob"), None);
    }

    #[test]
    fn the_share_of_a_user_never_changes() {
        let share = |user| {
            let user = UserId::new(user).unwrap();
            Awaited {
                user,
                id: String::new(),
            }
            .share()
        };
        // Nodes of two releases must agree during an update.
        assert_eq!(["alice", "bob", "carol"].map(share), [7, 4, 2]);
    }
}
