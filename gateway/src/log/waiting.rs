//! `Awaited`: a message whose recipient is to acknowledge it, as the log remembers it until its time is over.

use super::{About, MessageName, name};
use crate::protocol::{LogId, TicketId, UserId};

/// A message in a user's inbox, or in a ticket that the user is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Awaited {
    /// Who is to acknowledge it.
    pub user: UserId,
    /// In which ticket; `None`: in the user's inbox.
    pub ticket: Option<TicketId>,
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

    /// Where the message is.
    pub(super) fn log(&self) -> LogId {
        match &self.ticket {
            None => LogId::Inbox(self.user.clone()),
            Some(ticket) => LogId::Ticket(ticket.clone()),
        }
    }

    /// Whose word about what is waited for.
    pub(super) fn by_about(&self) -> (&UserId, About<'_>) {
        let about = About {
            id: &self.message.id,
            sender: Some(&self.message.sender),
        };
        (&self.user, about)
    }

    /// As one text, whatever is in the parts. A `t` stands before what is in a ticket.
    pub(super) fn text(&self) -> String {
        let MessageName { sender, id } = &self.message;
        let message = name::text(sender, id);
        let of_user = name::text(self.user.as_str(), &message);
        match &self.ticket {
            None => of_user,
            Some(ticket) => format!("t{}", name::text(ticket.as_str(), &of_user)),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (ticket, text) = match text.strip_prefix('t') {
            None => (None, text),
            Some(text) => {
                let (ticket, text) = parts(text)?;
                (Some(TicketId::new(ticket).ok()?), text)
            }
        };
        let (user, rest) = parts(text)?;
        let (sender, id) = parts(rest)?;
        Some(Self {
            user: UserId::new(user).ok()?,
            ticket,
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
            for ticket in [None, Some("t1"), Some("t:2")] {
                let awaited = Awaited {
                    user: UserId::new(user).unwrap(),
                    ticket: ticket.map(|id| TicketId::new(id).unwrap()),
                    message: MessageName::new(sender, id),
                };
                assert_eq!(Awaited::parse(&awaited.text()), Some(awaited));
            }
        }
        assert_eq!(Awaited::parse("9:bob"), None);
        assert_eq!(Awaited::parse("t3:bob1:am1"), None, "nobody is to say so");
        assert_eq!(Awaited::parse("bob"), None);
        assert_eq!(Awaited::parse("3:bobm1"), None, "nobody sent it");
    }

    #[test]
    fn the_share_of_a_user_never_changes() {
        let share = |user| {
            let user = UserId::new(user).unwrap();
            Awaited {
                user,
                ticket: None,
                message: MessageName::new("", ""),
            }
            .share()
        };
        // Nodes of two releases must agree during an update.
        assert_eq!(["alice", "bob", "carol"].map(share), [7, 4, 2]);
    }
}
