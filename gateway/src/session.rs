//! A session: the authenticated state behind one connection. Decisions are pure ([`decide`]), what waits to be written is
//! bounded ([`Outbox`]); sockets belong to `transport`, indexes and timers to `hub`.

mod cursors;
mod debts;
pub mod decide;
pub mod liveness;
mod outbox;
mod rank;

pub use cursors::{Cursors, Meet};
pub use debts::{Debt, Debts};
pub use outbox::{
    Flushed, Frame, Gather, Limits, Outbox, OverflowPolicy, Pushed, QueuePool, TryWrite,
};
pub use rank::{OVERTAKEN_MAX, Rank, Waiting};
