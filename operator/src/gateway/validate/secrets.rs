//! Where each key comes from, which Secrets must be made, and one digest over all keys.

use std::collections::BTreeMap;

use wsc_config::SecretKeyRef;

use super::{RedisMode, Rejection};
use crate::gateway::dereference::Dereferenced;
use crate::names::{API_KEY, JWT_KEY, REDIS_AUTH, REDIS_CA, REDIS_PASSWORD};
use crate::secrets::{SecretFacts, fact, redis_line};

/// RFC 7518, 3.2: an HS256 key is at least as long as the hash.
const MIN_JWT_KEY: usize = 32;
/// What the gateway takes as an API key, at least.
const MIN_API_KEY: usize = 16;

/// One key of one Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
}

/// A Secret with keys drawn by the operator: made once, never overwritten.
#[derive(Clone, PartialEq, Eq)]
pub struct GeneratedSecret {
    /// Its name.
    pub name: String,
    /// The keys that are not there yet.
    pub missing: BTreeMap<String, String>,
    /// Whether the Secret itself is there.
    pub exists: bool,
    /// Which version of it lacks them.
    pub version: Option<String>,
    /// Whether Redis' line has to be made from the password, since the two do not agree.
    pub disagrees: bool,
}

impl std::fmt::Debug for GeneratedSecret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&String> = self.missing.keys().collect();
        write!(out, "GeneratedSecret({}, {keys:?})", self.name)
    }
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPlan {
    /// The key of tokens.
    pub jwt: KeySource,
    /// The key of the HTTP and gRPC APIs.
    pub api: KeySource,
    /// Redis' password, if it has one.
    pub redis: Option<KeySource>,
    /// What Redis' certificate is judged by, if not by the public authorities.
    pub redis_ca: Option<KeySource>,
    /// Secrets to make or to complete.
    pub generate: Vec<GeneratedSecret>,
    /// Changes when any key does. The JWT key is always part of what is hashed, so that nobody can find a weak password
    /// by trying until the published digest fits.
    pub digest: String,
    /// Changes when the managed Redis' own password does; it is drawn, so its digest tells nothing.
    pub redis_digest: Option<String>,
}

pub(super) fn plan(input: &Dereferenced) -> Result<SecretPlan, Rejection> {
    let mut planner = Planner {
        input,
        generate: Vec::new(),
        parts: Vec::new(),
    };
    let wsc = &input.gateway.spec.wsc;
    let (auth, redis_name) = (input.names.auth(), input.names.redis());
    let fresh = &input.fresh;
    // Not when both are given: a user's own Secret may then have this very name.
    if wsc.security.jwt.secret_ref.is_none() || wsc.security.api_key_secret_ref.is_none() {
        // Both keys, so that a reference given later and taken back finds the old key again.
        planner.generate(
            &auth,
            &[(JWT_KEY, fresh.jwt.clone()), (API_KEY, fresh.api.clone())],
        )?;
    }
    let jwt = planner.key(&Wanted {
        path: "spec.wsc.security.jwt.secretRef",
        reference: wsc.security.jwt.secret_ref.as_ref(),
        generated: (&auth, JWT_KEY),
        min: MIN_JWT_KEY,
    })?;
    let api = planner.key(&Wanted {
        path: "spec.wsc.security.apiKeySecretRef",
        reference: wsc.security.api_key_secret_ref.as_ref(),
        generated: (&auth, API_KEY),
        min: MIN_API_KEY,
    })?;
    let redis_wanted = Wanted {
        path: "spec.wsc.redis.passwordSecretRef",
        reference: wsc.redis.password_secret_ref.as_ref(),
        generated: (&redis_name, REDIS_PASSWORD),
        min: 1,
    };
    let redis = match (RedisMode::of(wsc), &wsc.redis.password_secret_ref) {
        (RedisMode::None, _) | (RedisMode::External, None) => None,
        (RedisMode::External, Some(_)) => Some(planner.key(&redis_wanted)?),
        (RedisMode::Managed, _) => {
            let line = redis_line(fresh.redis.as_bytes());
            planner.generate(
                &redis_name,
                &[(REDIS_PASSWORD, fresh.redis.clone()), (REDIS_AUTH, line)],
            )?;
            Some(planner.key(&Wanted {
                reference: None,
                ..redis_wanted
            })?)
        }
    };
    let redis_digest = (RedisMode::of(wsc) == RedisMode::Managed)
        .then(|| planner.parts.last())
        .flatten()
        .map(|part| crate::digest::of_parts([part.as_slice()]));
    let redis_ca = match &wsc.redis.tls.ca_secret_ref {
        Some(reference) if wsc.redis.tls.enabled => Some(planner.key(&Wanted {
            path: "spec.wsc.redis.tls.caSecretRef",
            reference: Some(reference),
            generated: (&reference.name, REDIS_CA),
            min: 1,
        })?),
        Some(_) | None => None,
    };
    Ok(SecretPlan {
        jwt,
        api,
        redis,
        redis_ca,
        redis_digest,
        digest: crate::digest::of_parts(planner.parts.iter().map(<[u8; 32]>::as_slice)),
        generate: planner.generate,
    })
}

/// One key that the gateway needs.
struct Wanted<'a> {
    path: &'static str,
    reference: Option<&'a SecretKeyRef>,
    generated: (&'a str, &'static str),
    min: usize,
}

struct Planner<'a> {
    input: &'a Dereferenced,
    generate: Vec<GeneratedSecret>,
    parts: Vec<[u8; 32]>,
}

impl Planner<'_> {
    /// Plans a Secret with drawn keys. Keys that are there are kept whatever they hold.
    ///
    /// Redis' two carry one password: they are drawn together, or the line is made from the password that is there.
    fn generate(&mut self, name: &str, keys: &[(&str, String)]) -> Result<(), Rejection> {
        let facts = self.input.secrets.get(name);
        if let Some(facts) = facts
            && facts.owner_uid.as_deref() != Some(self.input.owner.uid.as_str())
        {
            return Err(Rejection::NameTaken {
                object: format!("Secret/{name}"),
            });
        }
        let is_missing = |key: &str| usable(facts, key).is_none();
        let is_redis = keys.iter().any(|(key, _)| *key == REDIS_AUTH);
        let has_password = !is_missing(REDIS_PASSWORD);
        let missing: BTreeMap<String, String> = keys
            .iter()
            .filter(|(key, _)| {
                if is_redis {
                    !has_password
                } else {
                    is_missing(key)
                }
            })
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        let disagrees = is_redis && has_password && facts.is_some_and(|facts| !facts.redis_agrees);
        if !missing.is_empty() || disagrees {
            self.generate.push(GeneratedSecret {
                name: name.to_owned(),
                missing,
                exists: facts.is_some(),
                version: facts.and_then(|facts| facts.version.clone()),
                disagrees,
            });
        }
        Ok(())
    }

    /// Finds a key, among those referred to or those just planned.
    fn key(&mut self, wanted: &Wanted<'_>) -> Result<KeySource, Rejection> {
        let Wanted {
            path,
            reference,
            generated,
            min,
        } = *wanted;
        let (name, key) =
            reference.map_or(generated, |given| (given.name.as_str(), given.key.as_str()));
        let drawn = self
            .generate
            .iter()
            .find(|secret| secret.name == name)
            .and_then(|secret| secret.missing.get(key))
            .map(|value| fact(value.as_bytes()));
        let found = match drawn {
            Some(fact) => fact,
            None => self.existing(path, name, key)?,
        };
        if found.len < min {
            return Err(Rejection::SecretKeyTooShort {
                path,
                name: name.to_owned(),
                key: key.to_owned(),
                len: found.len,
                min,
            });
        }
        self.parts.push(found.digest);
        Ok(KeySource {
            secret: name.to_owned(),
            key: key.to_owned(),
        })
    }

    fn existing(
        &self,
        path: &'static str,
        name: &str,
        key: &str,
    ) -> Result<crate::secrets::KeyFact, Rejection> {
        let facts = self
            .input
            .secrets
            .get(name)
            .ok_or_else(|| Rejection::SecretMissing {
                path,
                name: name.to_owned(),
            })?;
        facts
            .keys
            .get(key)
            .cloned()
            .ok_or_else(|| Rejection::SecretKeyMissing {
                path,
                name: name.to_owned(),
                key: key.to_owned(),
            })
    }
}

/// A key that is there and not empty.
fn usable<'a>(facts: Option<&'a SecretFacts>, key: &str) -> Option<&'a crate::secrets::KeyFact> {
    facts?.keys.get(key).filter(|fact| fact.len > 0)
}
