//! Digests: short names for content, to notice change. Pure.
//!
//! `serde_json` keeps the keys of objects sorted, so equal values give equal texts.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A digest of several parts; their borders count.
pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut text = String::with_capacity(16);
    for byte in hasher.finalize().iter().take(8) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A digest of a JSON value.
pub fn of_json(value: &Value) -> String {
    of_parts([value.to_string().as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter_but_borders_do() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":2}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":2,"a":1}"#).unwrap();
        assert_eq!(of_json(&one), of_json(&two));
        assert_ne!(
            of_parts([b"ab".as_slice(), b"c"]),
            of_parts([b"a".as_slice(), b"bc"])
        );
    }
}
