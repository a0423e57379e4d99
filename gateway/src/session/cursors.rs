//! `Cursors`: how far a session has come in each log it follows. Pure.
//!
//! What arrives live is taken only when it is the very next; otherwise the session has missed something and reads its log
//! until it has caught up. The log is the truth, what is sent between nodes only makes it fast.

use litemap::LiteMap;

use crate::protocol::{LogId, Position, Start};

/// What to do with a message that arrived live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meet {
    /// It is the next: deliver it.
    Next,
    /// The session has it.
    Seen,
    /// The session is behind and has to read the log; it is reading already.
    Behind,
    /// The session is behind and has to begin to read the log.
    FellBehind,
}

/// How far a session has come in one log.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    at: Option<Position>,
    /// The last that arrived while reading.
    noted: Option<Position>,
    reading: bool,
    /// It waits until it is known where to begin.
    held: bool,
}

impl Cursor {
    /// Whether the session has this message.
    fn is_at_least(&self, position: Position) -> bool {
        self.at
            .is_some_and(|at| at.epoch == position.epoch && position.offset <= at.offset)
    }

    fn meet(&mut self, position: Position) -> Meet {
        if self.reading || self.held {
            self.noted = self.noted.max(Some(position));
            return Meet::Behind;
        }
        // At the beginning of a log it has no epoch yet.
        let same = |at: Position| at.epoch == position.epoch || at.offset == 0;
        match self.at {
            _ if self.is_at_least(position) => Meet::Seen,
            Some(at) if same(at) && position.offset == at.offset + 1 => {
                self.at = Some(position);
                Meet::Next
            }
            _ => {
                self.noted = Some(position);
                self.reading = true;
                Meet::FellBehind
            }
        }
    }

    fn spill(&mut self, position: Position) -> bool {
        if self.is_at_least(position) {
            return false;
        }
        self.noted = self.noted.max(Some(position));
        !self.held && !std::mem::replace(&mut self.reading, true)
    }
}

const fn before(position: Position) -> Position {
    Position {
        offset: position.offset.saturating_sub(1),
        ..position
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Cursors {
    inbox: Cursor,
    // Boxed, so that a session that follows its inbox alone stays small; sorted, since most follow one or two, for which a
    // table of hashes takes five times the room.
    #[allow(clippy::box_collection)]
    others: Option<Box<LiteMap<LogId, Cursor>>>,
    /// How far the inbox had come when the client was pinged.
    pinged: Option<Position>,
    /// The tickets that were met before it was known where their user was; `None`: it is known.
    #[allow(clippy::box_collection)]
    held: Option<Box<Vec<LogId>>>,
}

impl Cursors {
    /// A message with this place in this log has arrived. A log that is met for the first time is followed from where that
    /// is to start.
    pub fn meet(&mut self, log: &LogId, position: Position, start: Start) -> Meet {
        // Once for each recipient of a message: what is followed already is found by one look.
        if let Some(cursor) = self.followed(log) {
            return cursor.meet(position);
        }
        self.first(log, position, start)
            .map_or(Meet::Seen, |cursor| cursor.meet(position))
    }

    /// The cursor of a log that the session follows.
    fn followed(&mut self, log: &LogId) -> Option<&mut Cursor> {
        match log {
            LogId::Inbox(_) => Some(&mut self.inbox),
            _ => self.others.as_mut()?.get_mut(log),
        }
    }

    /// A cursor for a log that is met by a message here; `None`: the session is not to follow it.
    fn first(&mut self, log: &LogId, position: Position, start: Start) -> Option<&mut Cursor> {
        let at = match start {
            Start::Here => before(position),
            Start::Beginning => Position::default(),
            Start::Nowhere => return None,
        };
        let is_held = self.holds(log);
        if let (true, Some(held)) = (is_held, &mut self.held) {
            held.push(log.clone());
        }
        let cursor = self.cursor(log);
        (cursor.at, cursor.held) = (Some(at), is_held);
        Some(cursor)
    }

    /// Whether a log that is met now waits until it is known where to begin.
    fn holds(&self, log: &LogId) -> bool {
        matches!(log, LogId::Ticket(_)) && self.held.is_some()
    }

    /// From now on tickets that are met for the first time wait for [`Cursors::release_tickets`]: what was said before may
    /// be for this session, too.
    pub fn hold_tickets(&mut self) {
        self.held.get_or_insert_default();
    }

    /// The tickets that waited, and go on doing so until somebody begins to read them: after where they were met, or an
    /// earlier place.
    pub fn release_tickets(&mut self) -> Vec<LogId> {
        self.held.take().map(|held| *held).unwrap_or_default()
    }

    /// The log is known to reach this far; `true`: the session is behind and has to begin to read it. One that does not
    /// follow it yet begins where that is to start, but there is no message to begin with.
    pub fn reaches(&mut self, log: &LogId, head: Position, start: Start) -> bool {
        let is_new = self.followed(log).is_none();
        if is_new && (self.holds(log) || start != Start::Beginning) {
            return false;
        }
        let cursor = self.cursor(log);
        if cursor.reading || cursor.held {
            cursor.noted = cursor.noted.max(Some(head));
            return false;
        }
        let behind = cursor
            .at
            .is_none_or(|at| at.epoch != head.epoch || at.offset < head.offset);
        // A log that is empty and was not has lost everything: its reader has to hear that.
        let is_something = head.offset > 0 || cursor.at.is_some_and(|at| at.offset > 0);
        cursor.reading = behind && is_something;
        cursor.reading
    }

    /// A message for which there is no room now stays in its log; `true`: the session has to begin to read that.
    pub fn spill(&mut self, log: &LogId, position: Position, start: Start) -> bool {
        if let Some(cursor) = self.followed(log) {
            return cursor.spill(position);
        }
        self.first(log, position, start)
            .is_some_and(|cursor| cursor.spill(position))
    }

    /// Follows a log from this place, unless the session has a place in it.
    pub fn start(&mut self, log: &LogId, at: Position) {
        self.cursor(log).at.get_or_insert(at);
    }

    /// Begins to read a log after this place; `None`: after wherever the session is. `false`: it is being read.
    pub fn begin(&mut self, log: &LogId, after: Option<Position>) -> bool {
        let cursor = self.cursor(log);
        cursor.held = false;
        cursor.at = after.or(cursor.at);
        !std::mem::replace(&mut cursor.reading, true)
    }

    /// Where the session is.
    pub fn at(&self, log: &LogId) -> Option<Position> {
        match log {
            LogId::Inbox(_) => self.inbox.at,
            _ => self.others.as_ref()?.get(log)?.at,
        }
    }

    /// The session has come so far by reading.
    pub fn advance(&mut self, log: &LogId, position: Position) {
        self.cursor(log).at = Some(position);
    }

    /// The last that was heard of while the log is being read.
    pub fn noted(&self, log: &LogId) -> Option<Position> {
        match log {
            LogId::Inbox(_) => self.inbox.noted,
            _ => self.others.as_ref()?.get(log)?.noted,
        }
    }

    /// What was heard of last is not there any more.
    pub fn give_up_noted(&mut self, log: &LogId) {
        self.cursor(log).noted = None;
    }

    /// Ends reading if nothing later has arrived meanwhile.
    pub fn caught_up(&mut self, log: &LogId) -> bool {
        let cursor = self.cursor(log);
        // Epochs only grow: what was noted under an older one was read with the log.
        let missing = cursor.noted > cursor.at;
        if !missing {
            cursor.noted = None;
            cursor.reading = false;
        }
        !missing
    }

    /// Whether the session follows more than its inbox.
    pub const fn follows_others(&self) -> bool {
        self.others.is_some()
    }

    /// Where the session is in each log that it follows; `inbox`: the name of its own.
    pub fn places<'a>(&'a self, inbox: &'a LogId) -> Vec<(&'a LogId, Position)> {
        let others = self.others.iter().flat_map(|others| others.iter());
        std::iter::once((inbox, &self.inbox))
            .chain(others)
            .filter_map(|(log, cursor)| Some((log, cursor.at?)))
            .collect()
    }

    /// Forgets a log that the session no longer follows.
    pub fn forget(&mut self, log: &LogId) {
        if let Some(others) = &mut self.others {
            others.remove(log);
        }
    }

    /// The client is pinged now.
    pub fn pinged(&mut self) {
        self.pinged = self.inbox.at;
    }

    /// The client has answered a ping: it has everything that was written before that.
    pub fn ponged(&mut self) -> Option<Position> {
        self.pinged.take()
    }

    fn cursor(&mut self, log: &LogId) -> &mut Cursor {
        match log {
            LogId::Inbox(_) => &mut self.inbox,
            _ => self
                .others
                .get_or_insert_with(|| Box::new(LiteMap::with_capacity(1)))
                .entry(log.clone())
                .or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{GroupId, UserId};

    fn inbox() -> LogId {
        LogId::Inbox(UserId::new("bob").unwrap())
    }

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch, offset }
    }

    #[test]
    fn the_next_is_taken_and_a_repetition_is_not() {
        let mut cursors = Cursors::default();
        assert!(cursors.begin(&inbox(), Some(at(1, 4))));
        assert!(cursors.caught_up(&inbox()));
        assert_eq!(cursors.meet(&inbox(), at(1, 5), Start::Here), Meet::Next);
        assert_eq!(cursors.meet(&inbox(), at(1, 5), Start::Here), Meet::Seen);
        assert_eq!(cursors.meet(&inbox(), at(1, 6), Start::Here), Meet::Next);
    }

    #[test]
    fn a_ticket_that_is_met_before_its_place_is_known_waits_for_it() {
        let ticket = LogId::Ticket(crate::protocol::TicketId::new("t1").unwrap());
        let mut cursors = Cursors::default();
        cursors.hold_tickets();
        assert_eq!(cursors.meet(&ticket, at(1, 7), Start::Here), Meet::Behind);
        assert_eq!(cursors.meet(&ticket, at(1, 8), Start::Here), Meet::Behind);
        assert_eq!(cursors.at(&ticket), Some(at(1, 6)));
        assert_eq!(cursors.release_tickets(), std::slice::from_ref(&ticket));
        assert_eq!(cursors.meet(&ticket, at(1, 9), Start::Here), Meet::Behind);
        assert!(cursors.begin(&ticket, Some(at(1, 2))));
        cursors.advance(&ticket, at(1, 7));
        assert!(!cursors.caught_up(&ticket));
        cursors.advance(&ticket, at(1, 9));
        assert!(cursors.caught_up(&ticket));
        let later = LogId::Ticket(crate::protocol::TicketId::new("t2").unwrap());
        assert_eq!(cursors.meet(&later, at(1, 3), Start::Here), Meet::Next);
    }

    #[test]
    fn a_log_that_is_to_be_read_from_its_beginning_has_nothing_missed_before_it_is_met() {
        let ticket = LogId::Ticket(crate::protocol::TicketId::new("t1").unwrap());
        let mut cursors = Cursors::default();
        let met = cursors.meet(&ticket, at(1, 2), Start::Beginning);
        assert_eq!(met, Meet::FellBehind);
        assert_eq!(cursors.at(&ticket), Some(Position::default()));
        let mut fresh = Cursors::default();
        assert_eq!(fresh.meet(&ticket, at(1, 1), Start::Beginning), Meet::Next);
        let mut deaf = Cursors::default();
        assert!(deaf.reaches(&ticket, at(1, 1), Start::Beginning));
        assert!(!Cursors::default().reaches(&ticket, at(1, 1), Start::Nowhere));
        let mut waits = Cursors::default();
        waits.hold_tickets();
        assert!(!waits.reaches(&ticket, at(1, 1), Start::Beginning));
        assert!(!waits.spill(&ticket, at(1, 2), Start::Beginning), "held");
        assert_eq!(waits.release_tickets(), std::slice::from_ref(&ticket));
        assert!(waits.begin(&ticket, None));
        assert_eq!(waits.at(&ticket), Some(Position::default()));
    }

    #[test]
    fn what_is_handed_on_again_concerns_only_who_follows_the_log() {
        let group = LogId::Group(GroupId::new("g").unwrap());
        let mut cursors = Cursors::default();
        assert_eq!(cursors.meet(&group, at(1, 5), Start::Nowhere), Meet::Seen);
        assert!(!cursors.spill(&group, at(1, 5), Start::Nowhere));
        assert!(!cursors.follows_others());
        cursors.start(&group, at(1, 4));
        assert_eq!(cursors.meet(&group, at(1, 5), Start::Nowhere), Meet::Next);
        assert!(!cursors.spill(&group, at(1, 5), Start::Here), "it has it");
    }

    #[test]
    fn a_hole_is_read_from_the_log_up_to_what_came_meanwhile() {
        let mut cursors = Cursors::default();
        cursors.begin(&inbox(), Some(at(1, 4)));
        cursors.caught_up(&inbox());
        assert_eq!(
            cursors.meet(&inbox(), at(1, 6), Start::Here),
            Meet::FellBehind
        );
        assert_eq!(cursors.meet(&inbox(), at(1, 7), Start::Here), Meet::Behind);
        cursors.advance(&inbox(), at(1, 6));
        assert!(!cursors.caught_up(&inbox()), "7 has arrived meanwhile");
        cursors.advance(&inbox(), at(1, 7));
        assert!(cursors.caught_up(&inbox()));
        assert_eq!(cursors.meet(&inbox(), at(1, 8), Start::Here), Meet::Next);
    }

    #[test]
    fn the_first_message_of_an_empty_log_is_the_next() {
        let mut cursors = Cursors::default();
        cursors.begin(&inbox(), Some(Position::default()));
        cursors.caught_up(&inbox());
        assert_eq!(cursors.meet(&inbox(), at(9, 1), Start::Here), Meet::Next);
    }

    #[test]
    fn a_log_that_is_empty_and_was_not_is_read_and_one_that_never_had_anything_is_not() {
        let mut cursors = Cursors::default();
        cursors.begin(&inbox(), Some(at(1, 4)));
        cursors.caught_up(&inbox());
        assert!(cursors.reaches(&inbox(), Position::default(), Start::Beginning));
        cursors.advance(&inbox(), at(9, 0));
        assert!(cursors.caught_up(&inbox()));
        assert!(!cursors.reaches(&inbox(), at(9, 0), Start::Beginning));
        let mut fresh = Cursors::default();
        fresh.begin(&inbox(), Some(Position::default()));
        fresh.caught_up(&inbox());
        assert!(!fresh.reaches(&inbox(), Position::default(), Start::Beginning));
    }

    #[test]
    fn another_epoch_is_never_taken_for_the_next() {
        let mut cursors = Cursors::default();
        cursors.begin(&inbox(), Some(at(1, 4)));
        cursors.caught_up(&inbox());
        assert_eq!(
            cursors.meet(&inbox(), at(2, 5), Start::Here),
            Meet::FellBehind
        );
    }

    #[test]
    fn an_inbox_of_which_nothing_is_known_is_read_and_a_group_is_followed_from_where_it_is() {
        let mut cursors = Cursors::default();
        assert_eq!(
            cursors.meet(&inbox(), at(1, 5), Start::Here),
            Meet::FellBehind
        );
        let group = LogId::Group(GroupId::new("g").unwrap());
        assert_eq!(cursors.meet(&group, at(1, 5), Start::Here), Meet::Next);
        assert_eq!(
            cursors.meet(&group, at(1, 7), Start::Here),
            Meet::FellBehind
        );
    }

    #[test]
    fn what_spills_while_the_log_is_read_is_read_too() {
        let mut cursors = Cursors::default();
        cursors.begin(&inbox(), Some(at(1, 4)));
        cursors.caught_up(&inbox());
        assert!(cursors.spill(&inbox(), at(1, 5), Start::Here));
        assert!(
            !cursors.spill(&inbox(), at(1, 6), Start::Here),
            "it is being read"
        );
        cursors.advance(&inbox(), at(1, 5));
        assert!(!cursors.caught_up(&inbox()));
        cursors.advance(&inbox(), at(1, 6));
        assert!(cursors.caught_up(&inbox()));
    }

    #[test]
    fn a_pong_vouches_for_what_was_written_before_its_ping() {
        let mut cursors = Cursors::default();
        cursors.begin(&inbox(), Some(at(1, 4)));
        cursors.caught_up(&inbox());
        cursors.pinged();
        cursors.meet(&inbox(), at(1, 5), Start::Here);
        assert_eq!(cursors.ponged(), Some(at(1, 4)));
        assert_eq!(cursors.ponged(), None);
    }
}
