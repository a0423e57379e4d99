//! `HookPlan`: a hook's configuration made ready: its keys, its filters, its address. Two that are equal are one hook, which
//! a reload leaves alone. Nothing here can be printed.

use std::time::Duration;

use wsc_config::{GatewayConfig, HookConfig, HookPoint};

use crate::service::{Event, EventFilter, EventFilterError};
use crate::settings::Secrets;

/// What a key has at least.
const MIN_KEY: usize = 16;

/// See the module.
#[derive(Clone, PartialEq)]
pub struct HookPlan {
    config: HookConfig,
    filters: Vec<EventFilter>,
    url: String,
    keys: Vec<String>,
    ca: Option<String>,
    source: String,
}

/// Why a hook cannot be.
#[derive(Debug, thiserror::Error)]
pub enum HookPlanError {
    /// It asks for an event that there is not.
    #[error("hook {hook}: events")]
    Event {
        /// The hook.
        hook: String,
        /// Which.
        #[source]
        source: EventFilterError,
    },
    /// Its key is not there.
    #[error("hook {hook}: no {file} in the secrets directory")]
    NoKey {
        /// The hook.
        hook: String,
        /// The file.
        file: String,
    },
    /// Its key is too short.
    #[error("hook {hook}: {file} has {len} bytes, at least {MIN_KEY} are needed")]
    ShortKey {
        /// The hook.
        hook: String,
        /// The file.
        file: String,
        /// Its length.
        len: usize,
    },
    /// What its certificate is judged by is not there.
    #[error("hook {hook}: no {file} in the secrets directory")]
    NoAuthority {
        /// The hook.
        hook: String,
        /// The file.
        file: String,
    },
    /// Its certificate cannot be judged as configured.
    #[error("hook {hook}: tls: {why}")]
    Tls {
        /// The hook.
        hook: String,
        /// What is wrong.
        why: String,
    },
    /// Its target is no address.
    #[error("hook {hook}: target {url} is no address: {why}")]
    Target {
        /// The hook.
        hook: String,
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl HookPlan {
    /// The hooks of a configuration.
    pub fn all(config: &GatewayConfig, secrets: &Secrets) -> Result<Vec<Self>, HookPlanError> {
        let source = format!("/wsc/{}", config.gateway.name);
        let hooks = config.hooks.iter();
        hooks
            .map(|hook| Self::new(hook, secrets, &source))
            .collect()
    }

    fn new(config: &HookConfig, secrets: &Secrets, source: &str) -> Result<Self, HookPlanError> {
        let hook = config.name.clone();
        let filter = |name: &String| {
            EventFilter::parse(name).map_err(|source| HookPlanError::Event {
                hook: hook.clone(),
                source,
            })
        };
        let mut filters: Vec<EventFilter> =
            config.events.iter().map(filter).collect::<Result<_, _>>()?;
        for (point, name) in [
            (HookPoint::Sent, Event::SENT),
            (HookPoint::Disconnect, Event::DISCONNECTED),
        ] {
            if config.points.contains(&point) {
                filters.push(EventFilter::Name(name.to_owned()));
            }
        }
        Ok(Self {
            filters,
            url: config.to_url().unwrap_or_default(),
            keys: keys(config, secrets)?,
            ca: ca(config, secrets)?,
            source: source.to_owned(),
            config: config.clone(),
        })
    }

    /// That its target is no address.
    pub(super) fn no_target(&self, why: &dyn std::fmt::Display) -> HookPlanError {
        HookPlanError::Target {
            hook: self.name().to_owned(),
            url: self.url.clone(),
            why: why.to_string(),
        }
    }

    /// That its certificate cannot be judged.
    pub(super) fn no_tls(&self, why: &dyn std::fmt::Display) -> HookPlanError {
        HookPlanError::Tls {
            hook: self.name().to_owned(),
            why: why.to_string(),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What was configured.
    pub const fn config(&self) -> &HookConfig {
        &self.config
    }

    /// Where it is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What requests to it are signed with.
    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The certificates (PEM) that its own is judged by; `None`: those of the machine's authorities.
    pub(super) fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// The name that its certificate must carry; `None`: the target's own.
    pub(super) fn server_name(&self) -> Option<&str> {
        let name = self.config.tls.as_ref().map(|tls| tls.server_name.as_str());
        name.filter(|name| !name.is_empty())
    }

    /// What its events are said to come from.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is told of events of this name. Of each message that was sent only who says so.
    pub fn wants(&self, name: &str) -> bool {
        self.filters.iter().any(|filter| match filter {
            EventFilter::All => name != Event::SENT,
            EventFilter::Family(_) | EventFilter::Name(_) => filter.wants(name),
        })
    }

    /// Whether it is told of anything.
    pub(super) fn hears_any(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Whether it is told who comes and goes.
    pub(super) fn hears_presence(&self) -> bool {
        self.wants(Event::ONLINE) || self.wants(Event::OFFLINE)
    }

    /// The pause after so many attempts: a random part of one that doubles.
    pub(super) fn pause(&self, attempts: u32) -> Duration {
        let retry = &self.config.retry;
        let doubled = 1_u32
            .checked_shl(attempts.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let longest = retry.base_delay.get().saturating_mul(doubled);
        longest
            .min(retry.max_delay.get())
            .mul_f64(rand::random_range(0.5..1.0))
    }
}

/// What the hook's certificate is judged by. A file that the configuration names must be there, and another is passed over.
fn ca(config: &HookConfig, secrets: &Secrets) -> Result<Option<String>, HookPlanError> {
    let tls = config.tls.as_ref();
    if tls.and_then(|tls| tls.ca_secret_ref.as_ref()).is_none() {
        return Ok(None);
    }
    let (hook, file) = (config.name.clone(), format!("hook-ca-{}", config.name));
    let ca = secrets.hook_cas.get(&config.name).cloned();
    ca.map(Some)
        .ok_or(HookPlanError::NoAuthority { hook, file })
}

/// The keys whose files are there. One that the configuration names must be.
fn keys(config: &HookConfig, secrets: &Secrets) -> Result<Vec<String>, HookPlanError> {
    let second = format!("{}.second", config.name);
    let wanted = [
        (&config.name, config.signing_key_secret_ref.is_some()),
        (&second, config.second_signing_key_secret_ref.is_some()),
    ];
    let mut keys = Vec::new();
    for (name, is_named) in wanted {
        let (hook, file) = (config.name.clone(), format!("hook-key-{name}"));
        match secrets.hook_keys.get(name) {
            Some(key) if key.len() < MIN_KEY => {
                let len = key.len();
                return Err(HookPlanError::ShortKey { hook, file, len });
            }
            Some(key) => keys.push(key.clone()),
            None if is_named => return Err(HookPlanError::NoKey { hook, file }),
            None => {}
        }
    }
    Ok(keys)
}
