//! `Signer`: HMAC-SHA256 over a timestamp, a dot and what is signed, with each key the hook has: while one key is being
//! replaced, a receiver that knows either of the two is content.

use std::fmt::Write as _;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::hub::unix_millis;

/// The header, or metadata, with the time of signing in Unix seconds.
pub(super) const TIMESTAMP: &str = "wsc-timestamp";
/// The header, or metadata, with `v1=HEX` for each key, separated by commas.
pub(super) const SIGNATURE: &str = "wsc-signature";

/// See the module.
#[derive(Clone)]
pub(super) struct Signer(Vec<String>);

/// What a request carries.
pub(super) struct Signed {
    pub(super) timestamp: String,
    pub(super) signature: String,
}

impl Signer {
    pub(super) fn new(keys: &[String]) -> Self {
        Self(keys.to_vec())
    }

    /// Signs this now; nothing without a key.
    pub(super) fn sign(&self, what: &[u8]) -> Option<Signed> {
        self.sign_at(unix_millis() / 1000, what)
    }

    fn sign_at(&self, seconds: u64, what: &[u8]) -> Option<Signed> {
        if self.0.is_empty() {
            return None;
        }
        let timestamp = seconds.to_string();
        let mut signature = String::new();
        for key in &self.0 {
            // HMAC takes keys of any length.
            let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
            mac.update(timestamp.as_bytes());
            mac.update(b".");
            mac.update(what);
            if !signature.is_empty() {
                signature.push(',');
            }
            signature.push_str("v1=");
            for byte in mac.finalize().into_bytes() {
                // Writing to memory cannot fail.
                let _ = write!(signature, "{byte:02x}");
            }
        }
        Some(Signed {
            timestamp,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_hmac_of_time_dot_body_by_each_key() {
        let signer = Signer::new(&["key".to_owned(), "other".to_owned()]);
        let signed = signer.sign_at(1_732_368_000, b"{}").unwrap();
        assert_eq!(signed.timestamp, "1732368000");
        let parts: Vec<&str> = signed.signature.split(',').collect();
        assert_eq!(parts.len(), 2);
        // printf '1732368000.{}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            parts[0],
            "v1=989b554087a1aa7b6197db3df51113b56bff4fb4872c708de1c5f79bb8cf1d10"
        );
        assert!(Signer::new(&[]).sign(b"{}").is_none());
    }
}
