//! `Door`: where a node takes streams from its peers, and the key that they show there. It is part of what the node says
//! of itself in the registry: whoever can read that may speak to it, as with pub/sub.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::tls::{Fingerprint, ListenerTls};

/// See the module.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Host and port of the gRPC listener, as peers reach it.
    pub address: String,
    /// What a peer shows, in printable ASCII.
    pub key: String,
    /// What the peer is shown, if the listener speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Fingerprint>,
}

/// A door whose certificate may change.
#[derive(Clone, Debug)]
pub struct Doorway {
    door: Door,
    tls: Option<Arc<ListenerTls>>,
}

impl Doorway {
    /// A door at this address with a new key.
    pub fn at(address: String, tls: Option<Arc<ListenerTls>>) -> Self {
        let key: [u8; 32] = rand::random();
        let door = Door {
            address,
            key: URL_SAFE_NO_PAD.encode(key),
            certificate: None,
        };
        Self { door, tls }
    }

    /// As it is now.
    pub(in crate::cluster) fn now(&self) -> Door {
        Door {
            certificate: self.tls.as_ref().map(|tls| tls.fingerprint()),
            ..self.door.clone()
        }
    }

    /// Whether this is the key, in a time that does not tell how much of it is.
    pub(super) fn opens(&self, shown: &[u8]) -> bool {
        self.door.key.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Door({})", self.address)
    }
}
