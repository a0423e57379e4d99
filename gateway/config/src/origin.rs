//! `Origin`: one entry of the allow-list that browsers are held to.
//!
//! Parsed once into scheme, host and port, so that matching at the handshake is a comparison of parts and never of
//! prefixes or suffixes of a text. Used by the gateway before authentication.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::schema;

/// What the schema lets through: `https://chat.example.com:8443`, `https://*.example.com` or `*.example.com`.
const PATTERN: &str = concat!(
    r"^((https?)://(\*\.)?|\*\.)",
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*",
    "(",
    schema::port!(),
    ")?$"
);

/// The longest entry: a full DNS name with scheme and port.
const MAX_LENGTH: usize = 280;

/// An allowed origin: exact, or any subdomain of a name. Without a scheme it means `https`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    text: String,
    secure: bool,
    subdomains: bool,
    host: String,
    port: u16,
}

/// Why a text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an origin such as `https://chat.example.com` or `*.example.com`, in lower case"
)]
pub struct OriginError(String);

impl Origin {
    /// The entry as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a browser's `Origin` header names this origin.
    ///
    /// Scheme and port must be the same; a wildcard stands for one or more whole labels, never for the bare name.
    pub fn allows(&self, header: &str) -> bool {
        let Ok(seen) = header.to_ascii_lowercase().parse::<Self>() else {
            return false;
        };
        if !header.contains("://")
            || seen.subdomains
            || seen.secure != self.secure
            || seen.port != self.port
        {
            return false;
        }
        if !self.subdomains {
            return seen.host == self.host;
        }
        seen.host
            .strip_suffix(self.host.as_str())
            .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        parse(text).ok_or_else(|| OriginError(text.chars().take(MAX_LENGTH).collect()))
    }
}

fn parse(text: &str) -> Option<Origin> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let (secure, authority) = match text.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        None if text.starts_with("*.") => (true, text),
        Some(_) | None => return None,
    };
    let (subdomains, authority) = match authority.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, authority),
    };
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, explicit_port(port)?),
        None => (authority, if secure { 443 } else { 80 }),
    };
    let valid = host.split('.').all(is_label);
    valid.then(|| Origin {
        text: text.to_owned(),
        secure,
        subdomains,
        host: host.to_owned(),
        port,
    })
}

fn explicit_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(inner)
}

impl TryFrom<String> for Origin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, OriginError> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.text
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl JsonSchema for Origin {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Origin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_LENGTH,
            "pattern": PATTERN,
            "x-wsc-syntax": "origin",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_lite::Regex;

    use super::*;

    fn allows(entry: &str, header: &str) -> bool {
        entry.parse::<Origin>().unwrap().allows(header)
    }

    #[test]
    fn an_exact_origin_allows_itself_alone() {
        let entry = "https://chat.example.com";
        assert!(allows(entry, "https://chat.example.com"));
        assert!(allows(entry, "https://chat.example.com:443"));
        assert!(allows(entry, "https://CHAT.example.com"));
        for header in [
            "http://chat.example.com",
            "https://chat.example.com:8443",
            "https://chat.example.com.evil.example",
            "https://evilchat.example.com",
            "https://example.com",
            "https://chat.example.com/",
            "https://user@chat.example.com",
            "chat.example.com",
            "null",
            "",
        ] {
            assert!(!allows(entry, header), "{header}");
        }
    }

    #[test]
    fn a_wildcard_allows_names_below_and_not_the_name_itself() {
        for entry in ["*.example.com", "https://*.example.com"] {
            assert!(allows(entry, "https://a.example.com"));
            assert!(allows(entry, "https://a.b.example.com"));
            for header in [
                "https://example.com",
                "https://evilexample.com",
                "https://.example.com",
                "http://a.example.com",
                "https://a.example.com:8443",
                "https://*.example.com",
                "*.example.com",
            ] {
                assert!(!allows(entry, header), "{entry} {header}");
            }
        }
        assert!(allows(
            "http://*.local.test:3000",
            "http://app.local.test:3000"
        ));
    }

    #[test]
    fn refuses_what_is_no_origin() {
        for text in [
            "",
            "*",
            "null",
            "example.com",
            "https://",
            "https://*",
            "https://Chat.example.com",
            "https://chat.example.com/",
            "https://a..b",
            "https://-a.example",
            "https://a:0",
            "https://a:65536",
            "https://a:+80",
            "ftp://a.example",
            "https://a.*.example",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_schema_lets_through_what_is_read(text in "(https?://|ftp://)?(\\*\\.)?[a-zA-Z0-9.-]{0,8}(:[0-9]{0,6})?/?") {
            let fits = Regex::new(PATTERN).unwrap().is_match(&text);
            prop_assert_eq!(text.parse::<Origin>().is_ok(), fits, "{}", text);
        }

        #[test]
        fn any_header_is_judged_without_harm(header in ".{0,60}") {
            prop_assert!(!allows("*.example.com", &header) || header.to_lowercase().ends_with(".example.com"));
        }
    }
}
