//! `JwksKeeper`: keeps the set of public keys that `wsc.security.jwt.jwks.url` names.
//!
//! One task a gateway. It fetches at the start, every `refreshInterval`, and when a token names a key that is not known,
//! but never twice within `cooldown`. What cannot be fetched or read leaves the keys that are there; a key that is no longer
//! in the set is gone with it. It never judges a token: that is `security`.

mod fetch;

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wsc_config::{JwksConfig, JwtAlgorithm, JwtConfig};

pub use fetch::FetchError;
use fetch::Source;

use crate::security::{FetchedKeys, KeySet};
use crate::telemetry::{FetchOutcome, Instruments};

/// See the module.
pub struct JwksKeeper {
    algorithm: JwtAlgorithm,
    config: JwksConfig,
    source: Source,
    keys: Arc<FetchedKeys>,
}

impl JwksKeeper {
    /// A keeper of the keys at the configured address; `None`: keys are not fetched. `ca`: the certificates (PEM) that the
    /// server's own is judged by, instead of those of the public authorities.
    pub fn new(config: &JwtConfig, ca: Option<&str>) -> Result<Option<Self>, FetchError> {
        let jwks = &config.jwks;
        if jwks.url.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            algorithm: config.algorithm,
            config: jwks.clone(),
            source: Source::new(&jwks.url, ca)?,
            keys: FetchedKeys::new(jwks.cooldown.into(), jwks.timeout.into()),
        }))
    }

    /// The keys as they are known, now and later.
    pub fn keys(&self) -> Arc<FetchedKeys> {
        Arc::clone(&self.keys)
    }

    /// Fetches until cancelled.
    pub async fn run(self, instruments: Instruments, cancel: CancellationToken) {
        let mut told = None;
        loop {
            let fetched = tokio::select! {
                fetched = self.fetch() => fetched,
                () = cancel.cancelled() => return,
            };
            let outcome = match &fetched {
                Ok(_) => FetchOutcome::Ok,
                Err(_) => FetchOutcome::Failed,
            };
            instruments.keys_fetched(outcome);
            self.keys.store(fetched);
            self.tell(&mut told);
            tokio::select! {
                () = self.next() => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let document = tokio::time::timeout(self.config.timeout.into(), self.source.get()).await;
        let document = match document {
            Ok(Ok(document)) => document,
            Ok(Err(error)) => return Err(with_causes(&error)),
            Err(_) => return Err(format!("no answer within {}", self.config.timeout)),
        };
        let set = KeySet::jwks(self.algorithm, &self.config.url, &document);
        set.map_err(|error| error.to_string())
    }

    /// Waits for the next fetch: soon after one that failed, else when it is time or somebody asks.
    async fn next(&self) {
        let last = self.keys.last();
        let ended = last.ended.unwrap_or_else(Instant::now);
        let pause = if last.problem.is_some() {
            self.config.cooldown.min(self.config.refresh_interval)
        } else {
            self.config.refresh_interval
        };
        let regular = sleep_until(ended + pause.get());
        let asked = async {
            loop {
                self.keys.wanted().await;
                if self.keys.is_due() {
                    return;
                }
            }
        };
        tokio::select! {
            () = regular => {}
            () = asked => {}
        }
    }

    /// Logs what is new: the first trouble and its end, not each repetition.
    fn tell(&self, told: &mut Option<String>) {
        let (problem, url) = (self.keys.last().problem, &self.config.url);
        let count = self.keys.current().map_or(0, |keys| keys.len());
        match &problem {
            Some(why) if told.as_ref() != Some(why) => {
                tracing::warn!(%url, %why, keys = count, "the keys of tokens could not be fetched, those that are known stay");
            }
            None if count == 0 => {
                tracing::warn!(%url, "the set holds no key that fits: no token is believed");
            }
            None if told.is_some() => {
                tracing::info!(%url, keys = count, "the keys of tokens are fetched again");
            }
            Some(_) | None => tracing::debug!(%url, keys = count, "looked at the keys of tokens"),
        }
        *told = problem;
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
