//! `KeySet`: the keys that tokens are judged by, each fit for the one algorithm that is configured.
//!
//! Pure: texts of secrets and documents go in. A key that does not fit is an error where one key was asked for, and is
//! passed over in a JWKS, which may hold keys for others too. No error carries any part of a key.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use serde::Deserialize;
use serde_json::Value;
use wsc_config::JwtAlgorithm;

use super::TokenError;

/// Keys a set may hold.
const MAX_KEYS: usize = 64;
/// Below it, RSA is refused by everyone (RFC 7518, 3.3).
const MIN_RSA_BYTES: usize = 2048 / 8;
/// Above it, a signature costs a shard milliseconds.
const MAX_RSA_BYTES: usize = 8192 / 8;
/// Names of files that are no `kid`.
const NAMELESS: [&str; 2] = ["next", "previous"];

/// A key that tokens cannot be judged by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Shorter than the algorithm needs.
    #[error("{name} has {bytes} bytes, {algorithm} needs at least {min} (RFC 7518 section 3.2)")]
    Short {
        /// Its file.
        name: String,
        /// Its length.
        bytes: usize,
        /// The configured algorithm.
        algorithm: JwtAlgorithm,
        /// The least length.
        min: usize,
    },
    /// A public key where a shared one is needed: everybody could sign.
    #[error("{name} is a PEM, {algorithm} needs a shared key")]
    NotShared {
        /// Its file.
        name: String,
        /// The configured algorithm.
        algorithm: JwtAlgorithm,
    },
    /// Not a key of the algorithm.
    #[error(
        "{name} is no PEM of a key for {algorithm} (RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519)"
    )]
    Unfit {
        /// Its file.
        name: String,
        /// The configured algorithm.
        algorithm: JwtAlgorithm,
    },
    /// A document that is no JWKS.
    #[error("{name} is no JWKS with at most {MAX_KEYS} keys (RFC 7517)")]
    NoSet {
        /// Its file or address.
        name: String,
    },
    /// A JWKS without a key of use.
    #[error("{name} holds no key for {algorithm}")]
    NoneFits {
        /// Its file or address.
        name: String,
        /// The configured algorithm.
        algorithm: JwtAlgorithm,
    },
}

/// Keys, and the one that signs if there is one.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<Named>,
    origin: Origin,
    signing: Option<EncodingKey>,
}

#[derive(Clone)]
struct Named {
    kid: Option<String>,
    key: DecodingKey,
}

/// What a `kid` means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Files: those without a name are tried for any token.
    Files,
    /// A JWKS: a token must name its key, unless there is only one.
    Set,
}

impl KeySet {
    /// One key, as the text of its secret.
    pub fn one(algorithm: JwtAlgorithm, text: &str) -> Result<Self, KeyError> {
        Self::files(algorithm, text, &BTreeMap::new())
    }

    /// The key, and others by name: `next` and `previous` are tried as well, any other name is the `kid` of its tokens.
    pub fn files(
        algorithm: JwtAlgorithm,
        current: &str,
        others: &BTreeMap<String, String>,
    ) -> Result<Self, KeyError> {
        let (key, signing) = pair(algorithm, "jwt-key", current)?;
        let mut keys = vec![Named { kid: None, key }];
        for (name, text) in others {
            let (key, _) = pair(algorithm, &format!("jwt-key-{name}"), text)?;
            let kid = (!NAMELESS.contains(&name.as_str())).then(|| name.clone());
            keys.push(Named { kid, key });
        }
        Ok(Self {
            keys,
            origin: Origin::Files,
            signing,
        })
    }

    /// The keys of a JWKS that fit. With none of them, no token is believed.
    pub fn jwks(algorithm: JwtAlgorithm, name: &str, json: &[u8]) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let no_set = || KeyError::NoSet {
            name: name.to_owned(),
        };
        let document: Document = serde_json::from_slice(json).map_err(|_| no_set())?;
        if document.keys.len() > MAX_KEYS {
            return Err(no_set());
        }
        // Each by itself: one of a kind that is not known here must not hide the others.
        let keys = document.keys.into_iter();
        let keys = keys.filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys = keys.filter(|key| is_for(algorithm, key)).filter_map(|jwk| {
            let key = decoding(algorithm, &jwk)?;
            let kid = jwk.common.key_id;
            Some(Named { kid, key })
        });
        Ok(Self {
            keys: keys.collect(),
            origin: Origin::Set,
            signing: None,
        })
    }

    /// The same, and an error when no key is of use.
    pub fn jwks_of_use(algorithm: JwtAlgorithm, name: &str, json: &[u8]) -> Result<Self, KeyError> {
        let set = Self::jwks(algorithm, name, json)?;
        if set.keys.is_empty() {
            let name = name.to_owned();
            return Err(KeyError::NoneFits { name, algorithm });
        }
        Ok(set)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that signs; a public key cannot.
    pub(super) const fn signing(&self) -> Option<&EncodingKey> {
        self.signing.as_ref()
    }

    /// The keys a token may be signed by, which names this one.
    pub(super) fn candidates(&self, kid: Option<&str>) -> Result<Vec<&DecodingKey>, TokenError> {
        let named = |wanted: Option<&str>| -> Vec<&DecodingKey> {
            let keys = self.keys.iter();
            let keys = keys.filter(|named| named.kid.as_deref() == wanted);
            keys.map(|named| &named.key).collect()
        };
        if let Some(kid) = kid {
            let found = named(Some(kid));
            if !found.is_empty() {
                return Ok(found);
            }
        }
        match (self.origin, kid, self.keys.as_slice()) {
            (Origin::Files, _, _) => Ok(named(None)),
            (Origin::Set, None, [only]) => Ok(vec![&only.key]),
            (Origin::Set, None, _) => Err(TokenError::NoKeyId),
            (Origin::Set, Some(_), _) => Err(TokenError::UnknownKey),
        }
    }
}

/// What the library calls the algorithm.
pub(super) const fn library(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Hs384 => Algorithm::HS384,
        JwtAlgorithm::Hs512 => Algorithm::HS512,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// What checks, and what signs if this can.
fn pair(
    algorithm: JwtAlgorithm,
    name: &str,
    text: &str,
) -> Result<(DecodingKey, Option<EncodingKey>), KeyError> {
    let name = name.to_owned();
    let is_pem = text.trim_start().starts_with("-----BEGIN ");
    if let Some(min) = algorithm.shared_key_bytes() {
        if is_pem {
            return Err(KeyError::NotShared { name, algorithm });
        }
        let bytes = text.len();
        if bytes < min {
            return Err(KeyError::Short {
                name,
                bytes,
                algorithm,
                min,
            });
        }
        let key = text.as_bytes();
        let signing = EncodingKey::from_secret(key);
        return Ok((DecodingKey::from_secret(key), Some(signing)));
    }
    asymmetric(algorithm, text).ok_or(KeyError::Unfit { name, algorithm })
}

/// A public key, or a private one, which can check as well.
fn asymmetric(algorithm: JwtAlgorithm, text: &str) -> Option<(DecodingKey, Option<EncodingKey>)> {
    let pem = text.trim();
    let kind = library(algorithm);
    let label = pem.strip_prefix("-----BEGIN ")?.split_once("-----")?.0;
    let (jwk, signing) = match label {
        "PRIVATE KEY" | "RSA PRIVATE KEY" => {
            let key = match kind.family() {
                AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(pem.as_bytes()),
                AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem.as_bytes()),
                AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem.as_bytes()),
                AlgorithmFamily::Hmac => return None,
            };
            let key = key.ok()?;
            (Jwk::from_encoding_key(&key, kind).ok()?, Some(key))
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {
            let key = match kind.family() {
                AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem.as_bytes()),
                AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem.as_bytes()),
                AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem.as_bytes()),
                AlgorithmFamily::Hmac => return None,
            };
            (Jwk::from_decoding_key(&key.ok()?, Some(kind)).ok()?, None)
        }
        _ => return None,
    };
    Some((decoding(algorithm, &jwk)?, signing))
}

/// Whether a key of a set says that tokens of this algorithm are checked with it, or at least nothing else.
fn is_for(algorithm: JwtAlgorithm, jwk: &Jwk) -> bool {
    let common = &jwk.common;
    let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let verifies = common
        .key_operations
        .as_ref()
        .is_none_or(|all| all.contains(&KeyOperations::Verify));
    let named = common
        .key_algorithm
        .is_none_or(|named| named == library(algorithm).into());
    signs && verifies && named
}

/// The key itself, if it is of the algorithm's kind and of a size that is fit.
fn decoding(algorithm: JwtAlgorithm, jwk: &Jwk) -> Option<DecodingKey> {
    let len = |text: &str| {
        URL_SAFE_NO_PAD
            .decode(text)
            .map_or(0, |bytes| significant(&bytes))
    };
    let fit = match (algorithm, &jwk.algorithm) {
        (
            JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512,
            AlgorithmParameters::OctetKey(key),
        ) => {
            let bytes = URL_SAFE_NO_PAD
                .decode(&key.value)
                .map_or(0, |key| key.len());
            Some(bytes) >= algorithm.shared_key_bytes()
        }
        (
            JwtAlgorithm::Rs256
            | JwtAlgorithm::Rs384
            | JwtAlgorithm::Rs512
            | JwtAlgorithm::Ps256
            | JwtAlgorithm::Ps384
            | JwtAlgorithm::Ps512,
            AlgorithmParameters::RSA(key),
        ) => {
            (MIN_RSA_BYTES..=MAX_RSA_BYTES).contains(&len(&key.n)) && (1..=8).contains(&len(&key.e))
        }
        (JwtAlgorithm::Es256, AlgorithmParameters::EllipticCurve(key)) => {
            key.curve == EllipticCurve::P256
        }
        (JwtAlgorithm::Es384, AlgorithmParameters::EllipticCurve(key)) => {
            key.curve == EllipticCurve::P384
        }
        (JwtAlgorithm::EdDsa, AlgorithmParameters::OctetKeyPair(key)) => {
            key.curve == EllipticCurve::Ed25519
        }
        _ => false,
    };
    fit.then(|| DecodingKey::from_jwk(jwk).ok()).flatten()
}

/// Bytes without leading zeros.
fn significant(bytes: &[u8]) -> usize {
    bytes.iter().skip_while(|byte| **byte == 0).count()
}
