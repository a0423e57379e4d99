//! What the operator knows about Secrets: which keys there are and a digest of each, and freshly drawn keys.
//!
//! Values are looked at once, to digest them, and are never kept or logged in clear. A digest is not published
//! either: see `validate`, where several are hashed together with the JWT key, which nobody can guess.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::names::{API_KEY, ENCRYPTION_KEY, JWT_KEY, REDIS_AUTH, REDIS_PASSWORD};

/// One key of a Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFact {
    /// The length in bytes, without a trailing newline.
    pub len: usize,
    /// A digest of the value.
    pub digest: [u8; 32],
    /// What it looks like.
    pub form: Form,
}

/// What the value of a key looks like. Whether it really is that is for the gateway to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A PEM that begins with a certificate.
    Certificate,
    /// A PEM that begins with a public key.
    PublicKey,
    /// A PEM that begins with a private key.
    PrivateKey,
    /// A JWKS.
    KeySet,
    /// Anything else.
    Other,
}

impl Form {
    fn of(value: &[u8]) -> Self {
        let text = value.trim_ascii();
        let Some(label) = text.strip_prefix(b"-----BEGIN ") else {
            return if is_key_set(text) {
                Self::KeySet
            } else {
                Self::Other
            };
        };
        let label = label.split(|byte| *byte == b'-').next().unwrap_or_default();
        match label {
            b"CERTIFICATE" => Self::Certificate,
            _ if label.ends_with(b"PUBLIC KEY") => Self::PublicKey,
            _ if label.ends_with(b"PRIVATE KEY") => Self::PrivateKey,
            _ => Self::Other,
        }
    }
}

fn is_key_set(text: &[u8]) -> bool {
    let parsed = serde_json::from_slice::<serde_json::Value>(text);
    parsed.is_ok_and(|set| set.get("keys").is_some_and(serde_json::Value::is_array))
}

impl fmt::Debug for KeyFact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.len)
    }
}

/// What a reconcile may know of one Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFacts {
    /// The controller that owns it.
    pub owner_uid: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its keys.
    pub keys: BTreeMap<String, KeyFact>,
    /// Whether Redis' own line carries the same password as the key that gateways read.
    pub redis_agrees: bool,
}

impl SecretFacts {
    /// Looks at a Secret.
    pub fn of(secret: &Secret) -> Self {
        let keys = secret.data.iter().flatten();
        Self {
            owner_uid: controller_uid(secret.metadata.owner_references.as_deref()),
            version: secret.metadata.resource_version.clone(),
            keys: keys
                .map(|(key, value)| (key.clone(), fact(&value.0)))
                .collect(),
            redis_agrees: redis_pair(secret).is_none(),
        }
    }

    /// A key that is there and not empty.
    pub fn usable(&self, key: &str) -> Option<&KeyFact> {
        self.keys.get(key).filter(|fact| fact.len > 0)
    }

    /// Whether the controller with this uid owns it.
    pub fn is_owned_by(&self, uid: &str) -> bool {
        self.owner_uid.as_deref() == Some(uid)
    }
}

/// Redis' two keys as they must be to agree, made from the password; `None` when they agree, or there is no password.
///
/// A trailing newline goes from the password as well: the probes' client would send it.
pub fn redis_pair(secret: &Secret) -> Option<BTreeMap<String, ByteString>> {
    let data = secret.data.as_ref()?;
    let there = &data.get(REDIS_PASSWORD)?.0;
    let password = trimmed(there);
    if password.is_empty() {
        return None;
    }
    let line = redis_line(password);
    let agrees = password.len() == there.len()
        && data.get(REDIS_AUTH).map(|auth| trimmed(&auth.0)) == Some(trimmed(line.as_bytes()));
    (!agrees).then(|| {
        [
            (REDIS_PASSWORD.to_owned(), ByteString(password.to_vec())),
            (REDIS_AUTH.to_owned(), ByteString(line.into_bytes())),
        ]
        .into()
    })
}

/// The password as a line of Redis' configuration; quoted where Redis would read something else than what is written.
pub fn redis_line(password: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut line = "requirepass ".to_owned();
    if password.iter().all(is_plain) {
        line.extend(password.iter().copied().map(char::from));
    } else {
        line.push('"');
        for byte in password {
            if is_plain(byte) {
                line.push(char::from(*byte));
            } else {
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
        line.push('"');
    }
    line.push('\n');
    line
}

/// The uid of the controller among an object's owners.
pub fn controller_uid(
    owners: Option<&[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]>,
) -> Option<String> {
    owners?
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.clone())
}

/// Looks at one value as the gateway reads it: a trailing newline does not count.
pub fn fact(value: &[u8]) -> KeyFact {
    let trimmed = trimmed(value);
    KeyFact {
        len: trimmed.len(),
        digest: Sha256::digest(trimmed).into(),
        form: Form::of(trimmed),
    }
}

fn trimmed(value: &[u8]) -> &[u8] {
    let trimmed = value.strip_suffix(b"\n").unwrap_or(value);
    trimmed.strip_suffix(b"\r").unwrap_or(trimmed)
}

/// Keys drawn for one reconcile, used where a generated Secret is not there yet.
///
/// They are drawn outside the pure part and handed in, so that building twice from the same input gives the same output.
#[derive(Clone)]
pub struct FreshKeys {
    /// For `jwt-key`.
    pub jwt: String,
    /// For `api-key`.
    pub api: String,
    /// For `redis-password`.
    pub redis: String,
    /// For `encryption-key`.
    pub encryption: String,
}

impl FreshKeys {
    /// Draws 256 bits each, and 512 for tokens by the longest hash, from the thread's CSPRNG, which the operating system seeds.
    pub fn draw() -> Self {
        let mut rng = rand::rng();
        let mut key = |len: usize| {
            let mut bytes = vec![0_u8; len];
            rng.fill_bytes(&mut bytes);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        Self {
            jwt: key(64),
            api: key(32),
            redis: key(32),
            encryption: key(32),
        }
    }
}

impl FreshKeys {
    /// What was drawn for a key of a generated Secret.
    pub fn get(&self, key: &str) -> Option<String> {
        match key {
            JWT_KEY => Some(self.jwt.clone()),
            API_KEY => Some(self.api.clone()),
            ENCRYPTION_KEY => Some(self.encryption.clone()),
            REDIS_PASSWORD => Some(self.redis.clone()),
            REDIS_AUTH => Some(redis_line(self.redis.as_bytes())),
            _ => None,
        }
    }
}

impl fmt::Debug for FreshKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FreshKeys(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_newline_is_no_part_of_a_key() {
        assert_eq!(fact(b"secret\n"), fact(b"secret"));
        assert_eq!(fact(b"\n").len, 0);
    }

    #[test]
    fn redis_line_carries_any_password_unchanged() {
        assert_eq!(redis_line(b"aZ9-_"), "requirepass aZ9-_\n");
        assert_eq!(
            redis_line(b"a \"#\xff"),
            "requirepass \"a\\x20\\x22\\x23\\xff\"\n"
        );
    }

    #[test]
    fn keys_are_never_drawn_twice_nor_printed() {
        let (one, two) = (FreshKeys::draw(), FreshKeys::draw());
        assert_ne!(one.jwt, two.jwt);
        assert_ne!(one.jwt, one.api);
        assert_eq!((one.jwt.len(), one.encryption.len()), (86, 43));
        assert!(!format!("{one:?}").contains(&one.jwt));
    }
}
