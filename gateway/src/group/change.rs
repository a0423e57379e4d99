//! `Change`: that somebody came into a group or went, as nodes tell each other and as members are told.

use serde_json::{Value, json};

use super::Generation;
use crate::protocol::{GroupId, Position, UserId};
use crate::service::Event;

/// See the module. Larger generations are newer, so changes may arrive in any order and more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The group.
    pub group: GroupId,
    /// When it happened.
    pub generation: Generation,
    /// What happened.
    pub what: What,
}

/// What happened to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The user is a member from here on.
    Joined {
        /// Who.
        user: UserId,
        /// Where the group's log ended; `None`: that could not be found out.
        from: Option<Position>,
    },
    /// The user is no member any more.
    Left(UserId),
    /// The group is over, and all memberships with it.
    Disbanded,
}

impl Change {
    /// The name of the event, and the type of the frame.
    pub const fn name(&self) -> &'static str {
        match self.what {
            What::Joined { .. } => Event::GROUP_JOINED,
            What::Left(_) => Event::GROUP_LEFT,
            What::Disbanded => Event::GROUP_DISBANDED,
        }
    }

    /// The particulars, for both.
    pub fn data(&self) -> Value {
        let Self {
            group,
            generation,
            what,
        } = self;
        match what {
            What::Joined { user, .. } | What::Left(user) => {
                json!({"group": group, "user": user, "generation": generation})
            }
            What::Disbanded => json!({"group": group, "generation": generation}),
        }
    }
}
