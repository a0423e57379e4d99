//! `Teller`: tells of the desk's steps: as events to the application, as messages to those in the ticket, as counts.
//!
//! What concerns everyone in a ticket is a message of the ticket's own log, so that it comes in order with what is said and
//! is there for who comes back; what concerns one agent goes to that agent alone. A step has an id made of the version that
//! it made, so that telling it twice tells it once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::to_raw_value;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Availability, ClosedBecause, Event, News, PassedBecause, Step, Ticket, TicketView, Tickets,
};
use crate::delivery::{Accepted, Delivery, Route};
use crate::log::Append;
use crate::protocol::{
    LogId, Mark, Message, MessageBody, Parcel, Priority, Sender, Start, Target, TicketId, UserId,
    json,
};
use crate::service::{Event as Told, Service};

/// How often storing a step is tried, and the pause between: the desk could be reached a moment ago.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// What an offer's id begins with, after the ticket's.
const OFFER: &str = ":offer:";

/// Whether a message of this id asks the agent to react.
pub(super) fn is_offer(ticket: &TicketId, id: &str) -> bool {
    id.strip_prefix(ticket.as_str())
        .is_some_and(|rest| rest.starts_with(OFFER))
}

/// See the module.
pub(super) struct Teller {
    pub(super) tickets: Tickets,
    pub(super) delivery: Delivery,
    pub(super) service: Arc<Service>,
}

/// Who hears of a step.
enum Audience {
    /// Everyone in the ticket, and who comes in reads what was before.
    All {
        newcomer: Option<UserId>,
    },
    /// The agent who had it too.
    AllAnd(UserId),
    /// One agent, at once and not kept.
    Agent(UserId),
    Nobody,
}

impl Teller {
    /// Tells until nothing more can come.
    pub(super) async fn run(self, mut news: mpsc::Receiver<News>, cancel: CancellationToken) {
        loop {
            let told = tokio::select! {
                biased;
                told = news.recv() => told,
                () = cancel.cancelled() => return,
            };
            let Some(News { version, events }) = told else {
                return;
            };
            for (at, event) in events.into_iter().enumerate() {
                let name = format!("{}.{at}", version.0);
                match event {
                    Event::Agent { is, agent, .. } => self.emit_agent(is, &agent),
                    Event::Ticket { at, step, ticket } => {
                        self.tickets.stats().count(&step);
                        self.emit(at, &step, &ticket);
                        self.tell((at, &step), &ticket, &name).await;
                    }
                }
            }
        }
    }

    fn emit_agent(&self, is: Availability, agent: &super::Agent) {
        let name = match is {
            Availability::Online => "agent.online",
            Availability::Away => "agent.away",
            Availability::Offline => "agent.offline",
        };
        if self.service.wants(name) {
            let data = serde_json::json!({ "skills": agent.skills, "max": agent.max });
            let event = Told::now(name, Some(agent.id.as_str()), data);
            self.service.emit(&event);
        }
    }

    fn emit(&self, at: u64, step: &Step, ticket: &Ticket) {
        let name = format!("ticket.{}", step.as_str());
        let timed_out = timed_out(step);
        for name in std::iter::once(name.as_str()).chain(timed_out.map(|_| "ticket.timed_out")) {
            if self.service.wants(name) {
                let mut data = data(at, step, ticket);
                if let (Some(what), Some(fields)) = (timed_out, data.as_object_mut()) {
                    fields.insert("timeout".to_owned(), what.into());
                }
                let event = Told::now(name, Some(ticket.id.as_str()), data);
                self.service.emit(&event);
            }
        }
    }

    async fn tell(&self, (at, step): (u64, &Step), ticket: &Ticket, name: &str) {
        let log = LogId::Ticket(ticket.id.clone());
        let id = match step {
            Step::Offered { .. } | Step::Reminded { .. } => format!("{}{OFFER}{name}", ticket.id),
            _ => format!("{}:{name}", ticket.id),
        };
        let json = frame(&id, (at, step), ticket);
        let mut users = ticket.audience();
        let newcomer = match audience(step) {
            Audience::Nobody => return,
            Audience::Agent(agent) => {
                let route = Route::Users(vec![agent]);
                self.delivery.hand_over(&route, json.into(), None).await;
                return;
            }
            Audience::AllAnd(agent) => {
                users.insert(agent);
                None
            }
            Audience::All { newcomer } => newcomer,
        };
        if let Some(newcomer) = &newcomer {
            users.remove(newcomer);
        }
        let route = Route::Users(users.into_iter().collect());
        if !self.tickets.policy().stores {
            let everyone = Route::Users(ticket.audience().into_iter().collect());
            self.delivery.hand_over(&everyone, json.into(), None).await;
            return;
        }
        let append = Append {
            id,
            sender: "system".to_owned(),
            own_id: true,
            json: json.clone(),
            at,
            ack: false,
            trace: None,
        };
        if let (Some(accepted), Some(newcomer)) = (self.store(&log, &route, append).await, newcomer)
        {
            let mark = Mark {
                log,
                position: accepted.position,
                ack: None,
                start: Start::Beginning,
            };
            let parcel = Parcel {
                json,
                mark: Some(mark),
                trace: None,
            };
            let route = Route::Users(vec![newcomer]);
            self.delivery.hand_over(&route, parcel, None).await;
        }
    }

    async fn store(&self, log: &LogId, route: &Route, append: Append) -> Option<Accepted> {
        for attempt in 1..=ATTEMPTS {
            let to = (log.clone(), route.clone());
            match self.delivery.send(to, append.clone()).await {
                Ok(accepted) => return Some(accepted),
                Err(error) => {
                    tracing::warn!(%log, id = append.id, attempt, %error, "a step of a ticket was not stored");
                }
            }
            sleep(PAUSE).await;
        }
        None
    }
}

fn audience(step: &Step) -> Audience {
    match step {
        Step::Offered { agent, .. }
        | Step::Reminded { agent, .. }
        | Step::PassedOn { agent, .. } => Audience::Agent(agent.clone()),
        Step::Acknowledged { .. } => Audience::Nobody,
        Step::Accepted { agent: user } | Step::Joined { user } => Audience::All {
            newcomer: Some(user.clone()),
        },
        Step::Transferred {
            from: Some(user), ..
        }
        | Step::Left { user } => Audience::AllAnd(user.clone()),
        Step::Transferred { from: None, .. }
        | Step::Opened { .. }
        | Step::Queued { .. }
        | Step::Closed { .. } => Audience::All { newcomer: None },
    }
}

/// Which time ran out, if one did.
const fn timed_out(step: &Step) -> Option<&'static str> {
    match step {
        Step::Closed {
            because: ClosedBecause::Idle,
            ..
        } => Some("ticketTimeout"),
        Step::Closed {
            because: ClosedBecause::QueueTimeout,
            ..
        } => Some("queueTimeout"),
        Step::PassedOn {
            because: PassedBecause::NoReaction,
            ..
        } => Some("notifyTimeout"),
        Step::PassedOn {
            because: PassedBecause::Unacknowledged,
            ..
        } => Some("ackTimeout"),
        _ => None,
    }
}

/// What happened, and the ticket after it.
fn data(at: u64, step: &Step, ticket: &Ticket) -> serde_json::Value {
    // Strings and numbers only: it cannot fail.
    let mut data = serde_json::to_value(step).unwrap_or_default();
    if let Some(fields) = data.as_object_mut() {
        let view = TicketView::of(ticket, None, at);
        fields.insert("at".to_owned(), at.into());
        fields.insert(
            "ticket".to_owned(),
            serde_json::to_value(view).unwrap_or_default(),
        );
    }
    data
}

fn frame(id: &str, (at, step): (u64, &Step), ticket: &Ticket) -> Bytes {
    let data = to_raw_value(&data(at, step, ticket)).ok();
    let kind = format!("ticket.{}", step.as_str());
    let message = Message {
        target: &Target::Ticket(ticket.id.clone()),
        sender: Sender {
            id: "system",
            kind: "system",
            seq: 0,
        },
        id,
        create_at: at,
        body: MessageBody {
            kind: &kind,
            id: None,
            content: None,
            data: data.as_deref(),
            priority: Priority::Normal,
            reply_to: None,
            durable: None,
            require_ack: matches!(step, Step::Offered { .. } | Step::Reminded { .. }),
        },
    };
    let mut json = Vec::with_capacity(512);
    json::write_message(&message, &mut json);
    json.into()
}
