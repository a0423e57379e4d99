//! `Span`: a length of time that is written as a Go-style duration (`30s`, `1h30m`, `1.5s`) or as a bare integer.
//!
//! The type says what a bare integer means: the reference counts most times in seconds ([`Seconds`]) and a few in
//! milliseconds ([`Millis`]). It is always written back as one number with the largest unit that divides it, so that a
//! value survives any number of round trips unchanged. Bounds belong to the fields, see `schema::between`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// Units from the largest to the smallest, with their nanoseconds.
const UNITS: [(&str, u64); 6] = [
    ("h", 3600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", MILLISECOND),
    ("us", 1000),
    ("ns", 1),
];

/// What the schema lets through; the same grammar as [`Span::from_str`].
const PATTERN: &str = r"^([0-9]{1,12}|([0-9]{1,19}(\.[0-9]{1,19})?(h|m|s|ms|us|ns))+)$";

/// The longest text that is looked at.
const MAX_LENGTH: usize = 32;

/// A length of time; `NANOS` is the unit of a bare integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span<const NANOS: u64>(Duration);

/// A time whose bare integer counts seconds.
pub type Seconds = Span<SECOND>;

/// A time whose bare integer counts milliseconds.
pub type Millis = Span<MILLISECOND>;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text does not follow the grammar.
    #[error("`{0}` is not a duration such as `30s`, `1h30m`, `100ms` or a bare integer")]
    Malformed(String),
    /// The value does not fit what Go and CEL can hold (about 292 years).
    #[error("`{0}` is longer than a duration can be")]
    TooLong(String),
}

impl<const NANOS: u64> Span<NANOS> {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The same time as the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// True for no time at all, which several keys take as "off".
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The unit of a bare integer, as the reference names it.
    pub(crate) const fn unit() -> &'static str {
        if NANOS == MILLISECOND {
            "milliseconds"
        } else {
            "seconds"
        }
    }

    fn from_count(count: u64) -> Result<Self, DurationError> {
        count
            .checked_mul(NANOS)
            .filter(|nanos| i64::try_from(*nanos).is_ok())
            .map(|nanos| Self(Duration::from_nanos(nanos)))
            .ok_or_else(|| DurationError::TooLong(count.to_string()))
    }
}

impl<const NANOS: u64> FromStr for Span<NANOS> {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let malformed = || DurationError::Malformed(text.chars().take(MAX_LENGTH).collect());
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(malformed());
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::from_count(text.parse().map_err(|_| malformed())?);
        }
        let mut rest = text;
        let mut nanos: u128 = 0;
        while !rest.is_empty() {
            let (term, tail) = term(rest).ok_or_else(malformed)?;
            nanos += term;
            rest = tail;
        }
        let nanos = i64::try_from(nanos).map_err(|_| DurationError::TooLong(text.to_owned()))?;
        Ok(Self(Duration::from_nanos(nanos.unsigned_abs())))
    }
}

/// Reads one number with its unit; returns its nanoseconds and what follows.
fn term(text: &str) -> Option<(u128, &str)> {
    let (whole, rest) = digits(text)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest)?,
        None => ("", rest),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let scale = u128::from(UNITS.iter().find(|(name, _)| *name == unit)?.1);
    let tens = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u128>().ok()?
    };
    Some((
        whole.parse::<u128>().ok()? * scale + part * scale / tens,
        rest,
    ))
}

/// Leading digits, as many as a duration in nanoseconds can have.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (1..=19).contains(&end).then(|| text.split_at(end))
}

impl<const NANOS: u64> fmt::Display for Span<NANOS> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return out.write_str("0s");
        }
        for (name, scale) in UNITS {
            let scale = u128::from(scale);
            if nanos.is_multiple_of(scale) {
                return write!(out, "{}{name}", nanos / scale);
            }
        }
        Ok(())
    }
}

impl<const NANOS: u64> fmt::Debug for Span<NANOS> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl<const NANOS: u64> From<Duration> for Span<NANOS> {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl<const NANOS: u64> From<Span<NANOS>> for Duration {
    fn from(span: Span<NANOS>) -> Self {
        span.0
    }
}

impl<const NANOS: u64> Serialize for Span<NANOS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const NANOS: u64> Deserialize<'de> for Span<NANOS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor::<NANOS>)
    }
}

struct SpanVisitor<const NANOS: u64>;

impl<const NANOS: u64> Visitor<'_> for SpanVisitor<NANOS> {
    type Value = Span<NANOS>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "a duration such as `30s`, or an integer of {}",
            Span::<NANOS>::unit()
        )
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Self::Value, E> {
        Span::from_count(count).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<Self::Value, E> {
        let count = u64::try_from(count)
            .map_err(|_| E::custom(format_args!("a duration cannot be negative, is {count}")))?;
        self.visit_u64(count)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map_err(E::custom)
    }
}

impl<const NANOS: u64> JsonSchema for Span<NANOS> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Self::unit().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            // Without this a null would be stored as it is, past the default.
            "nullable": false,
            "pattern": PATTERN,
            "minimum": 0,
            "maxLength": MAX_LENGTH,
            "x-wsc-unit": Self::unit(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_lite::Regex;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("30s", 30 * SECOND),
            ("1h30m", 5400 * SECOND),
            ("1.5s", 1500 * MILLISECOND),
            ("100ms", 100 * MILLISECOND),
            ("1h0.001s", 3600 * SECOND + MILLISECOND),
            ("0.5ms500us", MILLISECOND),
            ("7ns", 7),
            ("0s", 0),
            ("0", 0),
            ("90", 90 * SECOND),
        ] {
            assert_eq!(
                text.parse::<Seconds>().unwrap().get(),
                Duration::from_nanos(nanos),
                "{text}"
            );
        }
        assert_eq!(
            "90".parse::<Millis>().unwrap().get(),
            Duration::from_millis(90)
        );
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in [
            "", "s", "30 s", " 30s", "-1s", "+1s", "1d", "1,5s", "1.s", ".5s", "30S", "1e3s",
            "1s2", "١s",
        ] {
            assert!(text.parse::<Seconds>().is_err(), "{text:?}");
        }
        assert!(matches!(
            "999999999h".parse::<Seconds>(),
            Err(DurationError::TooLong(_))
        ));
        assert!(matches!(
            "99999999999".parse::<Seconds>(),
            Err(DurationError::TooLong(_))
        ));
    }

    #[test]
    fn a_bare_integer_counts_in_the_unit_of_the_type() {
        assert_eq!(
            serde_json::from_str::<Seconds>("5").unwrap(),
            Seconds::from_secs(5)
        );
        assert_eq!(
            serde_json::from_str::<Millis>("5").unwrap(),
            Millis::from_millis(5)
        );
        for wrong in ["-5", "1.5", "null", "true", "[]", "18446744073709551615"] {
            assert!(serde_json::from_str::<Seconds>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn is_written_with_the_largest_unit_that_divides_it() {
        for (millis, text) in [
            (0, "0s"),
            (1500, "1500ms"),
            (90_000, "90s"),
            (60_000, "1m"),
            (86_400_000, "24h"),
        ] {
            assert_eq!(Seconds::from_millis(millis).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn survives_being_written_and_read(nanos in 0..i64::MAX.unsigned_abs()) {
            let span = Seconds::from(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse::<Seconds>().unwrap(), span);
        }

        #[test]
        fn whole_units_survive_being_written_and_read(count in 0..1_000_000u64, unit in 0..UNITS.len()) {
            let span = Seconds::from(Duration::from_nanos(count * UNITS[unit].1));
            let written = serde_json::to_string(&span).unwrap();
            let read: Seconds = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read, span);
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }

        #[test]
        fn the_schema_lets_through_what_is_read(text in "[0-9]{0,3}(\\.[0-9]{0,2})?[hmsun]{0,2}[0-9]{0,2}[sd]?") {
            let fits = Regex::new(PATTERN).unwrap().is_match(&text) && text.len() <= MAX_LENGTH;
            prop_assert_eq!(text.parse::<Seconds>().is_ok(), fits, "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused_without_harm(text in ".{0,40}") {
            let _ = text.parse::<Seconds>();
        }
    }
}
