//! Thousands of random histories of one desk against the model. A failure prints its seed.

use std::collections::BTreeMap;

use wsc_gateway::protocol::TicketId;
use wsc_gateway::ticket::{Command, Desk, Field, Moment, Rules};

use super::chance::Chance;
use super::model::Model;

const HISTORIES: u64 = 2000;
const STEPS: usize = 60;

struct History {
    seed: u64,
    chance: Chance,
    rules: Rules,
    desk: Desk,
    model: Model,
    heard: BTreeMap<TicketId, u64>,
    now: u64,
}

impl History {
    fn of(seed: u64) -> Self {
        let mut chance = Chance::of(seed);
        let rules = chance.rules();
        Self {
            seed,
            chance,
            rules,
            desk: Desk::default(),
            model: Model::default(),
            heard: BTreeMap::new(),
            now: 1_000_000,
        }
    }

    fn apply(&mut self, command: &Command) {
        let moment = Moment {
            now: self.now,
            roll: rand::RngExt::random(&mut self.chance.dice),
        };
        // Writing out the whole desk is slow: now and then is often enough.
        let looks = self.chance.one_in(4);
        let before = looks.then(|| format!("{:?}", self.desk));
        let result = self.desk.apply(command, moment, &self.rules);
        let changes = self.desk.changes().clone();
        if result.is_err() || self.chance.one_in(8) {
            self.desk.undo();
            let after = looks.then(|| format!("{:?}", self.desk));
            assert_eq!(before, after, "undone, or refused: {command:?}");
            if result.is_err() {
                assert!(
                    changes.is_empty(),
                    "{command:?} was refused and changed something"
                );
            }
            return;
        }
        self.desk.take_changes();
        self.model.take(&changes.events, &self.rules);
        self.model.compare(&self.desk);
        Model::check_nothing_waits_in_vain(&self.desk, &self.rules);
        // What a store would give back is the same desk.
        for field in changes.fields().filter(|_| looks) {
            let text = self.desk.write(field, &self.rules);
            let now = format!("{:?}", self.desk);
            self.desk
                .read(field, text.as_ref().map(|(text, _)| text.as_str()));
            assert_eq!(
                now,
                format!("{:?}", self.desk),
                "{field} does not survive the store"
            );
        }
    }

    /// Everything that is due, in any order, and again until nothing is.
    fn fire(&mut self) {
        for _ in 0..20 {
            let tickets = self
                .desk
                .tickets()
                .map(|ticket| Field::Ticket(ticket.id.clone()));
            let agents = self
                .desk
                .agents()
                .map(|(agent, _)| Field::Agent(agent.id.clone()));
            let fields: Vec<Field> = tickets.chain(agents).collect();
            let due = |field: &Field| {
                let written = self.desk.write(field, &self.rules);
                written
                    .and_then(|(_, due)| due)
                    .is_some_and(|due| due <= self.now)
            };
            let due: Vec<Field> = fields.into_iter().filter(due).collect();
            if due.is_empty() {
                let at = (&self.rules, self.now);
                return self
                    .model
                    .check_nothing_is_overdue(&self.desk, at, &self.heard);
            }
            for field in due {
                let heard = match &field {
                    Field::Ticket(id) => self.heard.get(id).copied(),
                    Field::Agent(_) | Field::Number => None,
                };
                self.apply(&Command::Fire { field, heard });
            }
        }
        // An eighth of all steps is undone: twenty rounds are enough by far.
        panic!("things stay due");
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            match rand::RngExt::random_range(&mut self.chance.dice, 0..10) {
                0 => self.now += rand::RngExt::random_range(&mut self.chance.dice, 1..60),
                1 => {
                    let ticket = self.chance.ticket();
                    self.heard.insert(ticket, self.now);
                }
                2 => {
                    // Too early, for nothing, or twice: harmless.
                    let ticket = Field::Ticket(self.chance.ticket());
                    let agent = Field::Agent(self.chance.agent());
                    let field = self.chance.pick(&[ticket, agent]);
                    self.apply(&Command::Fire { field, heard: None });
                }
                _ => {
                    let command = self.chance.command();
                    self.apply(&command);
                }
            }
            if !self.chance.one_in(4) {
                self.fire();
            }
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} with {:?}", self.seed, self.rules);
        }
    }
}

#[test]
fn no_random_history_breaks_a_promise() {
    let mut closed = 0;
    let mut opened = 0;
    for seed in 0..HISTORIES {
        let mut history = History::of(seed);
        history.run();
        closed += history.model.closed.len();
        opened += history.model.closed.len() + history.model.tickets.len();
    }
    // Else the histories would not have been about anything.
    assert!(opened > 10_000 && closed > 1_500, "{closed} of {opened}");
}
