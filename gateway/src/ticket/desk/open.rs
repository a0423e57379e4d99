//! Opening a ticket.

use std::collections::BTreeSet;

use super::steps::Steps;
use super::{Desk, MAX_OPEN, Reply};
use crate::protocol::TicketId;
use crate::ticket::{NewTicket, Refusal, State, Step, Ticket};

/// The most open tickets of one customer: nobody has more questions at once, and nobody can fill the desk.
const MAX_OF_CUSTOMER: usize = 20;

impl Steps<'_> {
    pub(super) fn open(&mut self, new: &NewTicket) -> Result<Reply, Refusal> {
        if let Some(known) = self.kept(&new.id) {
            return if known.customer == new.customer {
                Ok(Reply::Ticket(
                    Box::new(known.clone()),
                    self.desk.position(known),
                ))
            } else {
                Err(Refusal::Taken(new.id.clone()))
            };
        }
        let open = self.desk.tickets.len();
        if open >= MAX_OPEN {
            return Err(Refusal::DeskFull(open));
        }
        let of_customer = self.desk.customers.get(&new.customer);
        let open = of_customer.map_or(0, BTreeSet::len);
        if open >= MAX_OF_CUSTOMER {
            return Err(Refusal::ManyOfCustomer {
                customer: new.customer.clone(),
                open,
            });
        }
        let mut ticket = self.blank(new);
        self.check_room(&ticket)?;
        ticket.number = self.desk.next_number();
        let opened = Step::Opened {
            customer: new.customer.clone(),
            queue: new.queue.clone(),
        };
        let ticket = self.step(opened, ticket);
        self.offer_or_queue(ticket);
        Ok(self.answer(&new.id))
    }

    /// A ticket of this id, open, or over and kept.
    fn kept(&self, id: &TicketId) -> Option<&Ticket> {
        let Desk {
            tickets,
            over,
            changes,
            ..
        } = &*self.desk;
        let just_closed = || changes.closed.iter().find(|ticket| ticket.id == *id);
        let open = tickets.get(id).or_else(just_closed);
        open.or_else(|| over.get(id))
    }

    fn blank(&self, new: &NewTicket) -> Ticket {
        let NewTicket {
            id,
            customer,
            queue,
            priority,
            subject,
        } = new.clone();
        Ticket {
            id,
            customer,
            queue,
            priority,
            subject,
            opened_at: self.moment.now,
            waiting_since: self.moment.now,
            number: 0,
            passed: BTreeSet::new(),
            transfers: 0,
            observers: BTreeSet::new(),
            state: State::Waiting,
        }
    }
}
