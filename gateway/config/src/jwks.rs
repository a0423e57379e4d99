//! `JwksConfig`: where a set of public keys comes from, and how often it is looked at.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::join;
use crate::problems::Problems;
use crate::schema::{self, Rule};
use crate::{Seconds, SecretKeyRef};

/// An address without a password, a query or a fragment: it shows in logs.
const URL: &str = r"^(https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~%/-]*)?)?$";

/// Conditions between keys; [`JwksConfig::rules`] states the same.
const RULES: &[Rule] = &[
    Rule {
        cel: "self.url == '' || !has(self.secretRef)",
        message: "cannot be set together with url: keys come from one place",
        path: ".secretRef",
    },
    Rule {
        cel: "self.allowHttp || !self.url.startsWith('http://')",
        message: "must begin with https:// unless allowHttp is set: whoever is in between could hand out keys",
        path: ".url",
    },
];

/// A set of keys (RFC 7517).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
pub struct JwksConfig {
    /// Where the set is fetched from. Empty: it is not fetched. The last set that was read stays when there is no answer.
    #[schemars(length(max = 1024), regex(pattern = URL))]
    pub url: String,
    /// The Secret with the set, instead of `url`; in a file, `jwt-jwks` of the secrets directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// The Secret with the certificates that the server's own is judged by. Absent: the public authorities; in a file,
    /// `jwt-jwks-ca` of the secrets directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// How often the set is fetched. A key that is no longer in it stops working then.
    #[schemars(transform = schema::between("1s", "24h"))]
    pub refresh_interval: Seconds,
    /// The least time between two fetches, however many tokens name a key that is not known.
    #[schemars(transform = schema::between("1s", "1h"))]
    pub cooldown: Seconds,
    /// How long a fetch may take.
    #[schemars(transform = schema::between("100ms", "1m"))]
    pub timeout: Seconds,
    /// Whether `url` may be `http`, where whoever is in between can hand out keys of their own.
    pub allow_http: bool,
}

impl JwksConfig {
    /// Whether keys come from a set.
    pub fn is_configured(&self) -> bool {
        !self.url.is_empty() || self.secret_ref.is_some()
    }

    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        if !self.url.is_empty() && self.secret_ref.is_some() {
            let why = format!("cannot be set together with {at}.url: keys come from one place");
            problems.invalid(join(at, "secretRef"), why);
        }
        if self.url.starts_with("http://") && !self.allow_http {
            let why = format!(
                "must begin with https:// unless {at}.allowHttp is set, is `{}`",
                self.url
            );
            problems.invalid(join(at, "url"), why);
        }
    }
}

impl Default for JwksConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            secret_ref: None,
            ca_secret_ref: None,
            refresh_interval: Seconds::from_secs(600),
            cooldown: Seconds::from_secs(30),
            timeout: Seconds::from_secs(5),
            allow_http: false,
        }
    }
}
