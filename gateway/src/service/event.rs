//! `Event`: something that happened, by name. Handlers and hooks choose names or whole families of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::Client;
use crate::hub::unix_millis;

/// One event. Whoever hears of it twice knows it by its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Unique; the same when an event is delivered again.
    pub id: String,
    /// What happened, such as `client.connected`.
    pub name: String,
    /// When, Unix milliseconds.
    pub time: u64,
    /// To whom or what: a user, a group, a ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The particulars.
    pub data: Value,
}

impl Event {
    /// The gateway begins to start; nothing is bound yet.
    pub const INITIALIZE: &'static str = "websocket.initialize";
    /// Every listener serves.
    pub const STARTED: &'static str = "websocket.started";
    /// The gateway has left.
    pub const STOPPED: &'static str = "websocket.stopped";
    /// A session began.
    pub const CONNECTED: &'static str = "client.connected";
    /// A session ended.
    pub const DISCONNECTED: &'static str = "client.disconnected";
    /// A user's first session anywhere began.
    pub const ONLINE: &'static str = "user.online";
    /// A user's last session anywhere is gone.
    pub const OFFLINE: &'static str = "user.offline";

    /// A client's message was handed over. Hooks hear of it that say so, and nobody else.
    pub const SENT: &'static str = "message.sent";

    /// A group was made.
    pub const GROUP_CREATED: &'static str = "group.created";
    /// A group ended, by word or with its last member.
    pub const GROUP_DISBANDED: &'static str = "group.disbanded";
    /// A user became a member of a group.
    pub const GROUP_JOINED: &'static str = "group.joined";
    /// A user is no member of a group any more.
    pub const GROUP_LEFT: &'static str = "group.left";

    /// What happens to tickets, and how their agents are.
    pub const OF_TICKETS: [&'static str; 15] = [
        "ticket.opened",
        "ticket.queued",
        "ticket.assigned",
        "ticket.reminded",
        "ticket.acknowledged",
        "ticket.accepted",
        "ticket.passed_on",
        "ticket.transferred",
        "ticket.joined",
        "ticket.left",
        "ticket.closed",
        "ticket.timed_out",
        "agent.online",
        "agent.away",
        "agent.offline",
    ];

    /// The names that the gateway itself uses, beside [`Event::OF_TICKETS`].
    pub const NAMES: [&'static str; 11] = [
        Self::INITIALIZE,
        Self::STARTED,
        Self::STOPPED,
        Self::CONNECTED,
        Self::DISCONNECTED,
        Self::ONLINE,
        Self::OFFLINE,
        Self::GROUP_CREATED,
        Self::GROUP_DISBANDED,
        Self::GROUP_JOINED,
        Self::GROUP_LEFT,
    ];

    /// Something that happened once to a session: whoever tells of it, its id is the same.
    pub fn of_session(name: &str, client: &Client, data: Value) -> Self {
        Self {
            id: format!("{}/{name}", client.session),
            ..Self::now(name, Some(client.user.as_str()), data)
        }
    }

    /// Something that happens now.
    pub fn now(name: &str, subject: Option<&str>, data: Value) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            name: name.to_owned(),
            time: unix_millis(),
            subject: subject.map(str::to_owned),
            data,
        }
    }
}

/// Every name that is known here.
fn names() -> impl Iterator<Item = &'static str> {
    Event::NAMES.into_iter().chain(Event::OF_TICKETS)
}

/// Which events are wanted: one name, or a family such as `client.*`, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    /// All of them.
    All,
    /// Those that begin so.
    Family(String),
    /// One.
    Name(String),
}

/// A filter that no event can ever pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event is called `{0}`")]
pub struct EventFilterError(pub String);

impl EventFilter {
    /// Reads a name, `family.*` or `*`. A name that no event has is refused: its handler would wait for ever.
    pub fn parse(text: &str) -> Result<Self, EventFilterError> {
        let unknown = || EventFilterError(text.to_owned());
        if text == "*" {
            return Ok(Self::All);
        }
        match text.strip_suffix('*') {
            Some(family) => {
                let of_ours = names().any(|name| name.starts_with(family));
                let known = family.ends_with('.') && of_ours;
                known
                    .then(|| Self::Family(family.to_owned()))
                    .ok_or_else(unknown)
            }
            None if names().any(|name| name == text) => Ok(Self::Name(text.to_owned())),
            None => Err(unknown()),
        }
    }

    /// Whether this event is wanted.
    pub fn wants(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Family(family) => name.starts_with(family.as_str()),
            Self::Name(wanted) => name == wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_a_name_a_family_or_everything() {
        let filter = |text| EventFilter::parse(text).expect("known");
        assert!(filter("client.connected").wants("client.connected"));
        assert!(!filter("client.connected").wants("client.disconnected"));
        assert!(filter("client.*").wants("client.disconnected"));
        assert!(!filter("client.*").wants("user.online"));
        assert!(filter("*").wants("ticket.opened"));
        assert!(filter("group.joined").wants("group.joined"));
        assert!(filter("group.*").wants("group.disbanded"));
        assert!(filter("ticket.*").wants("ticket.closed"));
        assert!(filter("agent.*").wants("agent.away"));
    }

    #[test]
    fn a_name_that_no_event_has_is_refused() {
        for wrong in [
            "",
            "client",
            "client.conected",
            "clients.*",
            "c*",
            "group.",
            "group.renamed",
            "ticket.lost",
            "agents.*",
            "client.connected*",
        ] {
            assert_eq!(
                EventFilter::parse(wrong),
                Err(EventFilterError(wrong.to_owned()))
            );
        }
    }
}
