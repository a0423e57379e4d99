//! `Cidr`: a range of addresses, for allow and deny lists and for trusted proxies.
//!
//! A bare address stands for itself alone. Parsed once; membership is a comparison of masked integers. IPv4-mapped IPv6
//! addresses are refused when written and looked through when matched, so that a dual-stack socket changes nothing.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The longest text: a full IPv6 address with its prefix length.
const MAX_LENGTH: usize = 43;

/// The letters of an address and a prefix length without a leading zero; the rest is for CEL.
const PATTERN: &str = "^[0-9A-Fa-f:.]+(/(0|[1-9][0-9]{0,2}))?$";

/// A range of addresses such as `10.0.0.0/8`, or one address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    text: String,
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a range of addresses such as `10.0.0.0/8`, `2001:db8::/32` or a single address"
)]
pub struct CidrError(String);

impl Cidr {
    /// The range as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether an address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                let shift = u32::from(32 - self.prefix.min(32));
                u32::from(range).checked_shr(shift) == u32::from(address).checked_shr(shift)
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                let shift = u32::from(128 - self.prefix.min(128));
                u128::from(range).checked_shr(shift) == u128::from(address).checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        parse(text).ok_or_else(|| CidrError(text.chars().take(MAX_LENGTH).collect()))
    }
}

fn parse(text: &str) -> Option<Cidr> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    if address.to_canonical() != address {
        return None;
    }
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(text) => prefix_length(text).filter(|length| *length <= widest)?,
        None => widest,
    };
    Some(Cidr {
        text: text.to_owned(),
        address,
        prefix,
    })
}

/// Digits without a sign or a leading zero, as the API server's own parser wants them.
fn prefix_length(text: &str) -> Option<u8> {
    let plain =
        text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    plain.then(|| text.parse().ok()).flatten()
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.text
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl JsonSchema for Cidr {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 2,
            "maxLength": MAX_LENGTH,
            "pattern": PATTERN,
            "x-wsc-syntax": "cidr",
            "x-kubernetes-validations": [{
                "rule": "isCIDR(self) || isIP(self)",
                "message": "must be a range of addresses such as 10.0.0.0/8, or one address",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;
    use regex_lite::Regex;

    use super::*;

    fn contains(range: &str, address: &str) -> bool {
        range
            .parse::<Cidr>()
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn a_range_contains_what_shares_its_prefix() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("10.1.2.3/8", "10.9.9.9"));
        assert!(contains("192.0.2.7", "192.0.2.7"));
        assert!(!contains("192.0.2.7", "192.0.2.8"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::"));
    }

    #[test]
    fn the_widest_range_contains_its_family_alone() {
        assert!(contains("0.0.0.0/0", "255.255.255.255"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "ffff::"));
        assert!(!contains("::/0", "1.2.3.4"));
    }

    #[test]
    fn a_mapped_address_is_the_one_it_stands_for() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!contains("::/0", "::ffff:10.1.2.3"));
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0/8",
            "010.0.0.0/8",
            "::/129",
            "fe80::1%eth0",
            "::ffff:10.0.0.0/104",
            "localhost",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn membership_is_equality_of_prefixes(range: u32, address: u32, length in 0..=32u32) {
            let cidr: Cidr = format!("{}/{length}", Ipv4Addr::from(range)).parse().unwrap();
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            prop_assert_eq!(cidr.contains(Ipv4Addr::from(address).into()), range & mask == address & mask);
        }

        #[test]
        fn every_range_passes_the_schema(range: u128, length in 0..=128u32) {
            let text = format!("{}/{length}", Ipv6Addr::from(range));
            prop_assume!(text.parse::<Cidr>().is_ok());
            prop_assert!(Regex::new(PATTERN).unwrap().is_match(&text) && text.len() <= MAX_LENGTH);
        }
    }
}
