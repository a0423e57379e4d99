//! `Teller`: tells of the desk's steps: as events to the application, as messages to those in the ticket, as counts.
//!
//! What concerns everyone in a ticket is a message of the ticket's own log, so that it comes in order with what is said and
//! is there for who comes back; what concerns one agent goes to that agent alone.
//!
//! The store keeps a commit's steps until all of it is told. What this node cannot tell, or dies before it does, is told by the
//! gleaner. A step has an id made of the version that its commit made, so that telling it twice tells it once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::to_raw_value;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::gleaner::LATE;
use super::store::Version;
use super::{
    Availability, ClosedBecause, Event, News, PassedBecause, State, Step, Ticket, TicketView,
    Tickets,
};
use crate::cluster::ClusterError;
use crate::delivery::{Accepted, Delivery, Route};
use crate::log::Append;
use crate::protocol::{
    LogId, Mark, Message, MessageBody, Parcel, Priority, Sender, Start, Target, TicketId, UserId,
    json,
};
use crate::service::{Event as Told, Service};

/// How often storing a step is tried before it is left to the gleaner, and the pause between.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// What an offer's id begins with, after the ticket's.
const OFFER: &str = ":offer:";

/// Whether a message of this id asks the agent to react.
pub(super) fn is_offer(ticket: &TicketId, id: &str) -> bool {
    id.strip_prefix(ticket.as_str())
        .is_some_and(|rest| rest.starts_with(OFFER))
}

/// See the module. Cheap to clone.
#[derive(Clone)]
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

/// When it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Right after the commit, and tried a few times.
    AtOnce,
    /// When others should have. The caller tries again.
    Late,
}

/// Tickets of which something was left to the gleaner, and the last commit left. As long as that is not told, what comes
/// after it is left too, so that it stays in order.
type Left = HashMap<TicketId, Version>;

impl Teller {
    /// Tells until nothing more can come.
    pub(super) async fn run(self, mut news: mpsc::Receiver<News>, cancel: CancellationToken) {
        let mut left = Left::new();
        loop {
            let told = tokio::select! {
                biased;
                told = news.recv() => told,
                () = cancel.cancelled() => return,
            };
            let Some(news) = told else {
                return;
            };
            self.take(news, &mut left).await;
        }
    }

    async fn take(&self, news: News, left: &mut Left) {
        let News {
            version, events, ..
        } = &news;
        // It has waited for so long that somebody else may have told it.
        if news.asked.elapsed() >= LATE {
            let before = Version(version.0.saturating_sub(1));
            if let Ok(first) = self.first_untold(before).await
                && first != Some(*version)
            {
                return;
            }
        }
        if !left.is_empty()
            && let Ok(first) = self.first_untold(Version(0)).await
        {
            left.retain(|_, last| first.is_some_and(|first| first <= *last));
        }
        let waits = |ticket: &TicketId| left.contains_key(ticket);
        let untold = self.tell((*version, events), Pace::AtOnce, waits).await;
        left.extend(untold.into_iter().map(|ticket| (ticket, *version)));
    }

    async fn first_untold(&self, after: Version) -> Result<Option<Version>, ClusterError> {
        let store = self.tickets.bell().store();
        let untold = store.untold(Duration::ZERO, (after, 1)).await?;
        Ok(untold.first().map(|untold| untold.version))
    }

    /// Tells all of a commit but what waits for something earlier, and notes that it is told. The tickets of which something
    /// was not told: it stays untold as a whole then. Whoever is told of something twice knows it by its id.
    pub(super) async fn tell(
        &self,
        (version, events): (Version, &[Event]),
        pace: Pace,
        waits: impl Fn(&TicketId) -> bool,
    ) -> HashSet<TicketId> {
        let name = |place: usize| format!("{}.{place}", version.0);
        let mut untold = HashSet::new();
        for (place, event) in events.iter().enumerate() {
            let Event::Ticket { at, step, ticket } = event else {
                continue;
            };
            if waits(&ticket.id) || untold.contains(&ticket.id) {
                untold.insert(ticket.id.clone());
                continue;
            }
            let name = name(place);
            let sent = self.send((*at, step), ticket, (&name, pace));
            if let Err(error) = sent.await {
                let ticket = &ticket.id;
                tracing::warn!(%ticket, %error, "a step of a ticket was not stored; it is tried again");
                untold.insert(ticket.clone());
            }
        }
        if !untold.is_empty() {
            return untold;
        }
        for (place, event) in events.iter().enumerate() {
            match event {
                Event::Agent { at, is, agent } => self.emit_agent((*at, *is), agent, &name(place)),
                Event::Ticket { at, step, ticket } => {
                    self.tickets.stats().count(step);
                    self.emit((*at, step), ticket, &name(place));
                }
            }
        }
        if let Err(error) = self.tickets.bell().store().told(version).await {
            // It is told once more, under the same ids.
            tracing::debug!(%error, version = version.0, "it was not noted that a commit is told");
        }
        untold
    }

    fn emit_agent(&self, (at, is): (u64, Availability), agent: &super::Agent, step: &str) {
        let name = match is {
            Availability::Online => "agent.online",
            Availability::Away => "agent.away",
            Availability::Offline => "agent.offline",
        };
        if self.service.wants(name) {
            let data = serde_json::json!({ "skills": agent.skills, "max": agent.max });
            let event = told((name, at), agent.id.as_str(), step, data);
            self.service.emit(&event);
        }
    }

    fn emit(&self, (at, step): (u64, &Step), ticket: &Ticket, id: &str) {
        let name = format!("ticket.{}", step.as_str());
        let timed_out = timed_out(step);
        for name in std::iter::once(name.as_str()).chain(timed_out.map(|_| "ticket.timed_out")) {
            if self.service.wants(name) {
                let mut data = data(at, step, ticket);
                if let (Some(what), Some(fields)) = (timed_out, data.as_object_mut()) {
                    fields.insert("timeout".to_owned(), what.into());
                }
                let event = told((name, at), ticket.id.as_str(), id, data);
                self.service.emit(&event);
            }
        }
    }

    /// Sends the message of a step to those concerned.
    async fn send(
        &self,
        (at, step): (u64, &Step),
        ticket: &Ticket,
        (name, pace): (&str, Pace),
    ) -> Result<(), ClusterError> {
        let log = LogId::Ticket(ticket.id.clone());
        let id = match step {
            Step::Offered { .. } | Step::Reminded { .. } => format!("{}{OFFER}{name}", ticket.id),
            _ => format!("{}:{name}", ticket.id),
        };
        let json = frame(&id, (at, step), ticket);
        let mut users = ticket.audience();
        let newcomer = match audience(step) {
            Audience::Nobody => return Ok(()),
            Audience::Agent(agent) => {
                if pace == Pace::Late && !self.is_true_still(step, ticket).await {
                    return Ok(());
                }
                let route = Route::Users(vec![agent]);
                self.delivery.hand_over(&route, json.into(), None).await;
                return Ok(());
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
            return Ok(());
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
        let accepted = self.store(&log, &route, (append, pace)).await?;
        if let Some(newcomer) = newcomer {
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
        Ok(())
    }

    async fn store(
        &self,
        log: &LogId,
        route: &Route,
        (append, pace): (Append, Pace),
    ) -> Result<Accepted, ClusterError> {
        let mut left = match pace {
            Pace::AtOnce => ATTEMPTS,
            Pace::Late => 1,
        };
        loop {
            left -= 1;
            let to = (log.clone(), route.clone());
            match self.delivery.send(to, append.clone()).await {
                Err(error) if left > 0 => {
                    tracing::debug!(%log, id = append.id, %error, "a step of a ticket was not stored yet");
                    sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Whether an agent is to be asked still: an offer may be another's by now. Anything else stays true.
    async fn is_true_still(&self, step: &Step, ticket: &Ticket) -> bool {
        let (Step::Offered { agent, .. } | Step::Reminded { agent, .. }) = step else {
            return true;
        };
        let (id, agent) = (ticket.id.clone(), agent.clone());
        let offered = self.tickets.bell().look(move |desk, _| {
            let state = desk.ticket(&id).map(|ticket| &ticket.state);
            matches!(state, Some(State::Offered(offer)) if offer.agent == agent)
        });
        // Asked in vain an agent is told so; not asked it would lose the ticket.
        offered.await.unwrap_or(true)
    }
}

/// What the application is told of a step: under the same id, however often.
fn told((name, at): (&str, u64), subject: &str, step: &str, data: serde_json::Value) -> Told {
    Told {
        id: format!("{subject}:{step}/{name}"),
        time: at,
        ..Told::now(name, Some(subject), data)
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
