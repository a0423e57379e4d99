//! Events as `CloudEvents` 1.0 in JSON: one in structured mode, several as a batch. Pure.

use serde::Serialize;
use serde_json::Value;

use crate::service::Event;

/// The content type of one event.
pub(super) const SINGLE: &str = "application/cloudevents+json";
/// The content type of several.
pub(super) const BATCH: &str = "application/cloudevents-batch+json";

/// What types begin with: `CloudEvents` wants a name that somebody owns.
const PREFIX: &str = "dev.wsc.";

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: String,
    datacontenttype: &'static str,
    data: &'a Value,
}

/// The event's type on the wire.
pub(super) fn kind(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn of<'a>(event: &'a Event, source: &'a str) -> CloudEvent<'a> {
    CloudEvent {
        specversion: "1.0",
        id: &event.id,
        source,
        kind: kind(&event.name),
        subject: event.subject.as_deref(),
        time: rfc3339(event.time),
        datacontenttype: "application/json",
        data: &event.data,
    }
}

/// One event by itself.
pub(super) fn single(event: &Event, source: &str) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&of(event, source))
}

/// Several, as an array.
pub(super) fn batch(events: &[Event], source: &str) -> serde_json::Result<Vec<u8>> {
    let all: Vec<CloudEvent<'_>> = events.iter().map(|event| of(event, source)).collect();
    serde_json::to_vec(&all)
}

/// Unix milliseconds as RFC 3339 in UTC; the days by Howard Hinnant's `civil_from_days`.
fn rfc3339(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_732_368_000_123, "2024-11-23T13:20:00.123Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(millis), text);
        }
    }

    #[test]
    fn an_event_has_every_attribute_that_cloudevents_asks_for() {
        let event = Event::now("user.offline", Some("bob"), serde_json::json!({"a": 1}));
        let written: Value = serde_json::from_slice(&single(&event, "/wsc/chat").unwrap()).unwrap();
        assert_eq!(written["specversion"], "1.0");
        assert_eq!(written["type"], "dev.wsc.user.offline");
        assert_eq!(
            (&written["source"], &written["subject"]),
            (&"/wsc/chat".into(), &"bob".into())
        );
        assert_eq!(written["data"]["a"], 1);
        let both = batch(&[event.clone(), event], "/wsc/chat").unwrap();
        let both: Vec<Value> = serde_json::from_slice(&both).unwrap();
        assert_eq!(both[1], written);
    }
}
