//! A Secret whose keys the operator draws: which keys it has, and what of them is to be made. Used by the plan of a resource,
//! and by `held` for the Secrets of what was realised last.

use std::collections::BTreeMap;

use crate::names::{REDIS_AUTH, REDIS_PASSWORD};
use crate::secrets::{FreshKeys, SecretFacts};

/// A Secret whose keys the operator draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: Vec<String>,
}

/// What of it has to be made: keys that are there are never overwritten.
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

impl Drawn {
    pub(super) fn new(name: String, keys: &[&str]) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Self { name, keys }
    }

    /// What of it has to be made. Keys that are there are kept whatever they hold.
    ///
    /// Redis' two carry one password: they are drawn together, or the line is made from the password that is there.
    pub fn lacking(
        &self,
        facts: Option<&SecretFacts>,
        fresh: &FreshKeys,
    ) -> Option<GeneratedSecret> {
        let is_missing = |key: &str| facts.and_then(|facts| facts.usable(key)).is_none();
        let is_redis = self.keys.iter().any(|key| key == REDIS_AUTH);
        let has_password = !is_missing(REDIS_PASSWORD);
        let is_drawn = |key: &str| {
            if is_redis {
                !has_password
            } else {
                is_missing(key)
            }
        };
        let missing: BTreeMap<String, String> = self
            .keys
            .iter()
            .filter(|key| is_drawn(key))
            .filter_map(|key| Some((key.clone(), fresh.get(key)?)))
            .collect();
        let disagrees = is_redis && has_password && facts.is_some_and(|facts| !facts.redis_agrees);
        (!missing.is_empty() || disagrees).then(|| GeneratedSecret {
            name: self.name.clone(),
            missing,
            exists: facts.is_some(),
            version: facts.and_then(|facts| facts.version.clone()),
            disagrees,
        })
    }
}
