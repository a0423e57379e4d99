//! Bringing tickets and agents together. Nothing else decides who gets what.

use std::collections::BTreeSet;

use wsc_config::AssignStrategy;

use super::steps::Steps;
use super::{Desk, Field, Reply};
use crate::protocol::{TicketId, UserId};
use crate::ticket::{
    Agent, Availability, ClosedBecause, Offer, PassedBecause, Refusal, Rules, State, Step, Ticket,
};

impl Desk {
    /// How many tickets an agent has.
    pub(super) fn load(&self, agent: &UserId) -> usize {
        self.held.get(agent).map_or(0, BTreeSet::len)
    }

    /// Whether an agent takes one more.
    fn is_free(&self, agent: &Agent, rules: &Rules) -> bool {
        agent.is() == Availability::Online
            && self.load(&agent.id) < agent.capacity(rules.max_tickets_per_agent)
    }
}

/// Whether this agent may be offered this ticket.
fn suits(agent: &Agent, ticket: &Ticket, rules: &Rules) -> bool {
    let able = match rules.assign_strategy {
        AssignStrategy::SkillBased => agent.can(&ticket.queue),
        AssignStrategy::LoadBalance | AssignStrategy::Random => true,
    };
    able && !ticket.passed.contains(&agent.id)
}

impl Steps<'_> {
    /// The agent for a ticket, if one is free.
    fn pick(&self, ticket: &Ticket) -> Option<UserId> {
        let desk = &self.desk;
        let free = desk
            .agents
            .values()
            .filter(|agent| desk.is_free(agent, self.rules) && suits(agent, ticket, self.rules));
        let picked = match self.rules.assign_strategy {
            AssignStrategy::Random => {
                let free: Vec<_> = free.collect();
                let of = u64::try_from(free.len()).unwrap_or(u64::MAX);
                let at = self.moment.roll.checked_rem(of)?;
                free.get(usize::try_from(at).ok()?).copied()
            }
            AssignStrategy::LoadBalance | AssignStrategy::SkillBased => {
                free.min_by_key(|agent| (desk.load(&agent.id), agent.last_offer))
            }
        };
        picked.map(|agent| agent.id.clone())
    }

    /// Whether a ticket finds an agent or may wait.
    pub(super) fn check_room(&self, ticket: &Ticket) -> Result<(), Refusal> {
        let finds = || self.rules.auto_assign && self.pick(ticket).is_some();
        if self.rules.enable_queueing || finds() {
            Ok(())
        } else {
            Err(Refusal::NoAgent(ticket.queue.clone()))
        }
    }

    /// Whether this very agent takes one more, and why not.
    pub(super) fn check_free(&self, id: &UserId) -> Result<(), Refusal> {
        let agent = self.desk.agents.get(id);
        let online = agent.filter(|agent| agent.is() == Availability::Online);
        let agent = online.ok_or_else(|| Refusal::NotOnline(id.clone()))?;
        if self.desk.is_free(agent, self.rules) {
            Ok(())
        } else {
            Err(Refusal::Full {
                agent: id.clone(),
                tickets: self.desk.load(id),
            })
        }
    }

    /// Gives a ticket to an agent, lets it wait, or ends it where tickets do not wait.
    pub(super) fn offer_or_queue(&mut self, ticket: Ticket) {
        let picked = self.rules.auto_assign.then(|| self.pick(&ticket)).flatten();
        if let Some(agent) = picked {
            self.offer(ticket, &agent);
        } else if self.rules.enable_queueing {
            self.queue(ticket);
        } else {
            self.end(ticket, None, ClosedBecause::NoAgent);
        }
    }

    /// Gives a ticket to this agent, which is free.
    pub(super) fn offer(&mut self, mut ticket: Ticket, agent: &UserId) {
        let now = self.moment.now;
        ticket.state = State::Offered(Offer {
            agent: agent.clone(),
            since: now,
            told: now,
            reminders: 0,
            acknowledged: false,
        });
        if let Some(mut known) = self.desk.agents.get(agent).cloned() {
            known.last_offer = self.desk.next_number();
            self.desk.put_agent(known);
        }
        let step = Step::Offered {
            agent: agent.clone(),
            until: now.saturating_add(self.rules.notify_timeout),
            waited: now.saturating_sub(ticket.waiting_since),
        };
        self.step(step, ticket);
    }

    fn queue(&mut self, mut ticket: Ticket) {
        ticket.state = State::Waiting;
        // The place is known once the ticket has it.
        self.desk.put_ticket(ticket.clone());
        let step = Step::Queued {
            queue: ticket.queue.clone(),
            position: self.desk.position(&ticket).unwrap_or(1),
            until: ticket
                .waiting_since
                .saturating_add(self.rules.queue_timeout),
        };
        self.step(step, ticket);
    }

    /// Takes a ticket from an agent and looks for another.
    pub(super) fn pass_on(&mut self, mut ticket: Ticket, agent: &UserId, because: PassedBecause) {
        match because {
            PassedBecause::Declined | PassedBecause::NoReaction | PassedBecause::Unacknowledged => {
                ticket.passed.insert(agent.clone());
            }
            // It was being served: its customer waits anew, and whoever is there may be asked.
            PassedBecause::AgentGone => {
                ticket.passed.clear();
                ticket.waiting_since = self.moment.now;
            }
        }
        ticket.state = State::Waiting;
        let step = Step::PassedOn {
            agent: agent.clone(),
            because,
        };
        let ticket = self.step(step, ticket);
        self.offer_or_queue(ticket);
        self.give_to(agent);
    }

    /// The agent works on the ticket it was offered, or takes.
    pub(super) fn begin(&mut self, mut ticket: Ticket, agent: &UserId) {
        ticket.state = State::Active {
            agent: agent.clone(),
            heard: self.moment.now,
        };
        ticket.passed.clear();
        let agent = agent.clone();
        self.step(Step::Accepted { agent }, ticket);
    }

    /// The agent takes a ticket that waits.
    pub(super) fn take(&mut self, ticket: Ticket, agent: &UserId) -> Result<(), Refusal> {
        self.check_free(agent)?;
        let id = ticket.id.clone();
        self.offer(ticket, agent);
        let ticket = self.ticket(&id)?;
        self.begin(ticket, agent);
        Ok(())
    }

    /// The first ticket that waits for what this agent can do.
    pub(super) fn first_for(&self, id: &UserId) -> Result<Ticket, Refusal> {
        let suits = |agent: &Agent, ticket: &TicketId| {
            let ticket = self.desk.tickets.get(ticket)?;
            suits(agent, ticket, self.rules).then_some(ticket)
        };
        let first = self.desk.agents.get(id).and_then(|agent| {
            if self.rules.assign_strategy != AssignStrategy::SkillBased {
                let mut waiting = self.desk.waiting.values();
                return waiting.find_map(|ticket| suits(agent, ticket));
            }
            let queues = self.desk.queues.iter();
            let able = queues.filter(|(queue, _)| agent.can(queue));
            let firsts = able.filter_map(|(_, waiting)| {
                let mut waiting = waiting.iter();
                waiting.find_map(|(place, ticket)| Some((place, suits(agent, ticket)?)))
            });
            firsts
                .min_by_key(|(place, _)| **place)
                .map(|(_, ticket)| ticket)
        });
        first
            .cloned()
            .ok_or_else(|| Refusal::NothingWaits(id.clone()))
    }

    /// Offers to an agent, as long as it is free, what waits and suits it, in order.
    pub(super) fn give_to(&mut self, id: &UserId) {
        if !self.rules.auto_assign {
            return;
        }
        while let Some(agent) = self.desk.agents.get(id)
            && self.desk.is_free(agent, self.rules)
            && let Ok(ticket) = self.first_for(id)
        {
            self.offer(ticket, id);
        }
    }

    /// The agent has shown that it works: what it let pass may be offered to it again.
    pub(super) fn welcome_back(&mut self, id: &UserId) {
        let passed: Vec<Ticket> = self
            .desk
            .waiting
            .values()
            .filter_map(|waiting| self.desk.tickets.get(waiting))
            .filter(|ticket| ticket.passed.contains(id))
            .cloned()
            .collect();
        for mut ticket in passed {
            ticket.passed.remove(id);
            self.desk.put_ticket(ticket);
        }
        self.give_to(id);
    }

    /// Gives out what can be given out, and has every due time written anew: the rules may have changed.
    pub(super) fn settle_all(&mut self) -> Reply {
        let tickets = self.desk.tickets.keys().cloned().map(Field::Ticket);
        let agents = self.desk.agents.keys().cloned().map(Field::Agent);
        for field in tickets.chain(agents).collect::<Vec<_>>() {
            self.desk.note(field);
        }
        if self.rules.auto_assign {
            let waiting: Vec<_> = self.desk.waiting.values().cloned().collect();
            for id in waiting {
                if let Ok(ticket) = self.ticket(&id)
                    && let Some(agent) = self.pick(&ticket)
                {
                    self.offer(ticket, &agent);
                }
            }
        }
        Reply::Done
    }
}
