//! `Policy`: what the configuration says about tickets beyond the rules of the desk.

use std::time::Duration;

use wsc_config::{Acceptance, WscConfig};

use super::{Manual, Rules};
use crate::delivery::AckRules;
use crate::protocol::Start;
use crate::settings::ticket_acks;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Whether there are tickets.
    pub enabled: bool,
    /// Whether what is said in them is stored.
    pub stores: bool,
    /// How messages are repeated until they are acknowledged; `None`: they are not.
    pub acks: Option<AckRules>,
    /// How long messages are kept for who is away; `None`: they are not.
    pub offline: Option<Duration>,
}

impl Policy {
    /// Where a session begins that meets a ticket's log for the first time; `told`: what it is told.
    pub const fn start(&self, told: Start) -> Start {
        match self.offline {
            Some(_) => Start::Beginning,
            None => told,
        }
    }
}

impl From<&WscConfig> for Policy {
    fn from(config: &WscConfig) -> Self {
        let ticket = &config.ticket;
        let stores = config.delivery.acceptance != Acceptance::None;
        let expire = ticket.offline_message_expire.into();
        Self {
            enabled: ticket.enabled,
            stores,
            acks: ticket_acks(ticket).filter(|_| stores),
            offline: (stores && ticket.enable_offline_message).then_some(expire),
        }
    }
}

impl From<&WscConfig> for Manual {
    fn from(config: &WscConfig) -> Self {
        let keep = Duration::from(config.record.ttl).as_millis();
        Self {
            rules: Rules::from(&config.ticket),
            keep: u64::try_from(keep).unwrap_or(u64::MAX),
            record: config.record.enabled,
        }
    }
}
