//! Random histories: names, rules and commands from a seed.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use wsc_config::AssignStrategy;
use wsc_gateway::protocol::{Priority, TicketId, UserId};
use wsc_gateway::ticket::{
    Availability, Command, NewTicket, Party, Queue, Reminders, Rules, TransferTo,
};

pub struct Chance {
    pub dice: StdRng,
    pub agents: u32,
    pub tickets: u32,
    /// Which caller this is, of how many: each opens tickets of its own and meddles with everybody's.
    pub caller: (usize, usize),
    /// Whether tickets are opened anew, too.
    pub repeats: bool,
}

impl Chance {
    pub fn of(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let agents = dice.random_range(1..5);
        Self {
            dice,
            agents,
            tickets: 0,
            caller: (0, 1),
            repeats: false,
        }
    }

    pub fn one_in(&mut self, of: u32) -> bool {
        self.dice.random_range(0..of) == 0
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.dice.random_range(0..of.len())].clone()
    }

    pub fn rules(&mut self) -> Rules {
        let auto_assign = !self.one_in(6);
        Rules {
            max_tickets_per_agent: self.dice.random_range(1..4),
            auto_assign,
            assign_strategy: self.pick(&[
                AssignStrategy::LoadBalance,
                AssignStrategy::Random,
                AssignStrategy::SkillBased,
            ]),
            ticket_timeout: 300,
            enable_queueing: !auto_assign || !self.one_in(5),
            queue_timeout: 200,
            notify_timeout: 40,
            agent_grace: self.pick(&[0, 25]),
            transfers: (!self.one_in(5)).then_some(2),
            reminders: (!self.one_in(3)).then_some(Reminders {
                timeout: 10,
                most: 2,
            }),
        }
    }

    pub fn agent(&mut self) -> UserId {
        let agent = self.dice.random_range(0..self.agents);
        UserId::new(&format!("agent-{agent}")).unwrap()
    }

    fn customer(&mut self) -> UserId {
        let customer = self.dice.random_range(0..4);
        UserId::new(&format!("customer-{customer}")).unwrap()
    }

    pub fn ticket(&mut self) -> TicketId {
        // Mostly one of the last: those are open.
        let last = self.tickets.saturating_sub(12);
        let ticket = self.dice.random_range(last..=self.tickets);
        let of = self.dice.random_range(0..self.caller.1);
        name(of, ticket)
    }

    /// One that was never opened or, where that is asked for, one that may have been, and be over.
    fn new_ticket(&mut self) -> TicketId {
        if self.repeats && self.one_in(4) {
            return self.ticket();
        }
        self.tickets += 1;
        name(self.caller.0, self.tickets)
    }

    fn queue(&mut self) -> Queue {
        let skills: &[&str] = self.pick(&[&[][..], &["a"], &["b"], &["a", "b"]]);
        Queue::of(skills).unwrap()
    }

    fn party(&mut self) -> Party {
        match self.dice.random_range(0..8) {
            0 => Party::Admin(UserId::new("admin").unwrap()),
            1 => Party::User(self.customer()),
            _ => Party::User(self.agent()),
        }
    }

    /// A command that may or may not make sense.
    pub fn command(&mut self) -> Command {
        match self.dice.random_range(0..22) {
            0..=4 => Command::Open(NewTicket {
                id: self.new_ticket(),
                customer: self.customer(),
                queue: self.queue(),
                priority: self.pick(&[Priority::Normal, Priority::Normal, Priority::High]),
                subject: None,
            }),
            5..=8 => {
                let agent = self.agent();
                let by = if self.one_in(6) {
                    self.party()
                } else {
                    Party::User(agent.clone())
                };
                let ticket = (!self.one_in(4)).then(|| self.ticket());
                Command::Accept { ticket, agent, by }
            }
            9 | 10 => Command::Decline {
                ticket: self.ticket(),
                by: self.party(),
            },
            11 => Command::Acknowledge {
                ticket: self.ticket(),
                agent: self.agent(),
            },
            12 | 13 => {
                let to = if self.one_in(2) {
                    TransferTo::Agent(self.agent())
                } else {
                    TransferTo::Queue(self.queue())
                };
                Command::Transfer {
                    ticket: self.ticket(),
                    by: self.party(),
                    to,
                }
            }
            14 | 15 => Command::Close {
                ticket: self.ticket(),
                by: self.party(),
            },
            16 => Command::Join {
                ticket: self.ticket(),
                user: self.customer(),
            },
            17 => Command::Leave {
                ticket: self.ticket(),
                user: self.customer(),
            },
            18 => {
                let availability = [
                    Availability::Online,
                    Availability::Away,
                    Availability::Offline,
                ];
                Command::Status {
                    agent: self.agent(),
                    availability: (!self.one_in(3)).then(|| self.pick(&availability)),
                    skills: self.one_in(2).then(|| self.queue()),
                    max: self.one_in(6).then(|| self.dice.random_range(0..4)),
                }
            }
            _ => Command::Presence {
                agent: self.agent(),
                connected: !self.one_in(4),
            },
        }
    }
}

fn name(caller: usize, ticket: u32) -> TicketId {
    TicketId::new(&format!("ticket-{caller}-{ticket:04}")).unwrap()
}
