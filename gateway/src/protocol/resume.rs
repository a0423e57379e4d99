//! `Resume`: where a client says it was in the logs it followed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::json::string;
use super::{LogId, Position, RawJson, UserId};

/// The most logs a client can name.
const LOGS_MAX: usize = 1000;

/// Logs that one session resumes, and is told of when it is sent away.
pub const PLACES_MAX: usize = 128;

/// The longest text of them that it is told: percent-encoded in a URL, it fits the head of a request with all the rest.
const TEXT_MAX: usize = 4096;

/// See the module. `{"inbox":"EPOCH.OFFSET","group:NAME":"EPOCH.OFFSET"}`; what belongs to whom is judged when the client
/// is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume(BTreeMap<String, Position>);

impl Resume {
    /// Only the inbox.
    pub fn inbox(position: Position) -> Self {
        Self(BTreeMap::from([("inbox".to_owned(), position)]))
    }

    /// Reads the JSON object.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The places, for this user, those first that matter most. A log that is another user's inbox is not among them.
    pub fn places(&self, user: &UserId) -> Vec<(LogId, Position)> {
        let places = self.0.iter().filter_map(|(name, position)| {
            let log = match name.as_str() {
                "inbox" => LogId::Inbox(user.clone()),
                name => name
                    .parse()
                    .ok()
                    .filter(|log| !matches!(log, LogId::Inbox(_)))?,
            };
            Some((log, *position))
        });
        let mut places: Vec<_> = places.collect();
        places.sort_by_key(|(log, _)| rank(log));
        places
    }
}

/// The order in which places are left out last: a group may have many members, an inbox has one reader.
const fn rank(log: &LogId) -> u8 {
    match log {
        LogId::Inbox(_) => 0,
        LogId::Ticket(_) | LogId::Broadcast => 1,
        LogId::Group(_) => 2,
    }
}

/// The places of a session, as its client says them when it comes back: as many as a gateway takes then, groups last.
/// Nothing if there are none.
pub fn told(places: &[(&LogId, Position)]) -> Option<Box<RawJson>> {
    let mut places = places.to_vec();
    places.sort_by_key(|(log, _)| rank(log));
    let mut json = vec![b'{'];
    for place in places.iter().take(PLACES_MAX) {
        let before = json.len();
        entry(place, &mut json);
        if json.len() >= TEXT_MAX {
            json.truncate(before);
            break;
        }
    }
    json.push(b'}');
    let is_empty = json == b"{}";
    let json = RawJson::from_string(String::from_utf8(json).ok()?).ok()?;
    (!is_empty).then_some(json)
}

/// Writes places as the JSON object that is read here.
pub(super) fn write(places: &[(&LogId, Position)], out: &mut Vec<u8>) {
    out.push(b'{');
    for place in places {
        entry(place, out);
    }
    out.push(b'}');
}

fn entry((log, position): &(&LogId, Position), out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    string(&name(log), out);
    out.extend_from_slice(format!(":\"{position}\"").as_bytes());
}

/// The name of a log as its reader knows it: one's own inbox is just that.
pub fn name(log: &LogId) -> String {
    match log {
        LogId::Inbox(_) => "inbox".to_owned(),
        LogId::Group(_) | LogId::Ticket(_) | LogId::Broadcast => log.to_string(),
    }
}

impl<'de> Deserialize<'de> for Resume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let places = BTreeMap::<String, Position>::deserialize(deserializer)?;
        if places.len() > LOGS_MAX {
            let problem = format!("{} logs, at most {LOGS_MAX} can be resumed", places.len());
            return Err(serde::de::Error::custom(problem));
        }
        for name in places.keys() {
            let known = name == "inbox"
                || matches!(
                    name.parse(),
                    Ok(LogId::Group(_) | LogId::Ticket(_) | LogId::Broadcast)
                );
            if !known {
                let problem = format!("{name:?} is not inbox, group:NAME, ticket:ID or broadcast");
                return Err(serde::de::Error::custom(problem));
            }
        }
        Ok(Self(places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_user_who_asks() {
        let resume = Resume::parse(r#"{"inbox":"1.2","group:g":"3.4"}"#).unwrap();
        let bob = UserId::new("bob").unwrap();
        let places: Vec<_> = resume
            .places(&bob)
            .iter()
            .map(|(log, at)| format!("{log} {at}"))
            .collect();
        assert_eq!(places, ["inbox:bob 1.2", "group:g 3.4"]);
    }

    #[test]
    fn no_more_is_told_than_a_gateway_takes_and_groups_are_left_out() {
        let bob = UserId::new("bob").unwrap();
        let others: [LogId; 2] = [
            LogId::Inbox(bob.clone()),
            "ticket:0193a0c0-0000-7000-8000-000000000000"
                .parse()
                .unwrap(),
        ];
        for (at, length, fit) in [("1.2", 1, 128..=128), ("1732368000123456.17", 64, 40..=44)] {
            let name = |index| format!("group:{index:0length$}").parse().unwrap();
            let groups: Vec<LogId> = (0..200).map(name).collect();
            let at: Position = at.parse().unwrap();
            let all: Vec<_> = groups.iter().chain(&others).map(|log| (log, at)).collect();
            let told = told(&all).unwrap();
            assert!(told.get().len() <= TEXT_MAX, "{}", told.get().len());
            let places = Resume::parse(told.get()).unwrap().places(&bob);
            let logs: Vec<_> = places.into_iter().map(|(log, _)| log).collect();
            assert_eq!(logs[..2], others);
            assert!(fit.contains(&logs.len()), "{}", logs.len());
        }
        assert!(told(&[]).is_none());
    }

    #[test]
    fn nobody_names_anothers_inbox() {
        for wrong in [
            r#"{"inbox:alice":"1.2"}"#,
            r#"{"inbox":"x"}"#,
            r#"{"log":"1.2"}"#,
            "[]",
        ] {
            assert!(Resume::parse(wrong).is_err(), "{wrong}");
        }
    }
}
