//! `Rules`: what admission goes by, resolved from the configuration.

use std::time::Duration;

use wsc_config::{ConnectionPolicy, SecurityConfig, WscConfig};

use super::{RateRules, SessionRules, Yields};

use crate::security::AddressPolicy;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Whose word is taken about addresses, and which are let in.
    pub addresses: AddressPolicy,
    /// When failed logins lock out; `None`: never.
    pub lockout: Option<LockoutRules>,
    /// How much may be sent; `None`: anything.
    pub rates: Option<RateRules>,
    /// How many sessions a user may have; `None`: any number.
    pub sessions: Option<SessionRules>,
    /// Connections of one address to this node; `None`: any number.
    pub connections_per_address: Option<u32>,
    /// Handshakes under way from one address; `None`: any number.
    pub handshakes_per_address: Option<u32>,
    /// The part of the memory, in percent, past which nobody is let in; `None`: memory is not looked at.
    pub memory_percent: Option<u32>,
}

/// When failed logins lock out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockoutRules {
    /// So many failures.
    pub attempts: u32,
    /// Within this time, and for this time.
    pub duration: Duration,
}

impl Rules {
    /// As configured.
    pub fn new(config: &WscConfig) -> Self {
        let security = &config.security;
        Self {
            addresses: AddressPolicy::new(security),
            lockout: (security.max_login_attempts > 0).then(|| LockoutRules {
                attempts: security.max_login_attempts,
                duration: security.login_lock_duration.into(),
            }),
            rates: rates(security),
            sessions: sessions(config),
            connections_per_address: some(security.max_connections_per_address),
            handshakes_per_address: some(security.max_handshakes_per_address),
            memory_percent: some(config.performance.max_memory_percent),
        }
    }
}

/// Zero means that there is no limit.
fn some(limit: u32) -> Option<u32> {
    (limit > 0).then_some(limit)
}

fn rates(security: &SecurityConfig) -> Option<RateRules> {
    let limit = &security.message_rate_limit;
    let bytes = limit.max_bytes.bytes();
    let session_bytes = limit.max_bytes_per_session.bytes();
    security.enable_rate_limit.then(|| RateRules {
        window: limit.window.into(),
        messages: limit.max_messages,
        bytes: (bytes > 0).then_some(bytes),
        per_address: some(limit.max_messages_per_address),
        session_messages: some(limit.max_messages_per_session),
        session_bytes: (session_bytes > 0).then_some(session_bytes),
        block: limit.block_duration.into(),
    })
}

fn sessions(config: &WscConfig) -> Option<SessionRules> {
    let limit = if config.allow_multi_login {
        some(config.max_connections_per_user)? as usize
    } else {
        1
    };
    let yields = match config.connection_policy {
        ConnectionPolicy::KickOld => Yields::Oldest,
        ConnectionPolicy::KickNew => Yields::Newest,
        ConnectionPolicy::AllowAll => return None,
    };
    Some(SessionRules { limit, yields })
}
