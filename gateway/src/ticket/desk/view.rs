//! What can be asked about the desk.

use std::collections::BTreeMap;

use super::Desk;
use crate::protocol::{TicketId, UserId};
use crate::ticket::{Agent, Millis, Queue, State, Ticket};

/// One queue, as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// What its tickets ask for.
    pub queue: Queue,
    /// How many wait.
    pub length: usize,
    /// Since when the first of them waits.
    pub waiting_since: Millis,
}

impl Desk {
    /// An open ticket.
    pub fn ticket(&self, id: &TicketId) -> Option<&Ticket> {
        self.tickets.get(id)
    }

    /// Every open ticket, by id.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets.values()
    }

    /// An agent.
    pub fn agent(&self, id: &UserId) -> Option<&Agent> {
        self.agents.get(id)
    }

    /// Every agent that is known, by id, with how many tickets it has.
    pub fn agents(&self) -> impl Iterator<Item = (&Agent, usize)> {
        let agents = self.agents.values();
        agents.map(|agent| (agent, self.load(&agent.id)))
    }

    /// The tickets of one agent.
    pub fn held_by<'a>(&'a self, agent: &UserId) -> impl Iterator<Item = &'a Ticket> + use<'a> {
        let held = self.held.get(agent).into_iter().flatten();
        held.filter_map(|id| self.tickets.get(id))
    }

    /// The tickets that a user opened, has as their agent, or watches; each once.
    pub fn tickets_of<'a>(&'a self, user: &'a UserId) -> impl Iterator<Item = &'a Ticket> {
        let opened = self.customers.get(user).into_iter().flatten();
        let served = self.held.get(user).into_iter().flatten();
        let own = opened.chain(served).filter_map(|id| self.tickets.get(id));
        let watched = self.tickets.values();
        let watched = watched.filter(|ticket| ticket.observers.contains(user));
        own.chain(watched)
    }

    /// The place of a ticket in its queue, from 1, if it waits.
    pub fn position(&self, ticket: &Ticket) -> Option<usize> {
        if ticket.state != State::Waiting {
            return None;
        }
        let queue = self.queues.get(&ticket.queue)?;
        let before = queue.range(..super::place_of(ticket));
        Some(before.count() + 1)
    }

    /// Every queue in which someone waits.
    pub fn queues(&self) -> Vec<QueueView> {
        let view = |(queue, waiting): (&Queue, &BTreeMap<super::Place, TicketId>)| {
            let tickets = waiting.values().filter_map(|id| self.tickets.get(id));
            Some(QueueView {
                queue: queue.clone(),
                length: waiting.len(),
                waiting_since: tickets.map(|ticket| ticket.waiting_since).min()?,
            })
        };
        self.queues.iter().filter_map(view).collect()
    }

    /// The tickets that wait, in the order in which they are offered.
    pub fn waiting(&self) -> impl Iterator<Item = &Ticket> {
        self.waiting.values().filter_map(|id| self.tickets.get(id))
    }
}
