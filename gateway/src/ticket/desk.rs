//! `Desk`: every open ticket and every agent, and the steps between its states. Pure: time and chance come from outside.
//!
//! What always holds once a command is done: a ticket has at most one agent and an agent at most its capacity of tickets;
//! with `autoAssign` no ticket waits that a free agent could be offered; who waits first within priority and skill is
//! offered first. A command either does all of what it asks for or is refused and changes nothing.
//!
//! This file owns the state with its indexes and the way back to before a step; the steps are in the files below it.

mod agents;
mod assign;
mod fire;
mod open;
mod steps;
mod view;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Agent, Command, Event, Millis, Queue, Refusal, Rules, State, Step, Ticket};
use crate::protocol::{Priority, TicketId, UserId};

pub use view::QueueView;

/// The most open tickets of a desk: what a node can hold a copy of without thinking about it.
const MAX_OPEN: usize = 100_000;

/// One entry of the desk as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// A ticket.
    Ticket(TicketId),
    /// An agent.
    Agent(UserId),
    /// The number of the last ticket.
    Number,
}

impl Field {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_at_checked(2)? {
            ("t:", id) => TicketId::new(id).ok().map(Self::Ticket),
            ("a:", id) => UserId::new(id).ok().map(Self::Agent),
            ("n:", "") => Some(Self::Number),
            _ => None,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ticket(id) => write!(f, "t:{id}"),
            Self::Agent(id) => write!(f, "a:{id}"),
            Self::Number => f.write_str("n:"),
        }
    }
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Ticket(Box<Ticket>),
    Agent(Box<Agent>),
    Number(u64),
}

/// When a command is done, and the throw of the dice where chance decides.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The desk's time.
    pub now: Millis,
    /// Any number.
    pub roll: u64,
}

/// What a command that was not refused says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The ticket after it, and its place in the queue if it waits.
    Ticket(Box<Ticket>, Option<usize>),
    /// The agent after it.
    Agent(Box<Agent>),
    /// There is nothing to say.
    Done,
}

/// What commands have changed since the last commit, and what was there before.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    before: BTreeMap<Field, Option<Value>>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Tickets that are over. The desk has forgotten them.
    pub closed: Vec<Ticket>,
}

impl Changes {
    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.events.is_empty()
    }

    /// The fields that a store has to write anew or remove.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.before.keys()
    }
}

/// The order of offering: first by priority, then by number.
type Place = (Reverse<Priority>, u64);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    tickets: BTreeMap<TicketId, Ticket>,
    agents: BTreeMap<UserId, Agent>,
    /// The number of the last ticket.
    number: u64,
    /// Who waits, in the order of offering: first by priority, then by number.
    waiting: BTreeMap<Place, TicketId>,
    /// The same by queue: places are counted and the first is found without looking at anybody else's tickets.
    queues: BTreeMap<Queue, BTreeMap<Place, TicketId>>,
    /// Which tickets an agent has, offered or active.
    held: BTreeMap<UserId, BTreeSet<TicketId>>,
    /// The open tickets of a customer.
    customers: BTreeMap<UserId, BTreeSet<TicketId>>,
    /// Tickets that are over and that somebody would open: told before the commands are done.
    over: BTreeMap<TicketId, Ticket>,
    changes: Changes,
}

impl Desk {
    /// Does one command.
    pub fn apply(
        &mut self,
        command: &Command,
        moment: Moment,
        rules: &Rules,
    ) -> Result<Reply, Refusal> {
        let mut step = steps::Steps {
            desk: self,
            moment,
            rules,
        };
        match command {
            Command::Open(new) => step.open(new),
            Command::Accept { ticket, agent, by } => step.accept(ticket.as_ref(), agent, by),
            Command::Decline { ticket, by } => step.decline(ticket, by),
            Command::Acknowledge { ticket, agent } => step.acknowledge(ticket, agent),
            Command::Transfer { ticket, by, to } => step.transfer(ticket, by, to),
            Command::Close { ticket, by } => step.close(ticket, by),
            Command::Join { ticket, user } => step.join(ticket, user),
            Command::Leave { ticket, user } => step.leave(ticket, user),
            Command::Status {
                agent,
                availability,
                skills,
                max,
            } => Ok(step.status(agent, *availability, skills.as_ref(), *max)),
            Command::Presence { agent, connected } => Ok(step.presence(agent, *connected)),
            Command::Fire { field, heard } => Ok(step.fire(field, *heard)),
            Command::Settle => Ok(step.settle_all()),
        }
    }

    /// Knows these tickets to be over until the next call of this. A desk forgets what is over, and none is opened anew as
    /// long as its store keeps it.
    pub fn know_over(&mut self, tickets: Vec<Ticket>) {
        let by_id = tickets
            .into_iter()
            .map(|ticket| (ticket.id.clone(), ticket));
        self.over = by_id.collect();
    }

    /// What has changed since the last call of this or of [`Desk::undo`].
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The changes are real now.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Goes back to before the changes: they were not to be.
    pub fn undo(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        for (field, before) in changes.before {
            self.place(&field, before);
        }
    }

    /// What a store writes for this field: its text and when it is due; `None`: the field is gone.
    pub fn write(&self, field: &Field, rules: &Rules) -> Option<(String, Option<Millis>)> {
        let (value, due) = match field {
            Field::Ticket(id) => {
                let ticket = self.tickets.get(id)?;
                (
                    Value::Ticket(Box::new(ticket.clone())),
                    Some(fire::due_of_ticket(ticket, rules)),
                )
            }
            Field::Agent(id) => {
                let agent = self.agents.get(id)?;
                let due = self.due_of_agent(agent, rules);
                (Value::Agent(Box::new(agent.clone())), due)
            }
            Field::Number => (Value::Number(self.number), None),
        };
        // Strings and numbers into memory: nothing that JSON could refuse.
        serde_json::to_string(&value).ok().map(|text| (text, due))
    }

    /// Takes what a store has for this field; `None`: the field is gone. Text that is not of this kind is as good as gone.
    pub fn read(&mut self, field: &Field, text: Option<&str>) {
        let value = text.and_then(|text| match field {
            Field::Ticket(_) => serde_json::from_str(text).ok().map(Value::Ticket),
            Field::Agent(_) => serde_json::from_str(text).ok().map(Value::Agent),
            Field::Number => text.parse().ok().map(Value::Number),
        });
        if text.is_some() && value.is_none() {
            tracing::warn!(%field, "an entry of the ticket desk cannot be read");
        }
        self.place(field, value);
    }

    /// Sets a field without noting a change.
    fn place(&mut self, field: &Field, value: Option<Value>) {
        match (field, value) {
            (Field::Ticket(id), Some(Value::Ticket(ticket))) => {
                self.unindex(id);
                self.index(&ticket);
                self.tickets.insert(id.clone(), *ticket);
            }
            (Field::Ticket(id), _) => {
                self.unindex(id);
                self.tickets.remove(id);
            }
            (Field::Agent(id), Some(Value::Agent(agent))) => {
                self.agents.insert(id.clone(), *agent);
            }
            (Field::Agent(id), _) => {
                self.agents.remove(id);
            }
            (Field::Number, Some(Value::Number(number))) => self.number = number,
            (Field::Number, _) => self.number = 0,
        }
    }

    fn value(&self, field: &Field) -> Option<Value> {
        match field {
            Field::Ticket(id) => {
                let ticket = self.tickets.get(id)?;
                Some(Value::Ticket(Box::new(ticket.clone())))
            }
            Field::Agent(id) => Some(Value::Agent(Box::new(self.agents.get(id)?.clone()))),
            Field::Number => Some(Value::Number(self.number)),
        }
    }

    fn note(&mut self, field: Field) {
        if !self.changes.before.contains_key(&field) {
            let before = self.value(&field);
            self.changes.before.insert(field, before);
        }
    }

    fn put_ticket(&mut self, ticket: Ticket) {
        let field = Field::Ticket(ticket.id.clone());
        self.note(field.clone());
        match ticket.state {
            State::Closed { .. } => {
                self.place(&field, None);
                self.changes.closed.push(ticket);
            }
            State::Waiting | State::Offered(_) | State::Active { .. } => {
                self.place(&field, Some(Value::Ticket(Box::new(ticket))));
            }
        }
    }

    fn put_agent(&mut self, agent: Agent) {
        let field = Field::Agent(agent.id.clone());
        self.note(field.clone());
        self.place(&field, Some(Value::Agent(Box::new(agent))));
    }

    fn remove_agent(&mut self, id: &UserId) {
        let field = Field::Agent(id.clone());
        self.note(field.clone());
        self.place(&field, None);
    }

    fn next_number(&mut self) -> u64 {
        self.note(Field::Number);
        self.number += 1;
        self.number
    }

    fn tell(&mut self, at: Millis, step: Step, ticket: &Ticket) {
        self.changes.events.push(Event::Ticket {
            at,
            step,
            ticket: Box::new(ticket.clone()),
        });
    }

    fn tell_of_agent(&mut self, at: Millis, agent: &Agent) {
        self.changes.events.push(Event::Agent {
            at,
            is: agent.is(),
            agent: Box::new(agent.clone()),
        });
    }

    fn index(&mut self, ticket: &Ticket) {
        let of_customer = self.customers.entry(ticket.customer.clone()).or_default();
        of_customer.insert(ticket.id.clone());
        match (&ticket.state, ticket.agent()) {
            (State::Waiting, _) => {
                self.waiting.insert(place_of(ticket), ticket.id.clone());
                let queue = self.queues.entry(ticket.queue.clone()).or_default();
                queue.insert(place_of(ticket), ticket.id.clone());
            }
            (_, Some(agent)) => {
                let held = self.held.entry(agent.clone()).or_default();
                held.insert(ticket.id.clone());
            }
            (_, None) => {}
        }
    }

    fn unindex(&mut self, id: &TicketId) {
        let Some(ticket) = self.tickets.get(id) else {
            return;
        };
        if let Some(open) = self.customers.get_mut(&ticket.customer) {
            open.remove(id);
            if open.is_empty() {
                self.customers.remove(&ticket.customer);
            }
        }
        let place = place_of(ticket);
        self.waiting.remove(&place);
        if let Some(queue) = self.queues.get_mut(&ticket.queue) {
            queue.remove(&place);
            if queue.is_empty() {
                self.queues.remove(&ticket.queue);
            }
        }
        if let Some(agent) = ticket.agent()
            && let Some(held) = self.held.get_mut(agent)
        {
            held.remove(id);
            if held.is_empty() {
                self.held.remove(agent);
            }
        }
    }
}

const fn place_of(ticket: &Ticket) -> Place {
    (Reverse(ticket.priority), ticket.number)
}
