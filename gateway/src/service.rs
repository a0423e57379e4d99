//! Extension points: where an application takes part without a line of the gateway changed.
//!
//! In process: callbacks, interceptors and event handlers, gathered in [`Extensions`] before the start. [`Service`] is
//! what the running gateway asks. Whatever decides (a client that connects, a message) is awaited under a deadline by the
//! one connection concerned; whatever only hears of things (sent, disconnected, errors, events) has a bounded queue of its
//! own and never holds up traffic. With nothing registered every question is one test of a flag.

mod callbacks;
mod client;
mod doorkeeper;
mod event;
mod extensions;
mod fault;
mod gatekeeper;
mod hook;
mod hooks;
mod interceptor;
mod lane;
mod live;
mod message;
mod outbound;
mod rejection;
mod run;
mod stats;

pub use client::{Attributes, Client, ClientInfo};
pub use doorkeeper::Doorkeeper;
pub use event::{Event, EventFilter, EventFilterError};
pub use extensions::{Extensions, MiddlewareStack};
pub use fault::{Fault, Severity};
pub use gatekeeper::{Admission, Gatekeeper};
pub use hook::{Hook, HookGround, HookPlan, HookPlanError, HookStats};
pub use hooks::HookDesk;
pub use interceptor::{Interceptor, Next};
pub use lane::LaneStats;
pub use message::{Answer, Incoming, Sent, Verdict};
pub use outbound::{Outbound, OutboundError};
pub use rejection::Rejection;
pub use run::{Service, ServiceStats};
pub use stats::Statistics;
