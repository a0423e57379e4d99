//! `Tickets`: customer service as the rest of the node sees it. Cheap to clone; held by sessions, the API and the tasks.
//!
//! It asks the desk, stores and delivers what is said in tickets, and knows who may read what. The tasks behind it: the
//! clerk works on the desk, the teller tells of its steps and the gleaner of what was left untold, the doorman notes agents who
//! come, the timekeeper fires what is due.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_config::WscConfig;

use super::audit::Audit;
use super::doorman::{Door, Doorman};
use super::gleaner::Gleaner;
use super::store::{DeskStore, MemoryDesk, RedisDesk};
use super::teller::Teller;
use super::timekeeper::Timekeeper;
use super::{
    Bell, Command, DeskError, Manual, Millis, Party, Policy, Record, Refusal, Reply, Ticket,
    TicketStats, clerk,
};
use crate::cluster::{Cluster, ClusterError, Rounds};
use crate::delivery::{Accepted, Delivery, Route};
use crate::hub::{Hub, unix_millis};
use crate::log::{About, AckState, Append, Awaited, MessageName, Most, Page};
use crate::protocol::{LogId, Parcel, Position, TicketId, UserId};
use crate::security::Identity;
use crate::service::Service;
use crate::time::millis;

/// Commits whose events wait for the teller.
const NEWS: usize = 4096;

/// The user type of agents.
pub const AGENT: &str = "agent";

/// See the module.
#[derive(Clone)]
pub struct Tickets(Arc<Inner>);

struct Inner {
    bell: Bell,
    policy: ArcSwap<Policy>,
    delivery: Delivery,
    door: Door,
    stats: Arc<TicketStats>,
    /// The clerk and the teller: what they have begun is brought to its end.
    desk: TaskTracker,
    ending: CancellationToken,
}

/// What the service of tickets works with.
pub struct Means {
    /// The other nodes.
    pub cluster: Cluster,
    /// Stores messages and delivers them.
    pub delivery: Delivery,
    /// Who wants to know of events.
    pub service: Arc<Service>,
}

impl Means {
    /// These.
    pub fn of(cluster: &Cluster, delivery: &Delivery, service: &Arc<Service>) -> Self {
        Self {
            cluster: cluster.clone(),
            delivery: delivery.clone(),
            service: service.clone(),
        }
    }
}

/// Something said in a ticket.
#[derive(Debug)]
pub struct Said {
    /// In which.
    pub ticket: TicketId,
    /// By whom.
    pub by: Party,
    /// The message.
    pub append: Append,
    /// Whether it is stored.
    pub durable: bool,
}

/// A ticket as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The ticket.
    pub ticket: Ticket,
    /// Its place in its queue, if it waits.
    pub position: Option<usize>,
    /// The desk's time.
    pub now: Millis,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// Starts the tasks on the current runtime. The desk is in Redis where the cluster has one, else in this process.
    pub fn start(
        config: &WscConfig,
        means: Means,
        tasks: &TaskTracker,
        running: &CancellationToken,
    ) -> Self {
        let store: Arc<dyn DeskStore> = match means.cluster.redis() {
            Some(link) => Arc::new(RedisDesk::new(&link)),
            None => Arc::new(MemoryDesk::default()),
        };
        let (sender, news) = mpsc::channel(NEWS);
        let (bell, clerk) = clerk(store, Manual::from(config), sender);
        let (door, arrivals) = Door::new();
        let tickets = Self(Arc::new(Inner {
            bell: bell.clone(),
            policy: ArcSwap::from_pointee(Policy::from(config)),
            delivery: means.delivery.clone(),
            door,
            stats: Arc::default(),
            desk: TaskTracker::new(),
            ending: running.child_token(),
        }));
        let inner = &tickets.0;
        let teller = Teller {
            tickets: tickets.clone(),
            delivery: means.delivery,
            service: means.service,
        };
        let doorman = Doorman {
            tickets: tickets.clone(),
            cluster: means.cluster.clone(),
            arrivals,
        };
        let pause = config.distributed.health_check_interval.into();
        // On memory nothing is lost on the way.
        if means.cluster.redis().is_some() {
            let mut audit = Audit::new(tickets.clone());
            let rounds = Rounds::new(means.cluster.clone(), pause);
            tasks.spawn(rounds.run(inner.ending.clone(), async move || audit.look().await));
        }
        let gleaner = Gleaner {
            teller: teller.clone(),
            cluster: means.cluster.clone(),
        };
        let timekeeper = Timekeeper::new(tickets.clone(), means.cluster);
        inner.desk.spawn(clerk.run(inner.ending.clone()));
        inner.desk.spawn(teller.run(news, running.clone()));
        tasks.spawn(gleaner.run(inner.ending.clone()));
        tasks.spawn(doorman.run(inner.ending.clone()));
        tasks.spawn(timekeeper.run(inner.ending.clone()));
        tickets
    }

    /// Ends the work on the desk: what has been begun is done and told.
    pub async fn end(&self) {
        self.0.ending.cancel();
        self.0.desk.close();
        self.0.desk.wait().await;
    }

    /// Goes by this from now on, for what is open too.
    pub fn go_by(&self, config: &WscConfig) {
        self.0.policy.store(Arc::new(Policy::from(config)));
        self.0.bell.go_by(&Manual::from(config));
    }

    /// What it goes by.
    pub fn policy(&self) -> Policy {
        **self.0.policy.load()
    }

    /// The sessions here.
    pub(super) fn hub(&self) -> &Hub {
        self.0.delivery.hub()
    }

    /// Stores messages and delivers them.
    pub(super) fn delivery(&self) -> &Delivery {
        &self.0.delivery
    }

    /// The counters.
    pub fn stats(&self) -> &TicketStats {
        &self.0.stats
    }

    /// The desk itself.
    pub fn bell(&self) -> &Bell {
        &self.0.bell
    }

    /// Has a command done.
    pub async fn ask(&self, command: Command) -> Result<Reply, DeskError> {
        self.check()?;
        self.0.bell.ask(command).await
    }

    /// Whether there is customer service here.
    pub(super) fn check(&self) -> Result<(), DeskError> {
        if self.policy().enabled {
            Ok(())
        } else {
            Err(DeskError::Off)
        }
    }

    /// A ticket, open or over.
    pub async fn find(&self, id: &TicketId) -> Result<Standing, DeskError> {
        self.check()?;
        let wanted = id.clone();
        let open = self.0.bell.look(move |desk, now| {
            let ticket = desk.ticket(&wanted)?.clone();
            let position = desk.position(&ticket);
            Some(Standing {
                ticket,
                position,
                now,
            })
        });
        if let Some(standing) = open.await? {
            return Ok(standing);
        }
        let closed = self.0.bell.store().closed(std::slice::from_ref(id)).await;
        let mut closed = closed.map_err(DeskError::Store)?;
        let ticket = closed.pop().ok_or_else(|| Refusal::NoTicket(id.clone()))?;
        Ok(Standing {
            ticket,
            position: None,
            now: unix_millis(),
        })
    }

    /// What happened to a ticket, oldest first.
    pub async fn steps(&self, id: &TicketId) -> Result<Vec<Record>, DeskError> {
        let records = self.0.bell.store().records(id).await;
        records.map_err(DeskError::Store)
    }

    /// A piece of what was said, after a place or from the beginning.
    pub async fn read(
        &self,
        log: &LogId,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page, DeskError> {
        let most = Most::messages(limit);
        let page = self.0.delivery.log().read(log, after, most).await;
        page.map_err(DeskError::Store)
    }

    /// Stores what was said and gives it to everyone in the ticket, on whatever node. `None`: it was not to be stored.
    pub async fn say(&self, said: Said) -> Result<Option<Accepted>, DeskError> {
        let Standing { ticket, .. } = self.find(&said.ticket).await?;
        check_speaker(&ticket, &said.by)?;
        let route = Route::Users(ticket.audience().into_iter().collect());
        if !said.durable {
            let parcel = Parcel::from(said.append.json);
            self.0.delivery.hand_over(&route, parcel, None).await;
            self.note_life(&ticket.id).await;
            return Ok(None);
        }
        let awaited = self.await_from(&ticket, &said).await;
        let awaited = awaited.map_err(DeskError::Store)?;
        let log = LogId::Ticket(ticket.id.clone());
        let stored = self.0.delivery.send((log, route), said.append).await;
        if let Err(ClusterError::Refused { .. } | ClusterError::ReplicaBacklog { .. }) = &stored {
            // Who is asked again has all the time that there is.
            let _due_then = self.0.delivery.log().forget(&awaited).await;
        }
        let accepted = stored.map_err(DeskError::Store)?;
        if !accepted.repeated {
            self.note_life(&ticket.id).await;
        }
        Ok(Some(accepted))
    }

    /// Somebody has said something, stored or not: the ticket is not idle.
    async fn note_life(&self, ticket: &TicketId) {
        if let Err(error) = self.0.bell.store().heard(ticket).await {
            // The ticket counts as idle for longer than it is.
            tracing::debug!(%ticket, %error, "a sign of life was not noted");
        }
    }

    /// Has the sender told which participants have not acknowledged the message in all the time that repetitions take. It is
    /// remembered before the message is stored: what is stored and not remembered would never be given up.
    async fn await_from(&self, ticket: &Ticket, said: &Said) -> Result<Vec<Awaited>, ClusterError> {
        let Some(rules) = self.policy().acks.filter(|_| said.append.ack) else {
            return Ok(Vec::new());
        };
        let mut owing = ticket.audience();
        owing.remove(said.by.id());
        let awaited = owing.into_iter().map(|user| Awaited {
            user,
            ticket: Some(ticket.id.clone()),
            message: MessageName::new(&said.append.sender, &said.append.id),
        });
        let awaited: Vec<Awaited> = awaited.collect();
        let until = unix_millis().saturating_add(millis(rules.total()));
        self.0.delivery.log().remind(&awaited, until).await?;
        Ok(awaited)
    }

    /// Takes a participant's word for a message: of an offer that the agent has it, of any other message what it says.
    pub async fn acknowledge(
        &self,
        ticket: &TicketId,
        (user, about): (&UserId, About<'_>),
        state: AckState,
    ) -> Result<(), DeskError> {
        if super::teller::is_offer(ticket, about.id) {
            let (ticket, agent) = (ticket.clone(), user.clone());
            let asked = self.ask(Command::Acknowledge { ticket, agent }).await;
            return asked.map(drop);
        }
        let Standing { ticket, .. } = self.find(ticket).await?;
        // Only who was to get it can acknowledge it.
        if !ticket.has(user) {
            let (ticket, user) = (ticket.id, user.clone());
            return Err(Refusal::NotYours { ticket, user }.into());
        }
        let log = LogId::Ticket(ticket.id);
        let noted = self.0.delivery.acknowledge(log, (user, about), state);
        noted.await.map_err(DeskError::Store)
    }

    /// Whether a user may read what was said in a ticket.
    pub async fn may_read(&self, user: &UserId, ticket: &TicketId) -> bool {
        let found = self.find(ticket).await;
        found.is_ok_and(|standing| standing.ticket.has(user))
    }

    /// How long messages of open tickets are kept for who is away; `None`: they are not, or there are no tickets.
    pub fn kept_for_the_absent(&self) -> Option<Duration> {
        let policy = self.policy();
        policy.offline.filter(|_| policy.enabled)
    }

    /// The open tickets whose messages each of these users gets, by one look at the desk.
    pub async fn open_for(&self, users: Vec<UserId>) -> Vec<Vec<TicketId>> {
        let open = self.0.bell.look(move |desk, _| {
            let of = |user: &UserId| {
                let tickets = desk.tickets_of(user);
                let with = tickets.filter(|ticket| ticket.audience().contains(user));
                with.map(|ticket| ticket.id.clone()).collect()
            };
            users.iter().map(of).collect()
        });
        open.await.unwrap_or_default()
    }

    /// The logs of these tickets, with the place from which on they are kept for who was away.
    pub async fn kept(&self, tickets: Vec<TicketId>) -> Vec<(LogId, Option<Position>)> {
        let kept = self.kept_for_the_absent().unwrap_or_default();
        let kept = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        let since = unix_millis().saturating_sub(kept);
        let mut logs = Vec::new();
        for ticket in tickets {
            let log = LogId::Ticket(ticket);
            // Unreadable now: the session reads it when it can, from the beginning.
            let place = self.0.delivery.log().since(&log, since).await;
            logs.push((log, place.unwrap_or_default()));
        }
        logs
    }

    /// A session of this identity has begun here, or has a new token: if it is an agent's, the desk will know, as soon as there
    /// are tickets.
    pub fn arrived(&self, identity: &Identity) {
        if &*identity.user_type == AGENT {
            let skills = identity.skills.as_deref().cloned();
            self.0
                .door
                .arrived(identity.user.clone(), skills.unwrap_or_default());
        }
    }
}

/// Participants may speak: the customer, and the agent who works on it. Who only watches does not, but administrators do.
fn check_speaker(ticket: &Ticket, by: &Party) -> Result<(), Refusal> {
    if ticket.is_over() {
        return Err(Refusal::NoTicket(ticket.id.clone()));
    }
    let speaks = match by {
        Party::Admin(_) => true,
        Party::User(user) => ticket.customer == *user || ticket.is_served_by(user),
    };
    if speaks {
        Ok(())
    } else {
        Err(Refusal::NotYours {
            ticket: ticket.id.clone(),
            user: by.id().clone(),
        })
    }
}

impl DeskError {
    /// Whether the store, not the request, is in the way.
    pub const fn store(&self) -> Option<&ClusterError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused(_) | Self::Busy | Self::Ended | Self::Off => None,
        }
    }
}
