//! `Size`: a number of bytes, written with a binary unit (`4KiB`, `1MiB`) or as a bare integer.
//!
//! The type says what a bare integer means: bytes ([`ByteSize`]) or, for the one key that the reference counts so, KiB
//! ([`KibSize`]). Written back with the largest unit that divides it. `Ki`, `Mi` and `Gi` are taken too, because that is
//! how Kubernetes writes quantities. Bounds belong to the fields, see `schema::between`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Units from the largest to the smallest, with their bytes.
const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// What the schema lets through; the same grammar as [`Size::from_str`].
const PATTERN: &str = "^[0-9]{1,12}(B|[KMG]iB?)?$";

/// The longest text that is looked at.
const MAX_LENGTH: usize = 15;

/// The most that any key may ask for: one TiB, so that no sum of sizes overflows.
const MAX_BYTES: u64 = 1 << 40;

/// A number of bytes; `UNIT` is what a bare integer counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size<const UNIT: u64>(u64);

/// A size whose bare integer counts bytes.
pub type ByteSize = Size<1>;

/// A size whose bare integer counts KiB.
pub type KibSize = Size<1024>;

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// The text does not follow the grammar.
    #[error("`{0}` is not a size such as `4KiB`, `1MiB` or a bare integer")]
    Malformed(String),
    /// More than any key can mean.
    #[error("`{0}` is more than 1024GiB")]
    TooLarge(String),
}

impl<const UNIT: u64> Size<UNIT> {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many KiB.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in bytes as a length in memory; the largest such length where memory is smaller.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// True for no bytes at all.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The unit of a bare integer, as the reference names it.
    pub(crate) const fn unit() -> &'static str {
        if UNIT == 1 { "bytes" } else { "KiB" }
    }

    fn from_count(count: u64, unit: u64) -> Option<Self> {
        count
            .checked_mul(unit)
            .filter(|bytes| *bytes <= MAX_BYTES)
            .map(Self)
    }
}

impl<const UNIT: u64> FromStr for Size<UNIT> {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let malformed = || SizeError::Malformed(text.chars().take(MAX_LENGTH).collect());
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        if !(1..=12).contains(&end) {
            return Err(malformed());
        }
        let (count, unit) = text.split_at(end);
        let unit = match unit {
            "" => UNIT,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            unit => {
                UNITS
                    .iter()
                    .find(|(name, _)| *name == unit)
                    .ok_or_else(malformed)?
                    .1
            }
        };
        let count = count.parse().map_err(|_| malformed())?;
        Self::from_count(count, unit).ok_or_else(|| SizeError::TooLarge(text.to_owned()))
    }
}

impl<const UNIT: u64> fmt::Display for Size<UNIT> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS
            .iter()
            .find(|(_, scale)| self.0 != 0 && self.0.is_multiple_of(*scale));
        match unit {
            Some((name, scale)) => write!(out, "{}{name}", self.0 / scale),
            None => out.write_str("0B"),
        }
    }
}

impl<const UNIT: u64> fmt::Debug for Size<UNIT> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl<const UNIT: u64> Serialize for Size<UNIT> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const UNIT: u64> Deserialize<'de> for Size<UNIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor::<UNIT>)
    }
}

struct SizeVisitor<const UNIT: u64>;

impl<const UNIT: u64> Visitor<'_> for SizeVisitor<UNIT> {
    type Value = Size<UNIT>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "a size such as `4KiB`, or an integer of {}",
            Size::<UNIT>::unit()
        )
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Self::Value, E> {
        Size::from_count(count, UNIT)
            .ok_or_else(|| E::custom(SizeError::TooLarge(count.to_string())))
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<Self::Value, E> {
        let count = u64::try_from(count)
            .map_err(|_| E::custom(format_args!("a size cannot be negative, is {count}")))?;
        self.visit_u64(count)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map_err(E::custom)
    }
}

impl<const UNIT: u64> JsonSchema for Size<UNIT> {
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
    fn reads_binary_units_and_bare_integers() {
        for (text, bytes) in [
            ("4KiB", 4096),
            ("4Ki", 4096),
            ("1MiB", 1 << 20),
            ("2Gi", 2 << 30),
            ("17B", 17),
            ("9", 9),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
        assert_eq!("1024".parse::<KibSize>().unwrap().bytes(), 1 << 20);
        assert_eq!(
            serde_json::from_str::<KibSize>("4").unwrap(),
            KibSize::from_kib(4)
        );
        assert_eq!(
            serde_json::from_str::<ByteSize>("4").unwrap(),
            ByteSize::from_bytes(4)
        );
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in [
            "",
            "KiB",
            "1KB",
            "1kb",
            "1 KiB",
            "-1",
            "1.5MiB",
            "1TiB",
            "0x10",
            "1234567890123",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
        }
        assert!(matches!(
            "1025GiB".parse::<ByteSize>(),
            Err(SizeError::TooLarge(_))
        ));
        for wrong in ["-5", "1.5", "null", "true", "18446744073709551615"] {
            assert!(serde_json::from_str::<KibSize>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn is_written_with_the_largest_unit_that_divides_it() {
        for (bytes, text) in [
            (0, "0B"),
            (1000, "1000B"),
            (4096, "4KiB"),
            (1 << 20, "1MiB"),
            (3 << 30, "3GiB"),
        ] {
            assert_eq!(ByteSize::from_bytes(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn survives_being_written_and_read(bytes in 0..100_000_000_000u64) {
            let written = serde_json::to_string(&KibSize::from_bytes(bytes)).unwrap();
            let read: KibSize = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read.bytes(), bytes);
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }

        #[test]
        fn the_schema_lets_through_what_is_read(text in "[0-9]{0,3}[KMGT]?i?[Bb]?") {
            let fits = Regex::new(PATTERN).unwrap().is_match(&text);
            prop_assert_eq!(text.parse::<ByteSize>().is_ok(), fits, "{}", text);
        }
    }
}
