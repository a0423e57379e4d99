//! `Wire`: how a hook is spoken to, and everything that can go wrong with it. Deadlines and repetitions are the caller's.

use wsc_config::HookTransport;

use super::ask::{Ask, Reply};
use super::clients::HookClients;
use super::grpc::GrpcWire;
use super::http::HttpWire;
use super::plan::{HookPlan, HookPlanError};
use crate::service::Event;

/// The longest answer: a message's content may be part of it.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;

/// Why a hook did not decide or take an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HookError {
    /// It is taken to be down.
    #[error("the circuit is open")]
    Open,
    /// It took too long.
    #[error("no answer within the deadline")]
    Deadline,
    /// There was no answer.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// It answered with an error.
    #[error("answered with status {0}")]
    Status(u16),
    /// Its answer means nothing.
    #[error("the answer cannot be used: {0}")]
    Unreadable(String),
}

impl HookError {
    /// Whether it is the target that is down.
    pub(super) const fn is_down(&self) -> bool {
        match self {
            Self::Deadline | Self::Unreachable(_) => true,
            Self::Status(status) => *status >= 500,
            Self::Open | Self::Unreadable(_) => false,
        }
    }

    /// Whether another attempt at once may end better.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => *status >= 500 || *status == 429,
            Self::Open | Self::Deadline | Self::Unreadable(_) => false,
        }
    }

    /// Whether events are to be tried again.
    pub(super) const fn is_worth_repeating(&self) -> bool {
        match self {
            Self::Open | Self::Deadline => true,
            Self::Unreachable(_) | Self::Status(_) | Self::Unreadable(_) => self.is_passing(),
        }
    }
}

/// See the module.
pub(super) enum Wire {
    Http(Box<HttpWire>),
    Grpc(Box<GrpcWire>),
}

impl Wire {
    pub(super) fn new(plan: &HookPlan, clients: &HookClients) -> Result<Self, HookPlanError> {
        match plan.config().transport {
            HookTransport::Http => {
                let wire = HttpWire::new(plan, clients)?;
                Ok(Self::Http(Box::new(wire)))
            }
            HookTransport::Grpc => {
                let wire = GrpcWire::new(plan)?;
                Ok(Self::Grpc(Box::new(wire)))
            }
        }
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<Reply, HookError> {
        match self {
            Self::Http(wire) => wire.ask(ask).await,
            Self::Grpc(wire) => wire.ask(ask).await,
        }
    }

    pub(super) async fn tell(&self, events: &[Event]) -> Result<(), HookError> {
        match self {
            Self::Http(wire) => wire.tell(events).await,
            Self::Grpc(wire) => wire.tell(events).await,
        }
    }
}
