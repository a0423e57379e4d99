//! `Rank`: what a frame that waits may overtake, and what may overtake it. Pure.
//!
//! A message of a higher priority overtakes those of lower ones that wait in front of it, up to the first that does not let
//! it pass: one of its own or a higher priority, one of the same log, a frame of the protocol's own, or one that has been
//! overtaken so often that it waits no longer for anybody.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::outbox::Frame;
use crate::protocol::{LogId, Priority};

/// How often a frame is overtaken before it keeps its place.
pub const OVERTAKEN_MAX: u8 = 64;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    level: u8,
    /// Stands for the log it is in; 0: none. Two logs of one number merely do not overtake each other.
    log: u32,
}

/// Nothing is above it, and it overtakes nothing.
const FIXED: u8 = u8::MAX;

impl Rank {
    /// Of a frame of the protocol's own: what was said before it stays before it, and what comes after it after.
    pub const FIXED: Self = Self {
        level: FIXED,
        log: 0,
    };

    /// Of a message, in this log if it is in one; without a priority its place is fixed.
    pub fn of(priority: Option<Priority>, log: Option<&LogId>) -> Self {
        let level = match priority {
            Some(Priority::Low | Priority::Normal) => 0,
            Some(Priority::High) => 1,
            Some(Priority::Critical) => 2,
            None => FIXED,
        };
        let number = |log: &LogId| {
            let mut hasher = DefaultHasher::new();
            log.hash(&mut hasher);
            // The upper half is as good as the whole.
            u32::try_from(hasher.finish() >> 32).unwrap_or_default() | 1
        };
        Self {
            level,
            log: log.map_or(0, number),
        }
    }

    /// Whether it may overtake anything at all.
    pub const fn is_urgent(self) -> bool {
        self.level > 0 && self.level != FIXED
    }

    /// What goes first when something has to: the lowest. `None`: it stays, as its session counts as having it.
    pub const fn worth(self) -> Option<u8> {
        if self.log == 0 {
            Some(self.level)
        } else {
            None
        }
    }
}

/// A frame that waits, and its rank.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The frame.
    pub frame: Frame,
    rank: Rank,
    overtaken: u8,
    is_head: bool,
}

impl Waiting {
    /// A frame of this rank.
    pub const fn new(frame: Frame, rank: Rank) -> Self {
        Self {
            frame,
            rank,
            overtaken: 0,
            is_head: false,
        }
    }

    /// The head of the HTTP answer that the connection begins with: no frame, but nothing makes sense without it.
    pub fn head(bytes: Frame) -> Self {
        Self {
            is_head: true,
            ..Self::new(bytes, Rank::FIXED)
        }
    }

    /// Whether it is the head of the answer.
    pub const fn is_head(&self) -> bool {
        self.is_head
    }

    /// What goes first when something has to, as [`Rank::worth`]; `None`: it stays.
    pub const fn worth(&self) -> Option<u8> {
        if self.is_head {
            None
        } else {
            self.rank.worth()
        }
    }

    /// Its rank.
    pub const fn rank(&self) -> Rank {
        self.rank
    }

    /// Its bytes.
    pub fn size(&self) -> usize {
        self.frame.len()
    }

    /// Whether one of this rank may go before it.
    pub const fn yields_to(&self, rank: Rank) -> bool {
        let other_log = self.rank.log == 0 || self.rank.log != rank.log;
        self.rank.level < rank.level && other_log && self.overtaken < OVERTAKEN_MAX
    }

    /// Notes that one has gone before it.
    pub const fn overtake(&mut self) {
        self.overtaken = self.overtaken.saturating_add(1);
    }
}

impl From<Frame> for Waiting {
    /// A frame of the protocol's own.
    fn from(frame: Frame) -> Self {
        Self::new(frame, Rank::FIXED)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::{GroupId, UserId};

    fn waiting(rank: Rank) -> Waiting {
        Waiting::new(Frame::new(Bytes::new()), rank)
    }

    #[test]
    fn the_higher_goes_before_the_lower_and_nothing_else_does() {
        let all = [
            Priority::Low,
            Priority::Normal,
            Priority::High,
            Priority::Critical,
        ];
        for before in all {
            for after in all {
                let yields =
                    waiting(Rank::of(Some(before), None)).yields_to(Rank::of(Some(after), None));
                let levels = [before, after].map(|priority| priority.max(Priority::Normal));
                assert_eq!(yields, levels[0] < levels[1], "{before:?} {after:?}");
            }
            let rank = Rank::of(Some(before), None);
            assert!(!waiting(Rank::FIXED).yields_to(rank));
            assert!(!waiting(rank).yields_to(Rank::FIXED) || !Rank::FIXED.is_urgent());
        }
    }

    #[test]
    fn messages_of_one_log_keep_their_order() {
        let inbox = LogId::Inbox(UserId::new("bob").unwrap());
        let group = LogId::Group(GroupId::new("bob").unwrap());
        let normal = waiting(Rank::of(Some(Priority::Normal), Some(&inbox)));
        assert!(!normal.yields_to(Rank::of(Some(Priority::Critical), Some(&inbox))));
        assert!(normal.yields_to(Rank::of(Some(Priority::Critical), Some(&group))));
        assert!(normal.yields_to(Rank::of(Some(Priority::Critical), None)));
    }

    #[test]
    fn who_was_overtaken_often_enough_keeps_its_place() {
        let mut normal = waiting(Rank::of(Some(Priority::Normal), None));
        let urgent = Rank::of(Some(Priority::High), None);
        for _ in 0..OVERTAKEN_MAX {
            assert!(normal.yields_to(urgent));
            normal.overtake();
        }
        assert!(!normal.yields_to(urgent));
    }
}
