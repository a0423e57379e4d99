//! Lists of tickets, agents and queues, page by page.

use super::{
    AgentView, DeskError, Queue, QueueView, State, Ticket, TicketView, Tickets, WaitingView,
};
use crate::protocol::UserId;

/// Tickets that are over and looked at for one page of somebody's own.
const CLOSED_MAX: usize = 1000;

/// Which tickets.
#[derive(Clone, Debug, Default)]
pub struct TicketFilter {
    /// A word of [`State::WORDS`]; `None`: all that are open.
    pub status: Option<String>,
    /// Those of this customer.
    pub customer: Option<UserId>,
    /// Those that this agent has, or had when they were closed.
    pub agent: Option<UserId>,
    /// Those that this user may read.
    pub reader: Option<UserId>,
    /// Those of this queue.
    pub queue: Option<Queue>,
}

/// A page of tickets.
#[derive(Clone, Debug, Default)]
pub struct TicketPage {
    /// In order: open ones by id, closed ones the latest first.
    pub tickets: Vec<TicketView>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// A page of agents.
#[derive(Clone, Debug, Default)]
pub struct AgentPage {
    /// Ordered by id.
    pub agents: Vec<AgentView>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

impl TicketFilter {
    fn takes(&self, ticket: &Ticket) -> bool {
        let Self {
            status,
            customer,
            agent,
            reader,
            queue,
        } = self;
        let same = |wanted: &Option<UserId>, user: Option<&UserId>| {
            wanted.as_ref().is_none_or(|wanted| Some(wanted) == user)
        };
        status
            .as_ref()
            .is_none_or(|status| status == ticket.state.as_str())
            && same(customer, Some(&ticket.customer))
            && same(agent, ticket.served_by())
            && reader.as_ref().is_none_or(|reader| ticket.has(reader))
            && queue.as_ref().is_none_or(|queue| *queue == ticket.queue)
    }

    /// The field of it, or the cursor, that is wrong, and what is wrong with it.
    pub fn check(&self, cursor: Option<&str>) -> Result<(), (&'static str, String)> {
        if let Some(status) = &self.status
            && !State::WORDS.contains(&status.as_str())
        {
            let words = State::WORDS.join(", ");
            return Err(("status", format!("{status:?} is none of {words}")));
        }
        match cursor {
            Some(cursor) if self.is_of_closed() && cursor.parse::<usize>().is_err() => Err((
                "cursor",
                format!("{cursor:?} is not of a list of closed tickets"),
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn is_of_closed(&self) -> bool {
        self.status.as_deref() == State::WORDS.last().copied()
    }
}

impl Tickets {
    /// A page of the tickets that pass the filter, after a cursor.
    pub async fn list(
        &self,
        filter: TicketFilter,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<TicketPage, DeskError> {
        self.check()?;
        if filter.is_of_closed() {
            return self.list_closed(&filter, cursor.as_deref(), limit).await;
        }
        let page = self.bell().look(move |desk, now| {
            let after = cursor.as_deref().unwrap_or_default();
            let tickets = desk.tickets().filter(|ticket| filter.takes(ticket));
            let later = tickets.filter(|ticket| ticket.id.as_str() > after);
            let mut tickets: Vec<TicketView> = later
                .take(limit + 1)
                .map(|ticket| TicketView::of(ticket, desk.position(ticket), now))
                .collect();
            let more = tickets.len() > limit;
            tickets.truncate(limit);
            let last = tickets.last().filter(|_| more);
            let next_cursor = last.map(|last| last.ticket_id.clone());
            TicketPage {
                tickets,
                next_cursor,
            }
        });
        page.await
    }

    async fn list_closed(
        &self,
        filter: &TicketFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<TicketPage, DeskError> {
        let begin = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let (mut skip, mut tickets) = (begin, Vec::new());
        loop {
            let page = self.bell().store().closed_page(skip, limit).await;
            let page = page.map_err(DeskError::Store)?;
            let end = page.len() < limit;
            for ticket in page {
                skip += 1;
                if filter.takes(&ticket) {
                    tickets.push(TicketView::of(&ticket, None, 0));
                }
                if tickets.len() == limit {
                    return Ok(TicketPage {
                        tickets,
                        next_cursor: Some(skip.to_string()),
                    });
                }
            }
            if end || skip >= begin.saturating_add(CLOSED_MAX) {
                let next_cursor = (!end).then(|| skip.to_string());
                return Ok(TicketPage {
                    tickets,
                    next_cursor,
                });
            }
        }
    }

    /// A page of the agents that are known, by id, after this one.
    pub async fn agents(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<AgentPage, DeskError> {
        self.check()?;
        let page = self.bell().look(move |desk, _| {
            let later = desk
                .agents()
                .filter(|(agent, _)| after.as_ref().is_none_or(|after| agent.id > *after));
            let mut agents: Vec<AgentView> = later
                .take(limit.saturating_add(1))
                .map(|(agent, load)| AgentView::of(agent, load))
                .collect();
            let more = agents.len() > limit;
            agents.truncate(limit);
            let last = agents.last().filter(|_| more);
            AgentPage {
                next_cursor: last.map(|last| last.agent.clone()),
                agents,
            }
        });
        page.await
    }

    /// One agent.
    pub async fn agent(&self, id: &UserId) -> Result<Option<AgentView>, DeskError> {
        self.check()?;
        let id = id.clone();
        let agent = self.bell().look(move |desk, _| {
            let agent = desk.agent(&id)?;
            Some(AgentView::of(agent, desk.held_by(&id).count()))
        });
        agent.await
    }

    /// Every queue in which someone waits.
    pub async fn queues(&self) -> Result<Vec<WaitingView>, DeskError> {
        self.check()?;
        let queues = self.bell().look(|desk, now| {
            let queues: Vec<QueueView> = desk.queues();
            queues
                .iter()
                .map(|queue| WaitingView::of(queue, now))
                .collect()
        });
        queues.await
    }
}
