//! Tickets, their steps, agents and queues as generated messages. Pure.

use wsc_proto::v1;

use super::convert::count;
use crate::ticket::{AgentView, Record, Step, TicketView, WaitingView};

pub(super) fn ticket(view: TicketView) -> v1::Ticket {
    let TicketView {
        ticket_id,
        customer,
        status,
        agent,
        queue,
        skills,
        priority,
        subject,
        opened_at,
        position,
        waited_ms,
        transfers,
        observers,
        closed_at,
        closed_by,
        reason,
    } = view;
    v1::Ticket {
        ticket_id,
        customer,
        status: status.to_owned(),
        agent: agent.unwrap_or_default(),
        queue,
        skills,
        priority: priority.to_owned(),
        subject: subject.unwrap_or_default(),
        opened_at,
        position: position.map(count).unwrap_or_default(),
        waited_ms: waited_ms.unwrap_or_default(),
        transfers,
        observers,
        closed_at: closed_at.unwrap_or_default(),
        closed_by: closed_by.unwrap_or_default(),
        reason: reason.unwrap_or_default().to_owned(),
    }
}

pub(super) fn agent(view: AgentView) -> v1::Agent {
    let AgentView {
        agent,
        status,
        connected,
        skills,
        tickets,
        max,
        gone_since,
    } = view;
    v1::Agent {
        agent,
        status: status.to_owned(),
        connected,
        skills,
        tickets: count(tickets),
        max,
        gone_since: gone_since.unwrap_or_default(),
    }
}

pub(super) fn queue(view: WaitingView) -> v1::Queue {
    let WaitingView {
        queue,
        skills,
        length,
        longest_wait_ms,
    } = view;
    v1::Queue {
        queue,
        skills,
        length: count(length),
        longest_wait_ms,
    }
}

pub(super) fn step(
    Record {
        ticket: _,
        at,
        step,
    }: Record,
) -> v1::TicketStep {
    let mut told = v1::TicketStep {
        at,
        step: step.as_str().to_owned(),
        ..v1::TicketStep::default()
    };
    match step {
        Step::Opened { customer, queue } => {
            told.customer = customer.to_string();
            told.queue = queue.to_string();
        }
        Step::Queued {
            queue,
            position,
            until,
        } => {
            told.queue = queue.to_string();
            told.position = count(position);
            told.until = until;
        }
        Step::Offered {
            agent,
            until,
            waited,
        } => {
            told.agent = agent.to_string();
            told.until = until;
            told.waited_ms = waited;
        }
        Step::Reminded {
            agent,
            attempt,
            until,
        } => {
            told.agent = agent.to_string();
            told.attempt = attempt;
            told.until = until;
        }
        Step::Acknowledged { agent } | Step::Accepted { agent } => told.agent = agent.to_string(),
        Step::PassedOn { agent, because } => {
            told.agent = agent.to_string();
            because.as_str().clone_into(&mut told.because);
        }
        Step::Transferred {
            by,
            from,
            agent,
            queue,
        } => {
            let text = |id: Option<crate::protocol::UserId>| id.map(|id| id.to_string());
            told.by = by.to_string();
            told.from = text(from).unwrap_or_default();
            told.agent = text(agent).unwrap_or_default();
            told.queue = queue.map(|queue| queue.to_string()).unwrap_or_default();
        }
        Step::Joined { user } | Step::Left { user } => told.user = user.to_string(),
        Step::Closed { by, because } => {
            told.by = by.map(|by| by.to_string()).unwrap_or_default();
            because.as_str().clone_into(&mut told.because);
        }
    }
    told
}
