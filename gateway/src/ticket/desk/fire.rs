//! What happens by itself when its time has come. A due time is worked out from the state alone, so whoever fires too
//! early, twice or late meets a state in which nothing, or the right thing, is due.

use super::steps::Steps;
use super::{Desk, Field, Reply};
use crate::protocol::{TicketId, UserId};
use crate::ticket::{
    Agent, ClosedBecause, Millis, Offer, PassedBecause, Rules, State, Step, Ticket,
};

/// How long an agent that has gone and has no tickets is remembered with its skills.
const REMEMBERED: Millis = 24 * 60 * 60 * 1000;

/// When a ticket's time comes.
pub(super) fn due_of_ticket(ticket: &Ticket, rules: &Rules) -> Millis {
    match &ticket.state {
        State::Waiting => ticket.waiting_since.saturating_add(rules.queue_timeout),
        State::Offered(offer) => {
            let reaction = offer.since.saturating_add(rules.notify_timeout);
            reaction.min(due_of_news(offer, rules).unwrap_or(Millis::MAX))
        }
        State::Active { heard, .. } => heard.saturating_add(rules.ticket_timeout),
        State::Closed { at, .. } => *at,
    }
}

/// When the agent's client should have acknowledged.
fn due_of_news(offer: &Offer, rules: &Rules) -> Option<Millis> {
    let reminders = rules.reminders.filter(|_| !offer.acknowledged)?;
    Some(offer.told.saturating_add(reminders.timeout))
}

impl Desk {
    /// When an agent's time comes.
    pub(super) fn due_of_agent(&self, agent: &Agent, rules: &Rules) -> Option<Millis> {
        let has_tickets = self.load(&agent.id) > 0;
        let patience = if has_tickets {
            rules.agent_grace
        } else {
            REMEMBERED
        };
        agent.gone_since.map(|gone| gone.saturating_add(patience))
    }
}

impl Steps<'_> {
    pub(super) fn fire(&mut self, field: &Field, heard: Option<Millis>) -> Reply {
        // In any case its due time is written anew: it may be another one by now, or none.
        self.desk.note(field.clone());
        match field {
            Field::Ticket(id) => self.fire_ticket(id, heard),
            Field::Agent(id) => self.fire_agent(id),
            Field::Number => {}
        }
        Reply::Done
    }

    fn fire_ticket(&mut self, id: &TicketId, said: Option<Millis>) {
        let Ok(mut ticket) = self.ticket(id) else {
            return;
        };
        if let State::Active { heard, .. } = &mut ticket.state {
            let latest = said.unwrap_or_default().max(*heard);
            if latest > *heard {
                *heard = latest;
                self.desk.put_ticket(ticket.clone());
            }
        }
        if due_of_ticket(&ticket, self.rules) > self.moment.now {
            return;
        }
        match ticket.state.clone() {
            State::Waiting => {
                self.end(ticket, None, ClosedBecause::QueueTimeout);
            }
            State::Offered(offer) => self.fire_offer(ticket, offer),
            State::Active { .. } => {
                self.end(ticket, None, ClosedBecause::Idle);
            }
            State::Closed { .. } => {}
        }
    }

    fn fire_offer(&mut self, mut ticket: Ticket, mut offer: Offer) {
        let agent = offer.agent.clone();
        let until = offer.since.saturating_add(self.rules.notify_timeout);
        if until <= self.moment.now {
            return self.pass_on(ticket, &agent, PassedBecause::NoReaction);
        }
        let most = self.rules.reminders.map_or(0, |reminders| reminders.most);
        if offer.reminders >= most {
            return self.pass_on(ticket, &agent, PassedBecause::Unacknowledged);
        }
        offer.reminders += 1;
        offer.told = self.moment.now;
        let attempt = offer.reminders;
        ticket.state = State::Offered(offer);
        let step = Step::Reminded {
            agent,
            attempt,
            until,
        };
        self.step(step, ticket);
    }

    fn fire_agent(&mut self, id: &UserId) {
        let Some(agent) = self.desk.agents.get(id) else {
            return;
        };
        let due = self.desk.due_of_agent(agent, self.rules);
        if due.is_none_or(|due| due > self.moment.now) {
            return;
        }
        let held = self.desk.held.get(id).cloned().unwrap_or_default();
        if held.is_empty() {
            return self.desk.remove_agent(id);
        }
        for ticket in held {
            if let Ok(ticket) = self.ticket(&ticket) {
                self.pass_on(ticket, id, PassedBecause::AgentGone);
            }
        }
    }
}
