//! What operators see of the process from outside: metrics and logs.
//!
//! Every metric's name is in `metrics`, every rule about what may be logged in `logs`. Nothing here decides anything;
//! tokens, keys and contents of messages never come this way. Called by the composition root once, at the start.

mod api_call;
mod collector;
mod label;
mod logs;
mod metrics;
mod sampled;
mod slow;
mod stores;
pub mod traces;
mod words;

pub use api_call::{ApiCall, ApiKind, ApiMethod, ApiOutcome};
pub use collector::{MetricsSource, NodeState};
pub use logs::{LogError, LogHandle, LogSettings, init_logs};
pub use metrics::{BuildInfo, Instruments, Metrics};
pub use stores::{EtcdCall, RedisPart, StoreTimes};
pub use words::{FetchOutcome, Limit, Listener, ReloadOutcome};
