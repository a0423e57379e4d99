//! One test a rule: what each key of `wsc.ticket` means for the desk, step by step.

use std::time::Duration;

use wsc_config::{AssignStrategy, TicketConfig};
use wsc_gateway::protocol::{Priority, TicketId, UserId};
use wsc_gateway::ticket::{
    Availability, ClosedBecause, Command, Desk, Event, Field, Moment, NewTicket, Party,
    PassedBecause, Queue, Refusal, Reply, Rules, State, Step, TransferTo,
};

struct Bench {
    desk: Desk,
    rules: Rules,
    now: u64,
    roll: u64,
    steps: Vec<Step>,
    /// Bytes that a store would have to write for the last step.
    written: usize,
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn id(name: &str) -> TicketId {
    TicketId::new(name).unwrap()
}

impl Bench {
    fn new(change: impl FnOnce(TicketConfig) -> TicketConfig) -> Self {
        Self {
            desk: Desk::default(),
            rules: Rules::from(&change(TicketConfig::default())),
            now: 1_000_000,
            roll: 0,
            steps: Vec::new(),
            written: 0,
        }
    }

    fn apply(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let moment = Moment {
            now: self.now,
            roll: self.roll,
        };
        let done = self.desk.apply(command, moment, &self.rules);
        let fields = self.desk.changes().fields();
        let texts = fields.filter_map(|field| self.desk.write(field, &self.rules));
        self.written = texts.map(|(text, _)| text.len()).sum();
        let events = self.desk.take_changes().events;
        self.steps
            .extend(events.into_iter().filter_map(|event| match event {
                Event::Ticket { step, .. } => Some(step),
                Event::Agent { .. } => None,
            }));
        done
    }

    fn agent(&mut self, name: &str, skills: &[&str]) {
        let agent = user(name);
        let skills = Some(Queue::of(skills).unwrap());
        let status = Command::Status {
            agent: agent.clone(),
            availability: None,
            skills,
            max: None,
        };
        self.apply(&status).unwrap();
        let connected = true;
        self.apply(&Command::Presence { agent, connected }).unwrap();
    }

    fn open(&mut self, name: &str, skills: &[&str]) -> Result<Reply, Refusal> {
        self.apply(&Command::Open(NewTicket {
            id: id(name),
            customer: user("alice"),
            queue: Queue::of(skills).unwrap(),
            priority: Priority::Normal,
            subject: None,
        }))
    }

    fn accept(&mut self, ticket: &str, agent: &str) {
        let by = Party::User(user(agent));
        let (ticket, agent) = (Some(id(ticket)), user(agent));
        self.apply(&Command::Accept { ticket, agent, by }).unwrap();
    }

    fn transfer(&mut self, ticket: &str, to: TransferTo) -> Result<Reply, Refusal> {
        let (ticket, by) = (id(ticket), Party::Admin(user("boss")));
        self.apply(&Command::Transfer { ticket, by, to })
    }

    /// Time goes by, and what is due is fired once.
    fn after(&mut self, seconds: u64) {
        self.now += seconds * 1000;
        let tickets = self.desk.tickets().map(|t| Field::Ticket(t.id.clone()));
        let agents = self.desk.agents().map(|(a, _)| Field::Agent(a.id.clone()));
        let fields: Vec<Field> = tickets.chain(agents).collect();
        for field in fields {
            self.apply(&Command::Fire { field, heard: None }).unwrap();
        }
    }

    fn state(&self, ticket: &str) -> Option<State> {
        Some(self.desk.ticket(&id(ticket))?.state.clone())
    }

    /// Who has it, offered or active.
    fn with(&self, ticket: &str) -> Option<String> {
        let agent = self.desk.ticket(&id(ticket))?.agent()?;
        Some(agent.to_string())
    }

    fn passed(&self) -> Vec<PassedBecause> {
        let because = |step: &Step| match step {
            Step::PassedOn { because, .. } => Some(*because),
            _ => None,
        };
        self.steps.iter().filter_map(because).collect()
    }

    fn closed(&self) -> Vec<ClosedBecause> {
        let because = |step: &Step| match step {
            Step::Closed { because, .. } => Some(*because),
            _ => None,
        };
        self.steps.iter().filter_map(because).collect()
    }
}

#[test]
fn an_agent_has_at_most_max_tickets_per_agent() {
    let mut bench = Bench::new(|config| config.with_max_tickets_per_agent(2u32));
    bench.agent("ann", &[]);
    for ticket in ["t1", "t2", "t3"] {
        bench.open(ticket, &[]).unwrap();
    }
    assert_eq!(bench.with("t2").as_deref(), Some("ann"));
    assert_eq!(bench.state("t3"), Some(State::Waiting));
    let by = Party::Admin(user("boss"));
    let taken = bench.apply(&Command::Accept {
        ticket: Some(id("t3")),
        agent: user("ann"),
        by,
    });
    let (agent, tickets) = (user("ann"), 2);
    assert_eq!(taken, Err(Refusal::Full { agent, tickets }));
}

#[test]
fn without_auto_assign_a_ticket_waits_until_it_is_taken() {
    let mut bench = Bench::new(|config| config.with_auto_assign(false));
    bench.agent("ann", &[]);
    bench.open("t1", &[]).unwrap();
    assert_eq!(bench.state("t1"), Some(State::Waiting));
    bench.accept("t1", "ann");
    assert_eq!(bench.with("t1").as_deref(), Some("ann"));
}

#[test]
fn load_balance_picks_the_least_loaded_whatever_they_can() {
    let mut bench = Bench::new(|config| config.with_assign_strategy(AssignStrategy::LoadBalance));
    bench.agent("ann", &["a"]);
    bench.open("t1", &["a"]).unwrap();
    bench.agent("ben", &[]);
    bench.open("t2", &["a"]).unwrap();
    assert_eq!(bench.with("t2").as_deref(), Some("ben"));
}

#[test]
fn skill_based_picks_among_those_who_can() {
    let mut bench = Bench::new(|config| config.with_assign_strategy(AssignStrategy::SkillBased));
    bench.agent("ann", &["a", "b"]);
    bench.open("t1", &["a", "b"]).unwrap();
    bench.agent("ben", &[]);
    bench.open("t2", &["a"]).unwrap();
    assert_eq!(bench.with("t2").as_deref(), Some("ann"));
    bench.open("t3", &["c"]).unwrap();
    assert_eq!(bench.state("t3"), Some(State::Waiting));
}

#[test]
fn random_picks_by_the_dice() {
    let mut bench = Bench::new(|config| config.with_assign_strategy(AssignStrategy::Random));
    bench.agent("ann", &[]);
    bench.agent("ben", &[]);
    bench.roll = 1;
    bench.open("t1", &[]).unwrap();
    bench.open("t2", &[]).unwrap();
    assert_eq!(
        (bench.with("t1"), bench.with("t2")),
        (Some("ben".into()), Some("ben".into()))
    );
    bench.roll = 4;
    bench.open("t3", &[]).unwrap();
    assert_eq!(bench.with("t3").as_deref(), Some("ann"));
}

#[test]
fn a_ticket_that_is_idle_past_ticket_timeout_is_closed() {
    let timeout = wsc_config::Seconds::from(Duration::from_secs(100));
    let mut bench = Bench::new(|config| config.with_ticket_timeout(timeout));
    bench.agent("ann", &[]);
    bench.open("t1", &[]).unwrap();
    bench.accept("t1", "ann");
    bench.after(99);
    assert_eq!(bench.with("t1").as_deref(), Some("ann"));
    // Something was said half a minute ago.
    let field = Field::Ticket(id("t1"));
    let heard = Some(bench.now - 30_000);
    bench.now += 1000;
    bench.apply(&Command::Fire { field, heard }).unwrap();
    assert_eq!(bench.with("t1").as_deref(), Some("ann"));
    bench.after(70);
    assert_eq!(bench.closed(), [ClosedBecause::Idle]);
}

#[test]
fn without_queueing_a_ticket_that_finds_no_agent_is_refused() {
    let mut bench = Bench::new(|config| config.with_enable_queueing(false));
    assert_eq!(
        bench.open("t1", &[]),
        Err(Refusal::NoAgent(Queue::default()))
    );
    bench.agent("ann", &[]);
    bench.open("t1", &[]).unwrap();
    assert_eq!(bench.with("t1").as_deref(), Some("ann"));
}

#[test]
fn who_waits_longer_than_queue_timeout_is_told_so() {
    let timeout = wsc_config::Seconds::from(Duration::from_secs(20));
    let mut bench = Bench::new(|config| config.with_queue_timeout(timeout));
    bench.open("t1", &[]).unwrap();
    bench.after(19);
    assert_eq!(bench.state("t1"), Some(State::Waiting));
    bench.after(1);
    assert_eq!(bench.closed(), [ClosedBecause::QueueTimeout]);
}

#[test]
fn an_agent_that_does_not_react_within_notify_timeout_loses_the_ticket() {
    // With and without news of the offer having arrived: the limit on reacting is the same.
    for acknowledges in [true, false] {
        let timeout = wsc_config::Seconds::from(Duration::from_secs(10));
        let mut bench = Bench::new(|config| {
            let config = config.with_notify_timeout(timeout);
            config.with_enable_ack(acknowledges)
        });
        bench.agent("ann", &[]);
        bench.open("t1", &[]).unwrap();
        if acknowledges {
            let (ticket, agent) = (id("t1"), user("ann"));
            bench
                .apply(&Command::Acknowledge { ticket, agent })
                .unwrap();
        }
        bench.agent("ben", &[]);
        bench.after(9);
        assert_eq!(bench.with("t1").as_deref(), Some("ann"));
        bench.after(1);
        assert_eq!(bench.with("t1").as_deref(), Some("ben"));
        assert_eq!(bench.passed(), [PassedBecause::NoReaction]);
    }
}

#[test]
fn an_offer_that_is_not_acknowledged_is_told_again_so_often_and_then_passed_on() {
    let timeout = wsc_config::Seconds::from(Duration::from_secs(2));
    let mut bench = Bench::new(|config| config.with_ack_timeout(timeout).with_max_retry(2u32));
    bench.agent("ann", &[]);
    bench.open("t1", &[]).unwrap();
    bench.agent("ben", &[]);
    bench.after(1);
    assert!(
        bench.passed().is_empty() && bench.steps.len() == 2,
        "{:?}",
        bench.steps
    );
    for attempt in 1..=2 {
        bench.after(2);
        let told = matches!(bench.steps.last(), Some(Step::Reminded { attempt: at, .. }) if *at == attempt);
        assert!(told, "{:?}", bench.steps);
    }
    bench.after(2);
    assert_eq!(bench.passed(), [PassedBecause::Unacknowledged]);
    assert_eq!(bench.with("t1").as_deref(), Some("ben"));
}

#[test]
fn without_enable_transfer_nothing_is_transferred() {
    let mut bench = Bench::new(|config| config.with_enable_transfer(false));
    bench.agent("ann", &[]);
    bench.open("t1", &[]).unwrap();
    bench.agent("ben", &[]);
    let to = || TransferTo::Agent(user("ben"));
    assert_eq!(bench.transfer("t1", to()), Err(Refusal::TransferOff));
    bench = Bench::new(|config| config);
    bench.agent("ann", &[]);
    bench.open("t1", &[]).unwrap();
    bench.agent("ben", &[]);
    bench.transfer("t1", to()).unwrap();
    assert_eq!(bench.with("t1").as_deref(), Some("ben"));
}

#[test]
fn a_ticket_is_transferred_at_most_transfer_max_times() {
    let mut bench = Bench::new(|config| config.with_transfer_max_times(2u32));
    bench.agent("ann", &[]);
    bench.open("t1", &[]).unwrap();
    bench.agent("ben", &[]);
    bench
        .transfer("t1", TransferTo::Agent(user("ben")))
        .unwrap();
    bench
        .transfer("t1", TransferTo::Queue(Queue::default()))
        .unwrap();
    let refused = bench.transfer("t1", TransferTo::Agent(user("ben")));
    let (ticket, times) = (id("t1"), 2);
    assert_eq!(refused, Err(Refusal::TransferredEnough { ticket, times }));
}

#[test]
fn who_goes_keeps_the_tickets_for_the_grace_and_who_is_back_for_good() {
    for is_back in [true, false] {
        let mut bench = Bench::new(|config| config);
        bench.agent("ann", &[]);
        bench.open("t1", &[]).unwrap();
        bench.accept("t1", "ann");
        bench.agent("ben", &[]);
        let agent = user("ann");
        let connected = false;
        bench
            .apply(&Command::Presence { agent, connected })
            .unwrap();
        bench.after(29);
        assert_eq!(bench.with("t1").as_deref(), Some("ann"), "within the grace");
        if is_back {
            bench.agent("ann", &[]);
        }
        bench.after(1);
        let holder = if is_back { "ann" } else { "ben" };
        assert_eq!(bench.with("t1").as_deref(), Some(holder));
    }
}

#[test]
fn who_is_away_keeps_what_it_has_and_takes_no_more() {
    let mut bench = Bench::new(|config| config);
    bench.agent("ann", &[]);
    bench.open("t1", &[]).unwrap();
    bench.accept("t1", "ann");
    let away = Command::Status {
        agent: user("ann"),
        availability: Some(Availability::Away),
        skills: None,
        max: None,
    };
    bench.apply(&away).unwrap();
    bench.open("t2", &[]).unwrap();
    assert_eq!(bench.state("t2"), Some(State::Waiting));
    bench.after(200);
    assert_eq!(bench.with("t1").as_deref(), Some("ann"));
}

#[test]
fn the_first_come_is_the_first_served_within_skill_and_priority() {
    let mut bench = Bench::new(|config| {
        let config = config.with_assign_strategy(AssignStrategy::SkillBased);
        config.with_max_tickets_per_agent(2u32)
    });
    bench.open("other-skill", &["b"]).unwrap();
    bench.open("first", &["a"]).unwrap();
    bench.open("second", &["a"]).unwrap();
    let urgent = NewTicket {
        id: id("urgent"),
        customer: user("bob"),
        queue: Queue::of(["a"]).unwrap(),
        priority: Priority::High,
        subject: None,
    };
    bench.apply(&Command::Open(urgent)).unwrap();
    let position = |bench: &Bench, name| {
        let ticket = bench.desk.ticket(&id(name)).unwrap();
        bench.desk.position(ticket)
    };
    assert_eq!(position(&bench, "second"), Some(3));
    bench.agent("ann", &["a"]);
    let held = |name| bench.with(name);
    assert_eq!(
        (held("urgent"), held("first")),
        (Some("ann".into()), Some("ann".into()))
    );
    assert_eq!((held("second"), held("other-skill")), (None, None));
    assert_eq!(position(&bench, "second"), Some(1));
}

/// What one value for the whole desk costs, at the size of a large service.
#[test]
fn a_desk_of_five_thousand_tickets_and_two_hundred_agents_stays_small() {
    let mut bench = Bench::new(|config| {
        let config = config.with_assign_strategy(AssignStrategy::SkillBased);
        config.with_max_tickets_per_agent(5u32)
    });
    for agent in 0..200 {
        bench.agent(&format!("agent-{agent}"), &["a"]);
    }
    let open = |bench: &mut Bench, n: usize| {
        bench.apply(&Command::Open(NewTicket {
            id: id(&format!("0193b0f4-7c5e-7d3e-8a56-{n:012}")),
            customer: user(&format!("customer-{}", n % 1000)),
            queue: Queue::of([if n.is_multiple_of(2) { "a" } else { "b" }]).unwrap(),
            priority: Priority::Normal,
            subject: Some("where is my order".into()),
        }))
    };
    for n in 0..5000 {
        open(&mut bench, n).unwrap();
    }
    let texts = bench.desk.tickets().map(|ticket| {
        let field = Field::Ticket(ticket.id.clone());
        bench.desk.write(&field, &bench.rules).unwrap().0.len()
    });
    let texts: Vec<usize> = texts.collect();
    let (tickets, bytes) = (texts.len(), texts.iter().sum::<usize>());
    let waiting = bench.desk.waiting().count();
    let began = std::time::Instant::now();
    for n in 5000..5100 {
        open(&mut bench, n).unwrap();
    }
    let opening = began.elapsed() / 100;
    let busy = bench.desk.tickets().find(|ticket| ticket.agent().is_some());
    let busy = busy.unwrap().id.clone();
    let began = std::time::Instant::now();
    let by = Party::Admin(user("boss"));
    bench.apply(&Command::Close { ticket: busy, by }).unwrap();
    let closing = began.elapsed();
    eprintln!(
        "{tickets} tickets, {waiting} wait, {bytes} bytes; opening {opening:?}, closing {closing:?}"
    );
    assert!(bytes < 4 << 20, "{bytes} bytes");
    // A step writes what it changed, however much there is.
    open(&mut bench, 9999).unwrap();
    assert!(
        bench.written < 4096,
        "{} bytes in one commit",
        bench.written
    );
}
