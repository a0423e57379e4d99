//! `Sealer`: contents that leave the process for Redis are sealed, and only a node of this gateway can open them.
//!
//! AES-256-GCM under a key of its own per message: `HMAC-SHA256(key, salt)` with a fresh 128-bit salt, so that no number
//! of messages wears a key out (random nonces alone would allow 2^32 under one key, hours for a busy cluster). What is
//! sealed is bound to what it belongs to (the name of a log and of a message, say): moved elsewhere it cannot be opened.
//! Off, contents pass unchanged. Opening is always possible for what any of the keys sealed, and what was never sealed
//! passes too: a log written before sealing was switched on stays readable.
//!
//! | byte | holds |
//! |---|---|
//! | 0 | `0x01`, the version; no content of this service begins with it |
//! | 1–4 | which key: the first bytes of the key's HMAC over a fixed text |
//! | 5–20 | salt |
//! | 21–32 | nonce |
//! | 33– | ciphertext and tag |

use std::fmt;
use std::sync::Arc;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// What sealed content begins with.
const VERSION: u8 = 1;
const ID_LEN: usize = 4;
const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 12;
const KEY_LEN: usize = 32;
/// Before the ciphertext.
const HEAD_LEN: usize = 1 + ID_LEN + SALT_LEN + NONCE_LEN;

/// A key that cannot seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealKeyError {
    /// Not 32 bytes in any of the known forms.
    #[error(
        "expected 32 bytes in base64 (44 characters) or hexadecimal (64), found {0} characters"
    )]
    Form(usize),
}

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Cut off.
    #[error("the sealed content is too short")]
    Short,
    /// None of this node's keys sealed it.
    #[error("the content was sealed with a key that this node does not have")]
    UnknownKey,
    /// It was changed, or belongs elsewhere.
    #[error("the sealed content was changed, or belongs elsewhere")]
    Forged,
}

/// One key of 256 bits. Cannot be printed.
#[derive(Clone)]
pub struct SealKey {
    id: [u8; ID_LEN],
    mac: Hmac<Sha256>,
}

impl SealKey {
    /// Reads 32 bytes written in base64 or hexadecimal.
    pub fn parse(text: &str) -> Result<Self, SealKeyError> {
        let text = text.trim();
        let hex = || {
            let digits: Option<Vec<u8>> = text
                .chars()
                .map(|digit| {
                    digit
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok())
                })
                .collect();
            let bytes = digits?;
            let pairs = bytes.chunks_exact(2);
            Some(
                pairs
                    .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
                    .collect(),
            )
        };
        let bytes: Option<Vec<u8>> = match text.len() {
            64 => hex(),
            _ => [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
                .into_iter()
                .find_map(|alphabet| alphabet.decode(text).ok()),
        };
        let bytes = bytes.filter(|bytes| bytes.len() == KEY_LEN);
        let mac = bytes.and_then(|bytes| Hmac::<Sha256>::new_from_slice(&bytes).ok());
        let mac = mac.ok_or(SealKeyError::Form(text.chars().count()))?;
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&derive(&mac, b"wsc sealing key id")[..ID_LEN]);
        Ok(Self { id, mac })
    }

    /// The cipher of one message.
    fn cipher(&self, salt: &[u8]) -> Aes256Gcm {
        Aes256Gcm::new(&derive(&self.mac, salt).into())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SealKey(..)")
    }
}

fn derive(mac: &Hmac<Sha256>, text: &[u8]) -> [u8; KEY_LEN] {
    mac.clone()
        .chain_update(text)
        .finalize()
        .into_bytes()
        .into()
}

/// The keys of one moment.
#[derive(Clone, Debug, Default)]
pub struct SealKeys {
    /// Seals. `None`: sealing is off.
    pub current: Option<SealKey>,
    /// Open beside it: of the past, or of the future until every node has it.
    pub others: Vec<SealKey>,
}

impl SealKeys {
    fn find(&self, id: &[u8]) -> Option<&SealKey> {
        let mut all = self.current.iter().chain(&self.others);
        all.find(|key| key.id == *id)
    }
}

/// Seals and opens. Cheap to share; keys are swapped under it when their files change.
#[derive(Debug, Default)]
pub struct Sealer(ArcSwap<SealKeys>);

impl Sealer {
    /// With these keys.
    pub fn new(keys: SealKeys) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(keys)))
    }

    /// Seals nothing and opens only what is not sealed.
    pub fn off() -> Arc<Self> {
        Arc::default()
    }

    /// Whether contents are sealed.
    pub fn is_on(&self) -> bool {
        self.0.load().current.is_some()
    }

    /// Takes other keys from now on.
    pub fn replace(&self, keys: SealKeys) {
        self.0.store(Arc::new(keys));
    }

    /// Seals content that belongs to `owner`: names that say where it is kept and which one it is. Off: the content itself.
    pub fn seal(&self, owner: &[&[u8]], content: &Bytes) -> Bytes {
        let keys = self.0.load();
        let Some(key) = &keys.current else {
            return content.clone();
        };
        let salt: [u8; SALT_LEN] = rand::random();
        let nonce: [u8; NONCE_LEN] = rand::random();
        let payload = Payload {
            msg: content,
            aad: &associated(owner),
        };
        // Fails for more than 64 GiB only, and nothing is better than the content in clear: nobody can open nothing.
        let sealed = key.cipher(&salt).encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.unwrap_or_default();
        let mut out = Vec::with_capacity(HEAD_LEN + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&salt);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out.into()
    }

    /// Opens what was sealed for the same owner; what is not sealed passes.
    pub fn open(&self, owner: &[&[u8]], sealed: &Bytes) -> Result<Bytes, OpenError> {
        if sealed.first() != Some(&VERSION) {
            return Ok(sealed.clone());
        }
        let (head, text) = sealed.split_at_checked(HEAD_LEN).ok_or(OpenError::Short)?;
        let named = head.get(1..).unwrap_or_default();
        let (id, rest) = named.split_at_checked(ID_LEN).ok_or(OpenError::Short)?;
        let (salt, nonce) = rest.split_at(SALT_LEN);
        let keys = self.0.load();
        let key = keys.find(id).ok_or(OpenError::UnknownKey)?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| OpenError::Short)?;
        let payload = Payload {
            msg: text,
            aad: &associated(owner),
        };
        let opened = key.cipher(salt).decrypt(&Nonce::from(nonce), payload);
        opened.map(Bytes::from).map_err(|_| OpenError::Forged)
    }
}

/// Each part with its length before it, so that no two owners read the same.
fn associated(owner: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(owner.iter().map(|part| part.len() + 8).sum());
    for part in owner {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const NEW: &str = "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=";
    const CONTENT: Bytes = Bytes::from_static(br#"{"content":"hello"}"#);

    fn key(text: &str) -> SealKey {
        SealKey::parse(text).unwrap()
    }

    fn sealer(current: &str, others: &[&str]) -> Arc<Sealer> {
        Sealer::new(SealKeys {
            current: Some(key(current)),
            others: others.iter().map(|text| key(text)).collect(),
        })
    }

    #[test]
    fn what_is_sealed_can_be_opened_for_the_same_owner_only() {
        let sealer = sealer(OLD, &[]);
        let sealed = sealer.seal(&[b"inbox:bob", b"1-0"], &CONTENT);
        assert!(!sealed.windows(5).any(|bytes| bytes == b"hello"));
        assert_eq!(sealer.open(&[b"inbox:bob", b"1-0"], &sealed), Ok(CONTENT));
        for owner in [
            &[b"inbox:bob".as_slice(), b"1-1"][..],
            &[b"inbox:eve", b"1-0"],
            &[b"inbox:bob1-0"],
            &[b"inbox:bo", b"b1-0"],
            &[],
        ] {
            assert_eq!(sealer.open(owner, &sealed), Err(OpenError::Forged));
        }
    }

    #[test]
    fn any_changed_bit_and_any_cut_is_noticed() {
        let sealer = sealer(OLD, &[]);
        let sealed = sealer.seal(&[b"a"], &CONTENT);
        for at in 1..sealed.len() {
            let mut forged = sealed.to_vec();
            forged[at] ^= 1;
            assert!(sealer.open(&[b"a"], &forged.into()).is_err(), "byte {at}");
            assert!(
                sealer.open(&[b"a"], &sealed.slice(..at)).is_err(),
                "cut {at}"
            );
        }
    }

    #[test]
    fn the_same_content_never_looks_the_same_twice() {
        let sealer = sealer(OLD, &[]);
        let seal = || sealer.seal(&[b"a"], &CONTENT);
        assert_ne!(seal()[5..], seal()[5..]);
        assert_eq!(seal().len(), CONTENT.len() + 49);
    }

    #[test]
    fn keys_rotate_without_a_message_that_cannot_be_opened() {
        let (before, ready) = (sealer(OLD, &[]), sealer(OLD, &[NEW]));
        let after = sealer(NEW, &[OLD]);
        let old = before.seal(&[b"a"], &CONTENT);
        assert_eq!(after.open(&[b"a"], &old), Ok(CONTENT));
        let new = after.seal(&[b"a"], &CONTENT);
        assert_eq!(ready.open(&[b"a"], &new), Ok(CONTENT));
        assert_eq!(before.open(&[b"a"], &new), Err(OpenError::UnknownKey));
        before.replace(SealKeys {
            current: Some(key(NEW)),
            others: Vec::new(),
        });
        assert_eq!(before.open(&[b"a"], &new), Ok(CONTENT));
        assert_eq!(before.open(&[b"a"], &old), Err(OpenError::UnknownKey));
    }

    #[test]
    fn off_everything_passes_and_on_what_was_never_sealed_stays_readable() {
        let off = Sealer::off();
        assert!(!off.is_on());
        assert_eq!(off.seal(&[b"a"], &CONTENT), CONTENT);
        assert_eq!(off.open(&[b"a"], &CONTENT), Ok(CONTENT));
        let on = sealer(OLD, &[]);
        assert_eq!(on.open(&[b"a"], &CONTENT), Ok(CONTENT));
        let sealed = on.seal(&[b"a"], &CONTENT);
        assert_eq!(off.open(&[b"a"], &sealed), Err(OpenError::UnknownKey));
    }

    #[test]
    fn a_key_is_32_bytes_in_base64_or_hexadecimal_and_never_printed() {
        for good in [
            OLD,
            NEW,
            &NEW[..43],
            &NEW.replace('+', "-").replace('/', "_"),
        ] {
            assert!(SealKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "secret", &OLD[..62], &OLD.replace('0', "x"), &NEW[..40]] {
            assert_eq!(
                SealKey::parse(bad).unwrap_err(),
                SealKeyError::Form(bad.len())
            );
        }
        assert_eq!(format!("{:?}", key(OLD)), "SealKey(..)");
    }
}
