//! `Rules`: what the configuration says about tickets, in the units of the desk.

use std::time::Duration;

use wsc_config::{AssignStrategy, TicketConfig};

use super::Millis;

/// See the module. One field for each key that the desk itself obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The most open tickets of an agent.
    pub max_tickets_per_agent: usize,
    /// Whether tickets are given to agents without being asked for.
    pub auto_assign: bool,
    /// How the agent is picked.
    pub assign_strategy: AssignStrategy,
    /// How long a ticket in work may be idle.
    pub ticket_timeout: Millis,
    /// Whether a ticket waits when no agent is free.
    pub enable_queueing: bool,
    /// How long it waits.
    pub queue_timeout: Millis,
    /// How long an agent has to accept or decline.
    pub notify_timeout: Millis,
    /// How long an agent who is gone keeps its tickets.
    pub agent_grace: Millis,
    /// How often a ticket can be transferred; `None`: not at all.
    pub transfers: Option<u32>,
    /// How long an agent's client has to acknowledge an offer, and how often it is told again; `None`: nothing is asked.
    pub reminders: Option<Reminders>,
}

/// How an offer is repeated until the agent's client acknowledges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reminders {
    /// How long the client has each time.
    pub timeout: Millis,
    /// How often it is told again.
    pub most: u32,
}

impl From<&TicketConfig> for Rules {
    fn from(config: &TicketConfig) -> Self {
        let millis = |time: wsc_config::Seconds| {
            u64::try_from(Duration::from(time).as_millis()).unwrap_or(Millis::MAX)
        };
        Self {
            max_tickets_per_agent: config.max_tickets_per_agent as usize,
            auto_assign: config.auto_assign,
            assign_strategy: config.assign_strategy,
            ticket_timeout: millis(config.ticket_timeout),
            enable_queueing: config.enable_queueing,
            queue_timeout: millis(config.queue_timeout),
            notify_timeout: millis(config.notify_timeout),
            // Whoever is gone gets as long as whoever does not react.
            agent_grace: millis(config.notify_timeout),
            transfers: config.enable_transfer.then_some(config.transfer_max_times),
            reminders: config.enable_ack.then(|| Reminders {
                timeout: millis(config.ack_timeout),
                most: config.max_retry,
            }),
        }
    }
}
