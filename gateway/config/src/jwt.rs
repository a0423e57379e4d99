//! `JwtConfig`: which tokens are believed. The algorithm comes from here and never from a token; so do the keys.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::join;
use crate::closed::closed;
use crate::problems::Problems;
use crate::schema::{self, Rule};
use crate::{JwksConfig, Seconds, SecretKeyRef};

closed! {
    /// The signature that tokens must carry.
    pub enum JwtAlgorithm {
        /// HMAC with SHA-256 and a shared key.
        Hs256 = "HS256",
        /// HMAC with SHA-384 and a shared key.
        Hs384 = "HS384",
        /// HMAC with SHA-512 and a shared key.
        Hs512 = "HS512",
        /// RSA (PKCS #1 v1.5) with SHA-256.
        Rs256 = "RS256",
        /// RSA (PKCS #1 v1.5) with SHA-384.
        Rs384 = "RS384",
        /// RSA (PKCS #1 v1.5) with SHA-512.
        Rs512 = "RS512",
        /// RSA-PSS with SHA-256.
        Ps256 = "PS256",
        /// RSA-PSS with SHA-384.
        Ps384 = "PS384",
        /// RSA-PSS with SHA-512.
        Ps512 = "PS512",
        /// ECDSA on P-256.
        Es256 = "ES256",
        /// ECDSA on P-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

impl JwtAlgorithm {
    /// The least length of a shared key (RFC 7518, 3.2: that of the hash); `None`: the keys are public ones.
    pub const fn shared_key_bytes(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            Self::Rs256
            | Self::Rs384
            | Self::Rs512
            | Self::Ps256
            | Self::Ps384
            | Self::Ps512
            | Self::Es256
            | Self::Es384
            | Self::EdDsa => None,
        }
    }
}

/// Conditions between keys; [`JwtConfig::rules`] states the same.
const RULES: &[Rule] = &[
    Rule {
        cel: "!has(self.secretRef) || (self.jwks.url == '' && !has(self.jwks.secretRef))",
        message: "cannot be set together with jwks: keys come from one place",
        path: ".secretRef",
    },
    Rule {
        cel: "self.jwks.url == '' || !self.algorithm.startsWith('HS')",
        message: "must be empty with a shared key: what is fetched is public",
        path: ".jwks.url",
    },
];

/// Which tokens are believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
pub struct JwtConfig {
    /// The signature that tokens must carry, whatever they say themselves: `HS256`, `HS384`, `HS512` (a shared key),
    /// `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384` or `EdDSA` (a public key).
    pub algorithm: JwtAlgorithm,
    /// The Secret with the key: a shared key as it is, a public key as PEM. Beside the key named, its `-next` and
    /// `-previous` are taken too. Absent, and without `jwks`: the operator makes a shared key; in a file, `jwt-key` of the
    /// secrets directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// A set of keys (JWKS), instead of `secretRef`.
    pub jwks: JwksConfig,
    /// What `iss` must be. Absent: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub issuer: Option<String>,
    /// What `aud` must contain. Absent: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub audience: Option<String>,
    /// By how much clocks may differ when `exp`, `nbf` and `iat` are judged.
    #[schemars(transform = schema::between("0s", "10m"))]
    pub leeway: Seconds,
}

impl JwtConfig {
    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        if self.secret_ref.is_some() && self.jwks.is_configured() {
            let why = format!("cannot be set together with {at}.jwks: keys come from one place");
            problems.invalid(join(at, "secretRef"), why);
        }
        if !self.jwks.url.is_empty() && self.algorithm.shared_key_bytes().is_some() {
            let why = format!(
                "must be empty with {}, a shared key: what is fetched is public",
                self.algorithm
            );
            problems.invalid(join(at, "jwks.url"), why);
        }
        self.jwks.rules(&join(at, "jwks"), problems);
    }
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            algorithm: JwtAlgorithm::Hs256,
            secret_ref: None,
            jwks: JwksConfig::default(),
            issuer: None,
            audience: None,
            leeway: Seconds::from_secs(60),
        }
    }
}
