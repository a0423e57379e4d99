//! `Door`: how connections come in at a listener that is not for clients: so many at a time, and of one address no more than
//! its share. Connections past the first bound wait in the kernel's queue; those past the second are closed at once.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Admission, Place};
use crate::telemetry::ApiKind;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door {
    places: Arc<Semaphore>,
    judge: Option<(Admission, ApiKind)>,
}

/// Room for one connection.
#[derive(Debug)]
pub struct Room {
    _permit: OwnedSemaphorePermit,
}

/// A connection that came in; makes room when dropped.
#[derive(Debug)]
pub struct Guest {
    _room: Room,
    _place: Option<Place>,
}

impl Door {
    /// For so many at a time, whoever they are.
    pub fn new(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            judge: None,
        }
    }

    /// The same at this API, where an address has no more than its share of them.
    #[must_use]
    pub fn judged_by(self, admission: &Admission, api: ApiKind) -> Self {
        Self {
            judge: Some((admission.clone(), api)),
            ..self
        }
    }

    /// Waits until there is room.
    pub async fn room(&self) -> Option<Room> {
        let permit = Arc::clone(&self.places).acquire_owned().await;
        let permit = permit.ok()?;
        Some(Room { _permit: permit })
    }

    /// Lets a connection from there in, unless there are too many.
    pub fn enter(&self, room: Room, peer: IpAddr) -> Option<Guest> {
        let place = match &self.judge {
            Some((admission, api)) => Some(admission.caller(*api, peer)?),
            None => None,
        };
        Some(Guest {
            _room: room,
            _place: place,
        })
    }
}
