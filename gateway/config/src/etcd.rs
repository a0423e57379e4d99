//! `EtcdConfig`: the etcd in which nodes register themselves when `nodeDiscovery` says so.
//!
//! Only leases and epochs are there; sessions, messages and logs stay in Redis. The password and the certificates are
//! referred to, never held.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SecretKeyRef;
use crate::check::join;
use crate::problems::Problems;
use crate::schema::{self, Rule};

/// `host:port`.
const ADDRESS: &str = concat!(
    r"^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])",
    schema::port!(),
    "$"
);

/// Conditions between keys; [`EtcdConfig::rules`] states the same.
const RULES: &[Rule] = &[Rule {
    cel: "(self.username != '') == has(self.passwordSecretRef)",
    message: "must be set together with passwordSecretRef",
    path: ".username",
}];

/// The etcd in which nodes register themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
pub struct EtcdConfig {
    /// The members of etcd, each `host:port`; one that fails is left for the next. Needed when `nodeDiscovery` is `etcd`.
    #[schemars(length(max = 16), inner(length(min = 3, max = 260), regex(pattern = ADDRESS)))]
    pub endpoints: Vec<String>,
    /// The user. Empty: etcd asks for none.
    #[schemars(length(max = 128), regex(pattern = r"^[^\s]*$"))]
    pub username: String,
    /// The Secret with the user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// Encryption on the way to etcd.
    pub tls: EtcdTlsConfig,
    /// What every key begins with.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9:_./-]+$"))]
    pub key_prefix: String,
}

impl EtcdConfig {
    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        if self.username.is_empty() == self.password_secret_ref.is_some() {
            problems.invalid(
                join(at, "username"),
                format!("must be set together with {at}.passwordSecretRef"),
            );
        }
        self.tls.rules(&join(at, "tls"), problems);
    }
}

impl Default for EtcdConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            username: String::new(),
            password_secret_ref: None,
            tls: EtcdTlsConfig::default(),
            key_prefix: "/wsc/".to_owned(),
        }
    }
}

/// Conditions between keys; [`EtcdTlsConfig::rules`] states the same.
const TLS_RULES: &[Rule] = &[Rule {
    cel: "has(self.certSecretRef) == has(self.keySecretRef)",
    message: "must be set together with keySecretRef",
    path: ".certSecretRef",
}];

/// Encryption on the way to etcd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(TLS_RULES))]
pub struct EtcdTlsConfig {
    /// Whether etcd is spoken to by TLS.
    pub enabled: bool,
    /// The Secret with the certificates that etcd's own is judged by. Absent: the public authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The Secret with the certificate that this node shows, for an etcd that asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretKeyRef>,
    /// The Secret with the key of that certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretKeyRef>,
    /// The name that etcd's certificate must carry. Empty: the host of each endpoint.
    #[schemars(length(max = 253), regex(pattern = r"^[A-Za-z0-9_.:-]*$"))]
    pub server_name: String,
}

impl EtcdTlsConfig {
    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        if self.cert_secret_ref.is_some() != self.key_secret_ref.is_some() {
            problems.invalid(
                join(at, "certSecretRef"),
                format!("must be set together with {at}.keySecretRef"),
            );
        }
    }
}
