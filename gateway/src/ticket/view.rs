//! Tickets, agents and queues as clients and backends see them: one form for frames and for the API.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Agent, Millis, Queue, QueueView, Standing, State, Ticket};

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TicketView {
    /// Its id.
    pub ticket_id: String,
    /// The customer.
    pub customer: String,
    /// `waiting`, `assigned` (an agent is asked to accept it), `active` or `closed`.
    pub status: &'static str,
    /// Who is asked, works on it or had it when it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The queue: the skills it asks for, or `general`.
    pub queue: String,
    /// The skills it asks for.
    pub skills: Vec<String>,
    /// `low`, `normal`, `high` or `critical`.
    pub priority: &'static str,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it was opened, Unix time in milliseconds.
    pub opened_at: u64,
    /// Its place in the queue from 1, if it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// How long it has waited, in milliseconds, if it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<u64>,
    /// How often it was transferred.
    pub transfers: u32,
    /// Who watches.
    pub observers: Vec<String>,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<u64>,
    /// Who closed it; nobody: a timer did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<String>,
    /// Why it is closed: `asked`, `idle`, `queue_timeout` or `no_agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl TicketView {
    /// Of a ticket at a time.
    pub fn of(ticket: &Ticket, position: Option<usize>, now: Millis) -> Self {
        let waits = ticket.state == State::Waiting;
        let (closed_at, closed_by, reason) = match &ticket.state {
            State::Closed {
                by, because, at, ..
            } => (
                Some(*at),
                by.as_ref().map(ToString::to_string),
                Some(because.as_str()),
            ),
            State::Waiting | State::Offered(_) | State::Active { .. } => (None, None, None),
        };
        Self {
            ticket_id: ticket.id.to_string(),
            customer: ticket.customer.to_string(),
            status: ticket.state.as_str(),
            agent: ticket.served_by().map(ToString::to_string),
            queue: ticket.queue.to_string(),
            skills: skills(&ticket.queue),
            priority: ticket.priority.as_str(),
            subject: ticket.subject.clone(),
            opened_at: ticket.opened_at,
            position,
            waited_ms: waits.then(|| now.saturating_sub(ticket.waiting_since)),
            transfers: ticket.transfers,
            observers: ticket.observers.iter().map(ToString::to_string).collect(),
            closed_at,
            closed_by,
            reason,
        }
    }
}

impl From<&Standing> for TicketView {
    fn from(standing: &Standing) -> Self {
        Self::of(&standing.ticket, standing.position, standing.now)
    }
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgentView {
    /// The user.
    pub agent: String,
    /// `online`, `away` or `offline`: what it says of itself, and `offline` without a session.
    pub status: &'static str,
    /// Whether it has a session anywhere.
    pub connected: bool,
    /// What it can do.
    pub skills: Vec<String>,
    /// The tickets it has.
    pub tickets: usize,
    /// The most it wants; absent: as many as it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Since when it is gone, Unix time in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone_since: Option<u64>,
}

impl AgentView {
    /// Of an agent with so many tickets.
    pub fn of(agent: &Agent, tickets: usize) -> Self {
        Self {
            agent: agent.id.to_string(),
            status: agent.is().as_str(),
            connected: agent.connected,
            skills: skills(&agent.skills),
            tickets,
            max: agent.max,
            gone_since: agent.gone_since,
        }
    }
}

/// A queue in which someone waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WaitingView {
    /// Its name.
    pub queue: String,
    /// What its tickets ask for.
    pub skills: Vec<String>,
    /// How many wait.
    pub length: usize,
    /// How long the first of them has waited, in milliseconds.
    pub longest_wait_ms: u64,
}

impl WaitingView {
    /// Of a queue at a time.
    pub fn of(view: &QueueView, now: Millis) -> Self {
        Self {
            queue: view.queue.to_string(),
            skills: skills(&view.queue),
            length: view.length,
            longest_wait_ms: now.saturating_sub(view.waiting_since),
        }
    }
}

fn skills(queue: &Queue) -> Vec<String> {
    let names = queue.skills().iter();
    names.map(|skill| skill.as_str().to_owned()).collect()
}
