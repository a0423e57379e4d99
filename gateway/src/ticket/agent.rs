//! `Agent`: someone tickets are given to. What an agent says of itself and whether it is there are two things.

use serde::{Deserialize, Serialize};

use super::{Millis, Queue, Skill};
use crate::protocol::UserId;

/// What an agent said last of its readiness. It holds until the agent says something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Takes tickets.
    #[default]
    Online,
    /// Keeps what it has and takes no more.
    Away,
    /// Is not working: after the grace its tickets move on.
    Offline,
}

impl Availability {
    /// Every word with its meaning.
    pub const ALL: [Self; 3] = [Self::Online, Self::Away, Self::Offline];

    /// The word on the wire and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Offline => "offline",
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its user id.
    pub id: UserId,
    /// What it says of itself.
    pub availability: Availability,
    /// Whether it has a session anywhere.
    pub connected: bool,
    /// What it can do.
    pub skills: Queue,
    /// The most tickets it wants; the configuration may allow fewer.
    pub max: Option<u32>,
    /// Since when it is gone: without a session, or offline by its own word.
    pub gone_since: Option<Millis>,
    /// Grows with every offer: among equals, whoever was asked longest ago comes first.
    pub last_offer: u64,
}

impl Agent {
    /// One that has never been heard of.
    pub(super) fn new(id: UserId) -> Self {
        Self {
            id,
            availability: Availability::default(),
            connected: false,
            skills: Queue::default(),
            max: None,
            gone_since: None,
            last_offer: 0,
        }
    }

    /// What counts: an agent without a session is offline whatever it said.
    pub const fn is(&self) -> Availability {
        if self.connected {
            self.availability
        } else {
            Availability::Offline
        }
    }

    /// The most tickets it may have.
    pub fn capacity(&self, most: usize) -> usize {
        self.max.map_or(most, |max| most.min(max as usize))
    }

    /// Whether it can do all of this.
    pub fn can(&self, asked: &Queue) -> bool {
        let has = |skill: &Skill| self.skills.skills().contains(skill);
        asked.skills().iter().all(has)
    }

    /// Notes when it went, or that it is back.
    pub(super) fn note_presence(&mut self, now: Millis) {
        self.gone_since = match self.is() {
            Availability::Offline => Some(self.gone_since.unwrap_or(now)),
            Availability::Online | Availability::Away => None,
        };
    }
}
