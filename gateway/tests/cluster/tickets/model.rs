//! A plain model of the desk: what the events say, one after the other, and whether each was allowed. It shares no code
//! with the desk; it knows the rules as prose.

use std::collections::{BTreeMap, BTreeSet};

use wsc_config::AssignStrategy;
use wsc_gateway::protocol::{Priority, TicketId, UserId};
use wsc_gateway::ticket::{
    Agent, Availability, Desk, Event, PassedBecause, Queue, Rules, State, Step, Ticket,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Waiting,
    Offered(UserId),
    Active(UserId),
}

#[derive(Clone, Debug)]
pub struct Known {
    pub place: Place,
    pub queue: Queue,
    pub priority: Priority,
    pub order: usize,
    pub transfers: u32,
    pub waiting_since: u64,
    /// Since when it is where it is.
    pub since: u64,
    /// Who has passed it and may not have been forgiven: nobody has to be offered what is in here.
    passed: BTreeSet<UserId>,
    /// Who has passed it and cannot have been forgiven: nobody may be offered what is in here.
    shunned: BTreeSet<UserId>,
    /// It was handed to one agent by name: nobody was first there.
    directed: bool,
}

impl Known {
    fn pass(&mut self, agent: &UserId, because: PassedBecause, (now, rules): (u64, &Rules)) {
        let overdue = now >= self.since.saturating_add(rules.notify_timeout);
        match because {
            PassedBecause::NoReaction => assert!(overdue, "too early from {agent}"),
            PassedBecause::Unacknowledged => assert!(rules.reminders.is_some() && !overdue),
            PassedBecause::Declined | PassedBecause::AgentGone => {}
        }
        self.place = Place::Waiting;
        if because == PassedBecause::AgentGone {
            self.waiting_since = now;
            self.passed.clear();
            self.shunned.clear();
        } else {
            self.passed.insert(agent.clone());
            self.shunned.insert(agent.clone());
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub tickets: BTreeMap<TicketId, Known>,
    pub closed: BTreeSet<TicketId>,
    agents: BTreeMap<UserId, Agent>,
    opened: usize,
}

impl Model {
    pub fn load(&self, agent: &UserId) -> usize {
        let holds = |known: &&Known| match &known.place {
            Place::Offered(holder) | Place::Active(holder) => holder == agent,
            Place::Waiting => false,
        };
        self.tickets.values().filter(holds).count()
    }

    /// Takes the events of one commit, in order.
    pub fn take(&mut self, events: &[Event], rules: &Rules) {
        for (at, event) in events.iter().enumerate() {
            match event {
                Event::Agent { agent, is, .. } => {
                    if *is == Availability::Online {
                        for known in self.tickets.values_mut() {
                            known.shunned.remove(&agent.id);
                        }
                    }
                    self.agents.insert(agent.id.clone(), (**agent).clone());
                }
                Event::Ticket {
                    at: time,
                    step,
                    ticket,
                } => {
                    // Who takes a ticket by its id is served out of order by its own wish.
                    let taken = matches!(
                        events.get(at + 1),
                        Some(Event::Ticket { step: Step::Accepted { .. }, ticket: next, .. })
                            if next.id == ticket.id
                    );
                    self.step(step, ticket, *time, (rules, taken));
                }
            }
        }
    }

    fn step(&mut self, step: &Step, ticket: &Ticket, now: u64, (rules, taken): (&Rules, bool)) {
        let id = &ticket.id;
        assert!(!self.closed.contains(id), "{id}: {step:?} after its end");
        if let Step::Opened { queue, .. } = step {
            self.opened += 1;
            let known = Known {
                place: Place::Waiting,
                queue: queue.clone(),
                priority: ticket.priority,
                order: self.opened,
                transfers: 0,
                waiting_since: now,
                since: now,
                passed: BTreeSet::new(),
                shunned: BTreeSet::new(),
                directed: false,
            };
            let twice = self.tickets.insert(id.clone(), known);
            assert!(twice.is_none(), "{id} was opened twice");
            return;
        }
        if let Step::Offered { agent, .. } = step {
            self.check_offer(id, agent, rules, taken);
        }
        let known = self.tickets.get_mut(id).expect("it was opened");
        let place = known.place.clone();
        let holds = |agent: &UserId| {
            place == Place::Offered(agent.clone()) || place == Place::Active(agent.clone())
        };
        match step {
            Step::Opened { .. } | Step::Joined { .. } | Step::Left { .. } => {}
            Step::Queued { queue, .. } => {
                assert_eq!((&place, queue), (&Place::Waiting, &known.queue), "{id}");
            }
            Step::Offered { agent, .. } => {
                assert_eq!(place, Place::Waiting, "{id} offered to {agent}");
                known.place = Place::Offered(agent.clone());
                known.since = now;
                known.directed = false;
            }
            Step::Reminded { agent, .. } | Step::Acknowledged { agent } => {
                assert_eq!(place, Place::Offered(agent.clone()), "{id}: {step:?}");
            }
            Step::Accepted { agent } => {
                assert_eq!(place, Place::Offered(agent.clone()), "{id} accepted");
                known.place = Place::Active(agent.clone());
                known.since = now;
            }
            Step::PassedOn { agent, because } => {
                assert!(holds(agent), "{id} was with {place:?}, not {agent}");
                known.pass(agent, *because, (now, rules));
            }
            Step::Transferred {
                from, agent, queue, ..
            } => {
                assert!(
                    from.as_ref().map_or(place == Place::Waiting, holds),
                    "{id} from {from:?}"
                );
                known.transfers += 1;
                let most = rules.transfers.expect("transfers are on");
                assert!(known.transfers <= most, "{id} was transferred too often");
                known.place = Place::Waiting;
                known.waiting_since = now;
                known.passed = from
                    .clone()
                    .into_iter()
                    .filter(|_| queue.is_some())
                    .collect();
                known.shunned.clone_from(&known.passed);
                known.directed = agent.is_some();
                known.queue = queue.clone().unwrap_or_else(|| known.queue.clone());
            }
            Step::Closed { .. } => {
                self.tickets.remove(id);
                self.closed.insert(id.clone());
                // Closing shows that the agent works: what it let pass may come again.
                if let Place::Active(agent) = place {
                    for known in self.tickets.values_mut() {
                        // What is with somebody else just then is not meant.
                        if known.place == Place::Waiting {
                            known.passed.remove(&agent);
                        }
                        known.shunned.remove(&agent);
                    }
                }
            }
        }
    }

    fn check_offer(&self, id: &TicketId, to: &UserId, rules: &Rules, taken: bool) {
        let offered = &self.tickets[id];
        let agent = self
            .agents
            .get(to)
            .unwrap_or_else(|| panic!("{to} is nobody"));
        assert_eq!(agent.is(), Availability::Online, "{id} offered to {to}");
        let most = rules
            .max_tickets_per_agent
            .min(agent.max.map_or(usize::MAX, |max| max as usize));
        assert!(
            self.load(to) < most,
            "{id}: {to} has {} of {most}",
            self.load(to)
        );
        if offered.directed || taken {
            return;
        }
        let able = |queue: &Queue| {
            rules.assign_strategy != AssignStrategy::SkillBased
                || queue.skills().is_subset(agent.skills.skills())
        };
        assert!(
            able(&offered.queue),
            "{id}: {to} cannot do {}",
            offered.queue
        );
        assert!(!offered.shunned.contains(to), "{id} was passed by {to}");
        let first = |known: &Known| (std::cmp::Reverse(known.priority), known.order);
        for (other, known) in &self.tickets {
            let earlier = known.place == Place::Waiting
                && !known.directed
                && first(known) < first(offered)
                && able(&known.queue)
                && !known.passed.contains(to);
            assert!(!earlier, "{id} was offered to {to} before {other}");
        }
    }

    /// The desk must be where its events say.
    pub fn compare(&self, desk: &Desk) {
        let there: Vec<_> = desk
            .tickets()
            .map(|ticket| {
                let place = match &ticket.state {
                    State::Waiting => Place::Waiting,
                    State::Offered(offer) => Place::Offered(offer.agent.clone()),
                    State::Active { agent, .. } => Place::Active(agent.clone()),
                    State::Closed { .. } => panic!("{} is closed and on the desk", ticket.id),
                };
                (
                    ticket.id.clone(),
                    place,
                    ticket.queue.clone(),
                    ticket.transfers,
                )
            })
            .collect();
        let here: Vec<_> = self
            .tickets
            .iter()
            .map(|(id, known)| {
                let Known {
                    place,
                    queue,
                    transfers,
                    ..
                } = known.clone();
                (id.clone(), place, queue, transfers)
            })
            .collect();
        assert_eq!(there, here, "the desk and its events differ");
        for (agent, load) in desk.agents() {
            assert_eq!(load, self.load(&agent.id), "the load of {}", agent.id);
            assert_eq!(
                Some(agent),
                self.agents
                    .get(&agent.id)
                    .map(|known| Agent {
                        last_offer: agent.last_offer,
                        ..known.clone()
                    })
                    .as_ref(),
                "what is known of {}",
                agent.id
            );
        }
    }

    /// Nothing waits that a free agent could be offered.
    pub fn check_nothing_waits_in_vain(desk: &Desk, rules: &Rules) {
        if !rules.auto_assign {
            return;
        }
        for ticket in desk.waiting() {
            assert!(
                rules.enable_queueing,
                "{} waits where nothing waits",
                ticket.id
            );
            for (agent, load) in desk.agents() {
                let most = agent.capacity(rules.max_tickets_per_agent);
                let could = agent.is() == Availability::Online
                    && load < most
                    && !ticket.passed.contains(&agent.id)
                    && (rules.assign_strategy != AssignStrategy::SkillBased
                        || ticket.queue.skills().is_subset(agent.skills.skills()));
                assert!(!could, "{} waits although {} is free", ticket.id, agent.id);
            }
        }
    }

    /// After everything due has been fired, nothing is overdue. `heard`: the last message of each ticket.
    pub fn check_nothing_is_overdue(
        &self,
        desk: &Desk,
        (rules, now): (&Rules, u64),
        heard: &BTreeMap<TicketId, u64>,
    ) {
        for (id, known) in &self.tickets {
            let (since, patience) = match known.place {
                Place::Waiting => (known.waiting_since, rules.queue_timeout),
                Place::Offered(_) => (known.since, rules.notify_timeout),
                Place::Active(_) => {
                    let heard = heard.get(id).copied().unwrap_or_default();
                    (known.since.max(heard), rules.ticket_timeout)
                }
            };
            assert!(
                now < since + patience,
                "{id} is overdue in {:?}",
                known.place
            );
        }
        for (agent, load) in desk.agents() {
            if let Some(gone) = agent.gone_since {
                let kept = now < gone + rules.agent_grace || load == 0;
                assert!(kept, "{} is gone and has {load} tickets", agent.id);
            }
        }
    }
}
