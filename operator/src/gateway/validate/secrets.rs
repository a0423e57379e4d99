//! Where each key comes from, what it must be, which Secrets must be made, and one digest over what a running gateway
//! cannot take over.

mod drawn;
mod further;
mod hooks;

use wsc_config::{SecretKeyRef, WscConfig};

use super::fit::{Fit, Unfit};
use super::{RedisMode, Rejection};
use crate::gateway::dereference::Dereferenced;
use crate::names::{
    API_KEY, ENCRYPTION_KEY, JWT_JWKS, JWT_JWKS_CA, JWT_KEY, REDIS_AUTH, REDIS_CA, REDIS_PASSWORD,
    ROTATION,
};
use crate::secrets::{KeyFact, fact};

pub use drawn::{Drawn, GeneratedSecret};

/// 32 bytes in base64 without padding; in hexadecimal there are 64 digits.
const MIN_ENCRYPTION_KEY: usize = 43;
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

/// A key that a gateway pod gets as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where it is.
    pub source: KeySource,
    /// What the file is called.
    pub file: String,
    /// Whether keys of the same name with `-next` and `-previous` behind it are files as well, if they are there.
    pub rotates: bool,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPlan {
    /// What a gateway pod gets.
    pub mounted: Vec<Mounted>,
    /// Redis' password, if it has one.
    pub redis: Option<KeySource>,
    /// The Secrets whose keys the operator draws.
    pub drawn: Vec<Drawn>,
    /// Those of them to make or to complete.
    pub generate: Vec<GeneratedSecret>,
    /// Why the pods have to wait for a Secret that the operator has somebody else make.
    pub awaited: Option<Rejection>,
    /// Changes when a key does that a running gateway cannot take over. Nothing a person may have thought of is in it, so
    /// that nobody can find it by trying until the published digest fits.
    pub digest: String,
}

pub(super) fn plan(input: &Dereferenced) -> Result<SecretPlan, Rejection> {
    let mut planner = Planner {
        input,
        drawn: Vec::new(),
        generate: Vec::new(),
        mounted: Vec::new(),
        parts: Vec::new(),
        awaited: None,
    };
    planner.generate_auth()?;
    planner.tokens()?;
    planner.api()?;
    planner.encryption()?;
    let redis = planner.redis()?;
    planner.listeners()?;
    planner.further()?;
    planner.hooks()?;
    Ok(SecretPlan {
        mounted: planner.mounted,
        redis,
        digest: crate::digest::of_parts(planner.parts.iter().map(Vec::as_slice)),
        drawn: planner.drawn,
        generate: planner.generate,
        awaited: planner.awaited,
    })
}

/// One key that the gateway needs.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    path: &'static str,
    source: (&'a str, &'a str),
    fit: Fit,
}

struct Planner<'a> {
    input: &'a Dereferenced,
    drawn: Vec<Drawn>,
    generate: Vec<GeneratedSecret>,
    mounted: Vec<Mounted>,
    /// What a change of needs a new process.
    parts: Vec<Vec<u8>>,
    awaited: Option<Rejection>,
}

impl<'a> Planner<'a> {
    fn wsc(&self) -> &'a WscConfig {
        &self.input.gateway.spec.wsc
    }

    /// Plans the Secret with drawn keys. Not when all are given: a user's own Secret may then have this very name.
    fn generate_auth(&mut self) -> Result<(), Rejection> {
        let security = &self.wsc().security;
        let jwt = &security.jwt;
        let draws_jwt = jwt.secret_ref.is_none()
            && !jwt.jwks.is_configured()
            && jwt.algorithm.shared_key_bytes().is_some();
        let draws_seal = security.enable_encryption && security.encryption_key_secret_ref.is_none();
        if !draws_jwt && !draws_seal && security.api_key_secret_ref.is_some() {
            return Ok(());
        }
        // Both keys, so that a reference given later and taken back finds the old key again.
        let mut keys = vec![JWT_KEY, API_KEY];
        if draws_seal {
            keys.push(ENCRYPTION_KEY);
        }
        self.generate(Drawn::new(self.input.names.auth(), &keys))
    }

    /// The keys of tokens: a key, a set, or the authority of who publishes one.
    fn tokens(&mut self) -> Result<(), Rejection> {
        let jwt = &self.wsc().security.jwt;
        let auth = self.input.names.auth();
        if !jwt.jwks.url.is_empty() {
            let Some(reference) = &jwt.jwks.ca_secret_ref else {
                return Ok(());
            };
            let ca = self.key(&Wanted {
                path: "spec.wsc.security.jwt.jwks.caSecretRef",
                source: named(reference),
                fit: Fit::Certificates,
            })?;
            self.mount_once(ca, JWT_JWKS_CA);
            return Ok(());
        }
        if let Some(reference) = &jwt.jwks.secret_ref {
            let set = self.key(&Wanted {
                path: "spec.wsc.security.jwt.jwks.secretRef",
                source: named(reference),
                fit: Fit::Set,
            })?;
            self.mount(set, JWT_JWKS, false);
            return Ok(());
        }
        let source = match (&jwt.secret_ref, jwt.algorithm.shared_key_bytes()) {
            (Some(reference), _) => named(reference),
            (None, Some(_)) => (auth.as_str(), JWT_KEY),
            // Without authentication nobody needs a key, and with it the API server has refused this.
            (None, None) => return Ok(()),
        };
        let shared = jwt.algorithm.shared_key_bytes();
        self.rotating(
            &Wanted {
                path: "spec.wsc.security.jwt.secretRef",
                source,
                fit: shared.map_or(Fit::Key, Fit::Shared),
            },
            JWT_KEY,
        )
    }

    fn api(&mut self) -> Result<(), Rejection> {
        let auth = self.input.names.auth();
        let reference = self.wsc().security.api_key_secret_ref.as_ref();
        self.rotating(
            &Wanted {
                path: "spec.wsc.security.apiKeySecretRef",
                source: reference.map_or((&auth, API_KEY), named),
                fit: Fit::Shared(MIN_API_KEY),
            },
            API_KEY,
        )
    }

    fn encryption(&mut self) -> Result<(), Rejection> {
        let security = &self.wsc().security;
        let auth = self.input.names.auth();
        let reference = security.encryption_key_secret_ref.as_ref();
        if !security.enable_encryption && reference.is_none() {
            return Ok(());
        }
        self.rotating(
            &Wanted {
                path: "spec.wsc.security.encryptionKeySecretRef",
                source: reference.map_or((&auth, ENCRYPTION_KEY), named),
                fit: Fit::Shared(MIN_ENCRYPTION_KEY),
            },
            ENCRYPTION_KEY,
        )
    }

    /// Redis' password and what its certificate is judged by. The one a running gateway takes over, the other not.
    fn redis(&mut self) -> Result<Option<KeySource>, Rejection> {
        let (wsc, name) = (self.wsc(), self.input.names.redis());
        let path = "spec.wsc.redis.passwordSecretRef";
        let fit = Fit::Shared(1);
        let password = match (RedisMode::of(wsc), &wsc.redis.password_secret_ref) {
            (RedisMode::None, _) | (RedisMode::External, None) => None,
            (RedisMode::External, Some(reference)) => {
                let source = named(reference);
                Some(self.key(&Wanted { path, source, fit })?)
            }
            (RedisMode::Managed, _) => {
                self.generate(Drawn::new(name.clone(), &[REDIS_PASSWORD, REDIS_AUTH]))?;
                let source = (name.as_str(), REDIS_PASSWORD);
                Some(self.key(&Wanted { path, source, fit })?)
            }
        };
        if let Some(key) = &password {
            self.mount(key.clone(), REDIS_PASSWORD, false);
        }
        if let Some(reference) = &wsc.redis.tls.ca_secret_ref
            && wsc.redis.tls.enabled
        {
            let ca = self.key(&Wanted {
                path: "spec.wsc.redis.tls.caSecretRef",
                source: named(reference),
                fit: Fit::Certificates,
            })?;
            self.mount_once(ca, REDIS_CA);
        }
        Ok(password)
    }

    /// Certificates and keys of the listeners that speak TLS. What an issuer has not delivered is awaited.
    fn listeners(&mut self) -> Result<(), Rejection> {
        let input = self.input;
        for (listener, path, tls) in input.gateway.spec.listeners.tls() {
            let name = tls.secret_name.as_str();
            for (key, fit) in [("tls.crt", Fit::Certificates), ("tls.key", Fit::Private)] {
                let source = (name, key);
                match self.key(&Wanted { path, source, fit }) {
                    Ok(found) => self.mount(found, &format!("{listener}-{key}"), false),
                    Err(_) if tls.issuer_ref.is_some() => {
                        let name = name.to_owned();
                        self.awaited
                            .get_or_insert(Rejection::CertificatePending { path, name });
                    }
                    Err(rejection) => return Err(rejection),
                }
            }
        }
        Ok(())
    }

    fn mount(&mut self, source: KeySource, file: &str, rotates: bool) {
        let file = file.to_owned();
        self.mounted.push(Mounted {
            source,
            file,
            rotates,
        });
    }

    /// The same for what is public and read once, when the process starts.
    fn mount_once(&mut self, source: KeySource, file: &str) {
        let facts = self.input.secrets.get(&source.secret);
        let digest = facts.and_then(|facts| Some(facts.keys.get(&source.key)?.digest));
        self.parts.push(digest.map(Vec::from).unwrap_or_default());
        self.mount(source, file, false);
    }

    /// A key, and what is beside it while it is being replaced.
    fn rotating(&mut self, wanted: &Wanted<'_>, file: &str) -> Result<(), Rejection> {
        let source = self.key(wanted)?;
        for suffix in ROTATION {
            let beside = format!("{}{suffix}", wanted.source.1);
            let facts = self.input.secrets.get(wanted.source.0);
            if facts.is_some_and(|facts| facts.usable(&beside).is_some()) {
                self.key(&Wanted {
                    source: (wanted.source.0, &beside),
                    ..*wanted
                })?;
            }
        }
        self.mount(source, file, true);
        Ok(())
    }

    /// Plans a Secret with drawn keys.
    fn generate(&mut self, drawn: Drawn) -> Result<(), Rejection> {
        let facts = self.input.secrets.get(&drawn.name);
        if facts.is_some_and(|facts| !facts.is_owned_by(&self.input.owner.uid)) {
            return Err(Rejection::NameTaken {
                object: format!("Secret/{}", drawn.name),
            });
        }
        self.generate
            .extend(drawn.lacking(facts, &self.input.fresh));
        self.drawn.push(drawn);
        Ok(())
    }

    /// Finds a key, among those referred to or those just planned, and judges it.
    fn key(&self, wanted: &Wanted<'_>) -> Result<KeySource, Rejection> {
        let (path, (name, key)) = (wanted.path, wanted.source);
        let found = self.found(wanted, key)?;
        let (name, key) = (name.to_owned(), key.to_owned());
        match wanted.fit.judge(&found) {
            None => Ok(KeySource { secret: name, key }),
            Some(Unfit::Short(min)) => Err(Rejection::SecretKeyTooShort {
                path,
                name,
                key,
                len: found.len,
                min,
            }),
            Some(Unfit::Form(wanted)) => Err(Rejection::SecretKeyUnfit {
                path,
                name,
                key,
                wanted,
            }),
        }
    }

    fn found(&self, wanted: &Wanted<'_>, key: &str) -> Result<KeyFact, Rejection> {
        let (path, name) = (wanted.path, wanted.source.0);
        let planned = self.generate.iter().find(|secret| secret.name == name);
        if let Some(value) = planned.and_then(|secret| secret.missing.get(key)) {
            return Ok(fact(value.as_bytes()));
        }
        let facts = self.input.secrets.get(name);
        let facts = facts.ok_or_else(|| Rejection::SecretMissing {
            path,
            name: name.to_owned(),
        })?;
        let found = facts.keys.get(key).cloned();
        found.ok_or_else(|| Rejection::SecretKeyMissing {
            path,
            name: name.to_owned(),
            key: key.to_owned(),
        })
    }
}

fn named(reference: &SecretKeyRef) -> (&str, &str) {
    (&reference.name, &reference.key)
}
