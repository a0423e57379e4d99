//! `Resume`: where a client says it was in the logs it followed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::json::string;
use super::{LogId, Position, RawJson, UserId};

/// The most logs a client can name.
const LOGS_MAX: usize = 1000;

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

    /// The places, for this user. A log that is another user's inbox is not among them.
    pub fn places(&self, user: &UserId) -> impl Iterator<Item = (LogId, Position)> {
        self.0.iter().filter_map(|(name, position)| {
            let log = match name.as_str() {
                "inbox" => LogId::Inbox(user.clone()),
                name => name
                    .parse()
                    .ok()
                    .filter(|log| !matches!(log, LogId::Inbox(_)))?,
            };
            Some((log, *position))
        })
    }
}

/// The places of a session, as its client says them when it comes back; nothing if there are none, or more than it may say.
pub fn told(places: &[(&LogId, Position)]) -> Option<Box<RawJson>> {
    if places.is_empty() || places.len() > LOGS_MAX {
        return None;
    }
    let mut json = Vec::new();
    write(places, &mut json);
    RawJson::from_string(String::from_utf8(json).ok()?).ok()
}

/// Writes places as the JSON object that is read here.
pub(super) fn write(places: &[(&LogId, Position)], out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (log, position)) in places.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(&name(log), out);
        out.extend_from_slice(format!(":\"{position}\"").as_bytes());
    }
    out.push(b'}');
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
            .map(|(log, at)| format!("{log} {at}"))
            .collect();
        assert_eq!(places, ["group:g 3.4", "inbox:bob 1.2"]);
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
