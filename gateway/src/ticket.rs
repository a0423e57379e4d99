//! Customer service: tickets, the agents they are given to, and the queues in which they wait.
//!
//! [`Desk`] is the whole of it as one pure value: a command, the time and the rules give a new state, events and due times,
//! or a refusal that leaves everything as it was. Every node holds a copy; nothing but a commit of [`store`] makes a step
//! real, and a commit succeeds only on the version that the step was worked out on. So there is one logic, in one place,
//! and no two nodes can give a ticket to two agents.

mod agent;
mod audit;
mod bell;
mod call;
mod clerk;
mod command;
mod desk;
mod doorman;
mod event;
mod gleaner;
mod list;
mod policy;
mod refusal;
mod rules;
mod skill;
mod stats;
pub mod store;
mod teller;
#[allow(clippy::module_inception)] // one noun a file, and this is the module's own
mod ticket;
mod tickets;
mod timekeeper;
mod view;

pub use agent::{Agent, Availability};
pub use bell::Bell;
pub use call::CallError;
pub use clerk::{Clerk, ClerkStats, DeskError, Manual, News, clerk};
pub use command::{Command, NewTicket, Party, TransferTo};
pub use desk::{Changes, Desk, Field, Moment, QueueView, Reply};
pub use event::{Event, PassedBecause, Record, Step};
pub use list::{AgentPage, TicketFilter, TicketPage};
pub use policy::Policy;
pub use refusal::Refusal;
pub use rules::{Reminders, Rules};
pub use skill::{Queue, Skill, SkillError};
pub use stats::{DeskCounts, TicketStats, WAITED};
pub use ticket::{ClosedBecause, Offer, State, Ticket};
pub use tickets::{AGENT, Means, Said, Standing, Tickets};
pub use view::{AgentView, TicketView, WaitingView};

/// Wall-clock time of the desk in Unix milliseconds: the store's clock, the same for all nodes.
pub type Millis = u64;
