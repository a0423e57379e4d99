//! Which sessions of this shard get the messages of which group. They enter when they begin or when their user joins, and
//! leave with either's end; who is in a group is the roster's to say.

use std::rc::Rc;

use super::Shard;
use crate::hub::Hub;
use crate::hub::outgoing::Local;
use crate::protocol::{GroupId, LogId, Position, Start, UserId};
use crate::transport::{Connection, Session};

impl Shard {
    /// A session that begins enters the groups of its user, each from where its log ends now.
    pub(super) fn enter_groups(self: &Rc<Self>, connection: &Rc<Connection>) {
        let Some(session) = connection.session() else {
            return;
        };
        if !self.settings().groups.rules.enabled {
            return;
        }
        for group in self.roster().groups_of(&session.identity().user) {
            self.enter_group(connection, &group, None);
        }
    }

    /// The user's sessions enter or leave the group, as the roster says now.
    pub fn regroup(self: &Rc<Self>, user: &UserId, group: &GroupId) {
        let stay = self.roster().stay(user, group);
        for connection in self.of_user(user) {
            match stay {
                Some(stay) => self.enter_group(&connection, group, stay.from),
                None => self.exit_group(&connection, group),
            }
        }
    }

    /// `from`: where to begin in the log; `None`: where it ends.
    fn enter_group(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        group: &GroupId,
        from: Option<Position>,
    ) {
        let Some(session) = connection.session() else {
            return;
        };
        if session.groups.borrow().contains(group) {
            return;
        }
        let Some(tail) = self.index().add(group, self.id) else {
            // Its messages do not come here yet.
            return self.roster().want(&session.identity().user, group);
        };
        session.enter(group);
        let mut groups = self.groups.borrow_mut();
        let slots = groups.entry(group.clone());
        slots.or_default().push(connection.key().slot);
        drop(groups);
        if !self.settings().keeps_groups() {
            return;
        }
        let log = LogId::Group(group.clone());
        let mut cursors = session.cursors.borrow_mut();
        cursors.start(&log, from.unwrap_or(tail));
        if cursors.reaches(&log, tail, Start::Beginning) {
            drop(cursors);
            self.catch_up(connection, log);
        }
    }

    fn exit_group(&self, connection: &Connection, group: &GroupId) {
        let Some(session) = connection.session() else {
            return;
        };
        let mut entered = session.groups.borrow_mut();
        let before = entered.len();
        entered.retain(|known| known != group);
        if entered.len() == before {
            return;
        }
        drop(entered);
        self.take_out(connection, group);
        let log = LogId::Group(group.clone());
        session.cursors.borrow_mut().forget(&log);
    }

    /// A session ends.
    pub(super) fn leave_groups(&self, connection: &Connection) {
        let Some(session) = connection.session() else {
            return;
        };
        for group in session.groups.take() {
            self.take_out(connection, &group);
        }
    }

    fn take_out(&self, connection: &Connection, group: &GroupId) {
        let slot = connection.key().slot;
        let mut groups = self.groups.borrow_mut();
        if let Some(slots) = groups.get_mut(group) {
            if let Some(at) = slots.iter().position(|known| *known == slot) {
                slots.swap_remove(at);
            }
            if slots.is_empty() {
                groups.remove(group);
            }
        }
        drop(groups);
        self.index().remove(group, self.id);
    }

    // As for users: pushing frees no place, so both maps may stay borrowed.
    pub(super) fn deliver_group(self: &Rc<Self>, group: &GroupId, message: &Local<'_>) {
        let groups = self.groups.borrow();
        let connections = self.connections.borrow();
        let slots = groups.get(group).map(Vec::as_slice).unwrap_or_default();
        for connection in slots
            .iter()
            .filter_map(|slot| connections.get(*slot as usize))
        {
            self.hand(connection, message);
        }
        self.handed_out(message.outgoing(), slots.len());
    }

    /// The group's log reaches this far; whoever is behind reads it.
    pub fn group_reaches(self: &Rc<Self>, group: &GroupId, head: Position) {
        let log = LogId::Group(group.clone());
        let slots = self.groups.borrow().get(group).cloned().unwrap_or_default();
        for slot in slots {
            let connection = self.connections.borrow().get(slot as usize).cloned();
            let Some(connection) = connection else {
                continue;
            };
            let session = connection.session();
            let reaches = |session: &Session| {
                let mut cursors = session.cursors.borrow_mut();
                cursors.reaches(&log, head, Start::Beginning)
            };
            if session.is_some_and(reaches) {
                self.catch_up(&connection, log.clone());
            }
        }
    }

    /// The group by the name that is kept here already, if it has members here.
    pub fn known_group(&self, group: &GroupId) -> GroupId {
        let groups = self.groups.borrow();
        let known = groups.get_key_value(group);
        known.map_or_else(|| group.clone(), |(known, _)| known.clone())
    }

    fn roster(&self) -> &crate::hub::Roster {
        self.hub().groups().roster()
    }

    fn index(&self) -> &crate::hub::GroupIndex {
        self.hub().groups().index()
    }

    fn hub(&self) -> &Hub {
        &self.context.hub
    }
}
