//! `Outbound`: how extensions send. Made before the start, so that callbacks can hold it; it works once the gateway runs.

use std::sync::{Arc, OnceLock};

use crate::api::{ApiMessage, MessageService, ServiceError};
use crate::protocol::{IdError, UserId};

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub struct Outbound(Arc<OnceLock<Arc<dyn MessageService>>>);

impl std::fmt::Debug for Outbound {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Outbound")
            .field("runs", &self.0.get().is_some())
            .finish()
    }
}

/// Why an extension's message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The gateway has not started yet.
    #[error("the gateway does not run yet")]
    NotRunning,
    /// The recipient cannot be.
    #[error("recipient")]
    Recipient(#[from] IdError),
    /// It was tried.
    #[error("send")]
    Service(#[from] ServiceError),
}

impl Outbound {
    /// All calls of the API, on behalf of the application itself; `None` before the start.
    pub fn service(&self) -> Option<&Arc<dyn MessageService>> {
        self.0.get()
    }

    /// Sends a message to every session of a user.
    pub async fn send(&self, user: &str, message: ApiMessage) -> Result<(), OutboundError> {
        let service = self.0.get().ok_or(OutboundError::NotRunning)?;
        service.send(vec![UserId::new(user)?], message).await?;
        Ok(())
    }

    /// Sends a message to every session of the cluster.
    pub async fn broadcast(&self, message: ApiMessage) -> Result<(), OutboundError> {
        let service = self.0.get().ok_or(OutboundError::NotRunning)?;
        service.broadcast(message).await?;
        Ok(())
    }

    /// From here on it works. A second call changes nothing.
    pub(crate) fn connect(&self, service: Arc<dyn MessageService>) {
        self.0.get_or_init(|| service);
    }
}
