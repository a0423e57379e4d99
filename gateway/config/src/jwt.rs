//! `JwtConfig`: which tokens are believed. The algorithm comes from here and never from a token.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closed::closed;
use crate::{Seconds, SecretKeyRef, schema};

closed! {
    /// The signature that tokens must carry.
    pub enum JwtAlgorithm {
        /// HMAC with SHA-256 and a shared key.
        Hs256 = "HS256",
    }
}

/// Which tokens are believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct JwtConfig {
    /// The signature that tokens must carry, whatever they say themselves: `HS256`.
    pub algorithm: JwtAlgorithm,
    /// The Secret with the key. Absent: the operator makes one; in a file, `jwt-key` of the secrets directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
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

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            algorithm: JwtAlgorithm::Hs256,
            secret_ref: None,
            issuer: None,
            audience: None,
            leeway: Seconds::from_secs(60),
        }
    }
}
