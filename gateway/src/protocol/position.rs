//! Where a message stands in a durable log, and which log that is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{GroupId, IdError, TicketId, UserId};

/// A durable log. A message is written to exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogId {
    /// What was sent to one user.
    Inbox(UserId),
    /// What was sent to a group.
    Group(GroupId),
    /// What was said in a ticket.
    Ticket(TicketId),
    /// What was sent to everyone, where the sender asked for it to be kept.
    Broadcast,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inbox(user) => write!(f, "inbox:{user}"),
            Self::Group(group) => write!(f, "group:{group}"),
            Self::Ticket(ticket) => write!(f, "ticket:{ticket}"),
            Self::Broadcast => f.write_str("broadcast"),
        }
    }
}

impl FromStr for LogId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once(':') {
            Some(("inbox", user)) => UserId::new(user).map(Self::Inbox),
            Some(("group", group)) => GroupId::new(group).map(Self::Group),
            Some(("ticket", ticket)) => TicketId::new(ticket).map(Self::Ticket),
            _ if text == "broadcast" => Ok(Self::Broadcast),
            _ => Err(IdError::NoLog),
        }
    }
}

/// A place in a log: after so many messages of this incarnation of it. `EPOCH.OFFSET` as text.
///
/// Offsets count from 1 without holes. A log that may have lost messages goes on under a new epoch, so that a place in
/// what was lost is known for what it is. Offset 0 is the beginning, under whatever epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The log's incarnation.
    pub epoch: u64,
    /// How many messages came before and with it.
    pub offset: u64,
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected EPOCH.OFFSET, two whole numbers")]
pub struct PositionError;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            // Larger numbers would lose their last digits in a script.
            let number = text.parse().ok().filter(|number| *number < 1 << 53);
            number.filter(|_| digits).ok_or(PositionError)
        };
        let (epoch, offset) = text.split_once('.').ok_or(PositionError)?;
        Ok(Self {
            epoch: number(epoch)?,
            offset: number(offset)?,
        })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// That a message is in a log, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which log.
    pub log: LogId,
    /// Where in it.
    pub position: Position,
    /// The message's id, if its recipient is to acknowledge it.
    pub ack: Option<Arc<str>>,
    /// What it is to a session that does not follow the log yet.
    pub start: Start,
}

/// Where a session begins that meets a log for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the message that it meets.
    #[default]
    Here,
    /// With the first of the log.
    Beginning,
    /// It does not: the message is for those who follow the log already and may have missed it.
    Nowhere,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_two_whole_numbers_with_a_dot_between() {
        let position = Position {
            epoch: 7,
            offset: 12,
        };
        assert_eq!("7.12".parse(), Ok(position));
        assert_eq!(position.to_string(), "7.12");
        for wrong in [
            "",
            "7",
            "7.",
            ".1",
            "7.+1",
            "-7.1",
            "7.1.2",
            "9007199254740992.1",
        ] {
            assert_eq!(wrong.parse::<Position>(), Err(PositionError), "{wrong:?}");
        }
    }

    #[test]
    fn a_log_is_read_back_from_its_name() {
        let group = LogId::Group(GroupId::new("a:b").unwrap());
        for log in [
            LogId::Inbox(UserId::new("inbox:x").unwrap()),
            group,
            LogId::Ticket(TicketId::new("7").unwrap()),
            LogId::Broadcast,
        ] {
            assert_eq!(log.to_string().parse(), Ok(log));
        }
        assert_eq!("inbox".parse::<LogId>(), Err(IdError::NoLog));
    }
}
