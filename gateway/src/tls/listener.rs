//! `ListenerTls`: what one listener shows now, and `TlsListeners`: all of them, to be changed together.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use tokio_rustls::TlsAcceptor;

use super::pair::Shown;
use super::{Fingerprint, TlsPairs};
use crate::telemetry::{Instruments, Listener};

/// What one listener shows.
pub struct ListenerTls {
    shown: ArcSwap<Shown>,
    failed: Counter,
}

impl ListenerTls {
    fn new(shown: Shown, failed: Counter) -> Arc<Self> {
        let shown = ArcSwap::from_pointee(shown);
        Arc::new(Self { shown, failed })
    }

    /// Does the handshake of one connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.shown.load().config))
    }

    /// By what the certificate that it shows now is known.
    pub fn fingerprint(&self) -> Fingerprint {
        self.shown.load().fingerprint
    }

    /// Counts a handshake that came to nothing.
    pub fn failed(&self) {
        self.failed.inc();
    }
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ListenerTls").finish_non_exhaustive()
    }
}

/// What every listener shows; `None`: it speaks no TLS, for as long as it listens.
#[derive(Clone, Debug, Default)]
pub struct TlsListeners {
    /// WebSocket.
    pub ws: Option<Arc<ListenerTls>>,
    /// The HTTP API.
    pub http: Option<Arc<ListenerTls>>,
    /// The gRPC API.
    pub grpc: Option<Arc<ListenerTls>>,
}

impl TlsListeners {
    /// Shows these from the beginning.
    pub fn new(pairs: TlsPairs, instruments: &Instruments) -> Self {
        let TlsPairs { ws, http, grpc } = pairs;
        let show = |shown: Option<Shown>, listener| {
            shown.map(|shown| ListenerTls::new(shown, instruments.tls_failures(listener)))
        };
        Self {
            ws: show(ws, Listener::Ws),
            http: show(http, Listener::Http),
            grpc: show(grpc, Listener::Grpc),
        }
    }

    /// Shows these from now on. Whether a listener speaks TLS at all does not change.
    pub fn replace(&self, pairs: TlsPairs) {
        let TlsPairs { ws, http, grpc } = pairs;
        for (listener, shown) in [(&self.ws, ws), (&self.http, http), (&self.grpc, grpc)] {
            if let (Some(listener), Some(shown)) = (listener, shown) {
                listener.shown.store(Arc::new(shown));
            }
        }
    }
}
