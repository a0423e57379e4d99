//! What operators see of the process from outside: metrics and logs.
//!
//! Every metric's name is in `metrics`, every rule about what may be logged in `logs`. Nothing here decides anything;
//! tokens, keys and contents of messages never come this way. Called by the composition root once, at the start.

mod collector;
mod logs;
mod metrics;
mod sampled;
mod slow;
pub mod traces;

pub use collector::{MetricsSource, NodeState};
pub use logs::{LogError, LogHandle, LogSettings, init_logs};
pub use metrics::{
    ApiCall, ApiKind, ApiMethod, ApiOutcome, BuildInfo, FetchOutcome, Instruments, Limit, Listener,
    Metrics, ReloadOutcome,
};
