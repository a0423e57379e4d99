//! Accepting, declining, transferring, closing and watching: what people do with an open ticket.

use super::{Desk, Moment, Reply};
use crate::protocol::{TicketId, UserId};
use crate::ticket::{
    ClosedBecause, Party, PassedBecause, Refusal, Rules, State, Step, Ticket, TransferTo,
};

/// The desk with everything a step goes by.
pub(super) struct Steps<'a> {
    pub(super) desk: &'a mut Desk,
    pub(super) moment: Moment,
    pub(super) rules: &'a Rules,
}

impl Steps<'_> {
    pub(super) fn accept(
        &mut self,
        id: Option<&TicketId>,
        agent: &UserId,
        by: &Party,
    ) -> Result<Reply, Refusal> {
        let ticket = match id {
            Some(id) => self.ticket(id)?,
            None => self.first_for(agent)?,
        };
        if !may(by, agent) {
            return Err(not_yours(&ticket, by));
        }
        let id = ticket.id.clone();
        match (&ticket.state, by) {
            (State::Active { agent: known, .. }, _) if known == agent => {}
            (State::Offered(offer), _) if offer.agent == *agent => self.begin(ticket, agent),
            (State::Waiting, Party::Admin(_)) => self.take(ticket, agent)?,
            // Where tickets are given out, taking one would be jumping the queue.
            (State::Waiting, Party::User(_)) if !self.rules.auto_assign => {
                self.take(ticket, agent)?;
            }
            _ => {
                return Err(Refusal::NotOffered {
                    ticket: id,
                    agent: agent.clone(),
                });
            }
        }
        Ok(self.answer(&id))
    }

    pub(super) fn decline(&mut self, id: &TicketId, by: &Party) -> Result<Reply, Refusal> {
        let ticket = self.ticket(id)?;
        match &ticket.state {
            State::Offered(offer) if may(by, &offer.agent) => {
                let agent = offer.agent.clone();
                self.pass_on(ticket, &agent, PassedBecause::Declined);
                Ok(self.answer(id))
            }
            _ => Err(Refusal::NotOffered {
                ticket: id.clone(),
                agent: by.id().clone(),
            }),
        }
    }

    pub(super) fn acknowledge(&mut self, id: &TicketId, agent: &UserId) -> Result<Reply, Refusal> {
        let mut ticket = self.ticket(id)?;
        match &mut ticket.state {
            State::Offered(offer) if offer.agent == *agent => {
                if !offer.acknowledged {
                    offer.acknowledged = true;
                    let agent = agent.clone();
                    self.step(Step::Acknowledged { agent }, ticket);
                }
                Ok(Reply::Done)
            }
            // The acknowledgement of an offer that has been accepted meanwhile is late, not wrong.
            State::Active { agent: known, .. } if known == agent => Ok(Reply::Done),
            _ => Err(Refusal::NotOffered {
                ticket: id.clone(),
                agent: agent.clone(),
            }),
        }
    }

    pub(super) fn transfer(
        &mut self,
        id: &TicketId,
        by: &Party,
        to: &TransferTo,
    ) -> Result<Reply, Refusal> {
        let ticket = self.ticket(id)?;
        let from = ticket.agent().cloned();
        if !from.as_ref().is_some_and(|agent| may(by, agent)) && !matches!(by, Party::Admin(_)) {
            return Err(not_yours(&ticket, by));
        }
        let most = self.rules.transfers.ok_or(Refusal::TransferOff)?;
        if ticket.transfers >= most {
            return Err(Refusal::TransferredEnough {
                ticket: id.clone(),
                times: ticket.transfers,
            });
        }
        match to {
            TransferTo::Agent(agent) => self.transfer_to_agent(ticket, by, agent)?,
            TransferTo::Queue(queue) => {
                let mut moved = ticket;
                moved.queue = queue.clone();
                self.transfer_to_queue(moved, by)?;
            }
        }
        if let Some(from) = from {
            self.give_to(&from);
        }
        Ok(self.answer(id))
    }

    fn transfer_to_agent(
        &mut self,
        mut ticket: Ticket,
        by: &Party,
        agent: &UserId,
    ) -> Result<(), Refusal> {
        if ticket.agent() == Some(agent) {
            return Err(Refusal::There {
                ticket: ticket.id,
                agent: agent.clone(),
            });
        }
        self.check_free(agent)?;
        let from = ticket.agent().cloned();
        ticket.transfers += 1;
        // It was theirs to pass on before; now it is asked for anew.
        ticket.passed.clear();
        let step = Step::Transferred {
            by: by.id().clone(),
            from,
            agent: Some(agent.clone()),
            queue: None,
        };
        self.set_waiting(&mut ticket);
        let ticket = self.step(step, ticket);
        self.offer(ticket, agent);
        Ok(())
    }

    fn transfer_to_queue(&mut self, mut ticket: Ticket, by: &Party) -> Result<(), Refusal> {
        let from = ticket.agent().cloned();
        ticket.passed.clear();
        ticket.passed.extend(from.clone());
        self.check_room(&ticket)?;
        ticket.transfers += 1;
        let step = Step::Transferred {
            by: by.id().clone(),
            from,
            agent: None,
            queue: Some(ticket.queue.clone()),
        };
        self.set_waiting(&mut ticket);
        let ticket = self.step(step, ticket);
        self.offer_or_queue(ticket);
        Ok(())
    }

    /// The customer waits anew: it was being served, or asks for something else now.
    fn set_waiting(&self, ticket: &mut Ticket) {
        ticket.waiting_since = self.moment.now;
        ticket.state = State::Waiting;
    }

    pub(super) fn close(&mut self, id: &TicketId, by: &Party) -> Result<Reply, Refusal> {
        let ticket = self.ticket(id)?;
        let agent = ticket.agent().cloned();
        let part = match by {
            Party::Admin(_) => true,
            Party::User(user) => ticket.customer == *user || agent.as_ref() == Some(user),
        };
        if !part {
            return Err(not_yours(&ticket, by));
        }
        let closed = self.end(ticket, Some(by.id()), ClosedBecause::Asked);
        Ok(Reply::Ticket(Box::new(closed), None))
    }

    /// Ends a ticket; its agent has room for the next.
    pub(super) fn end(
        &mut self,
        mut ticket: Ticket,
        by: Option<&UserId>,
        because: ClosedBecause,
    ) -> Ticket {
        let agent = ticket.agent().cloned();
        let worked = matches!(ticket.state, State::Active { .. });
        let by = by.cloned();
        ticket.state = State::Closed {
            by: by.clone(),
            agent: agent.clone(),
            because,
            at: self.moment.now,
        };
        let ticket = self.step(Step::Closed { by, because }, ticket);
        match (agent, worked) {
            (Some(agent), true) => self.welcome_back(&agent),
            (Some(agent), false) => self.give_to(&agent),
            (None, _) => {}
        }
        ticket
    }

    pub(super) fn join(&mut self, id: &TicketId, user: &UserId) -> Result<Reply, Refusal> {
        let mut ticket = self.ticket(id)?;
        let observers = ticket.observers.len();
        if ticket.observers.contains(user) {
            return Ok(self.answer(id));
        }
        if observers >= Ticket::MAX_OBSERVERS {
            return Err(Refusal::ManyObservers {
                ticket: id.clone(),
                observers,
            });
        }
        ticket.observers.insert(user.clone());
        let user = user.clone();
        self.step(Step::Joined { user }, ticket);
        Ok(self.answer(id))
    }

    pub(super) fn leave(&mut self, id: &TicketId, user: &UserId) -> Result<Reply, Refusal> {
        let mut ticket = self.ticket(id)?;
        if ticket.observers.remove(user) {
            let user = user.clone();
            self.step(Step::Left { user }, ticket);
        }
        Ok(Reply::Done)
    }

    /// Makes a step real within this desk and tells of it.
    pub(super) fn step(&mut self, step: Step, ticket: Ticket) -> Ticket {
        self.desk.tell(self.moment.now, step, &ticket);
        self.desk.put_ticket(ticket.clone());
        ticket
    }

    pub(super) fn ticket(&self, id: &TicketId) -> Result<Ticket, Refusal> {
        let ticket = self.desk.tickets.get(id).cloned();
        ticket.ok_or_else(|| Refusal::NoTicket(id.clone()))
    }

    /// How the ticket stands after the step; a step may have been its last.
    pub(super) fn answer(&self, id: &TicketId) -> Reply {
        match self.desk.tickets.get(id) {
            Some(ticket) => {
                let position = self.desk.position(ticket);
                Reply::Ticket(Box::new(ticket.clone()), position)
            }
            None => Reply::Done,
        }
    }
}

/// Whether the caller is this agent, or may speak for it.
fn may(by: &Party, agent: &UserId) -> bool {
    match by {
        Party::User(user) => user == agent,
        Party::Admin(_) => true,
    }
}

fn not_yours(ticket: &Ticket, by: &Party) -> Refusal {
    Refusal::NotYours {
        ticket: ticket.id.clone(),
        user: by.id().clone(),
    }
}
