//! `TicketConfig`: customer service, from the queue to the agent.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Seconds;
use crate::check::join;
use crate::closed::closed;
use crate::problems::Problems;
use crate::schema::{self, Rule, seconds};

closed! {
    /// How the agent for a ticket is picked.
    pub enum AssignStrategy {
        /// The agent with the fewest open tickets.
        LoadBalance = "load-balance",
        /// Any free agent.
        Random = "random",
        /// The least loaded of the agents who have the skills that the ticket asks for.
        SkillBased = "skill-based",
    }
}

/// Conditions between keys; [`TicketConfig::rules`] states the same.
const RULES: &[Rule] = &[Rule {
    cel: concat!(
        seconds!("self.notifyTimeout"),
        " <= ",
        seconds!("self.ticketTimeout")
    ),
    message: "must be at most ticketTimeout",
    path: ".notifyTimeout",
}];

/// Tickets: a customer is brought together with an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
// Each switch is a key of the reference and none excludes another.
#[allow(clippy::struct_excessive_bools)]
pub struct TicketConfig {
    /// Whether there are tickets.
    pub enabled: bool,
    /// The most open tickets of an agent.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_tickets_per_agent: u32,
    /// Whether a new ticket is given to an agent without being asked for.
    pub auto_assign: bool,
    /// How the agent is picked: `load-balance`, `random` or `skill-based`.
    pub assign_strategy: AssignStrategy,
    /// How long a ticket may be idle before it is closed.
    #[schemars(transform = schema::between("1s", "720h"))]
    pub ticket_timeout: Seconds,
    /// Whether a ticket waits when no agent is free; otherwise it is refused.
    pub enable_queueing: bool,
    /// How long a ticket waits for an agent before it is closed.
    #[schemars(transform = schema::between("1s", "24h"))]
    pub queue_timeout: Seconds,
    /// How long an agent has to react before the ticket is passed on. At most `ticketTimeout`.
    #[schemars(transform = schema::between("1s", "1h"))]
    pub notify_timeout: Seconds,
    /// Whether a ticket can be passed to another agent or queue.
    pub enable_transfer: bool,
    /// How often a ticket can be passed on.
    #[schemars(range(min = 0, max = 100))]
    pub transfer_max_times: u32,
    /// Whether messages to someone who is away are kept for them.
    pub enable_offline_message: bool,
    /// How long such messages are kept.
    #[schemars(transform = schema::between("1m", "8760h"))]
    pub offline_message_expire: Seconds,
    /// Whether messages in tickets are acknowledged.
    pub enable_ack: bool,
    /// How long the recipient of such a message has before it is sent again.
    #[schemars(transform = schema::between("100ms", "10m"))]
    pub ack_timeout: Seconds,
    /// How often it is sent again.
    #[schemars(range(min = 0, max = 100))]
    pub max_retry: u32,
}

impl TicketConfig {
    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        let (notify, ticket) = (self.notify_timeout, self.ticket_timeout);
        if notify > ticket {
            problems.invalid(
                join(at, "notifyTimeout"),
                format!("must be at most {at}.ticketTimeout ({ticket}), is {notify}"),
            );
        }
    }
}

impl Default for TicketConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_tickets_per_agent: 10,
            auto_assign: true,
            assign_strategy: AssignStrategy::LoadBalance,
            ticket_timeout: Seconds::from_secs(1800),
            enable_queueing: true,
            queue_timeout: Seconds::from_secs(300),
            notify_timeout: Seconds::from_secs(30),
            enable_transfer: true,
            transfer_max_times: 3,
            enable_offline_message: true,
            offline_message_expire: Seconds::from_secs(86_400),
            enable_ack: true,
            ack_timeout: Seconds::from_secs(5),
            max_retry: 3,
        }
    }
}
