//! `Wire`: whether the connection to the cluster's backend is there now. Written by whoever makes the connection (the
//! Redis link; memory is always there), read by everyone else, who may also say that they distrust it.

use tokio::sync::watch;
use tokio::time::Instant;

/// The connection at one moment.
#[derive(Clone, Debug)]
pub(super) struct WireState {
    /// Which connection, counted from 1; nothing: none now.
    pub(super) generation: Option<u64>,
    /// Since when there is none, or was none before this one.
    pub(super) down_since: Instant,
    /// Why the last one ended or could not be made.
    pub(super) last_error: String,
}

/// A connection somebody has lost faith in.
#[derive(Clone, Debug, Default)]
pub(super) struct Distrust {
    pub(super) generation: u64,
    pub(super) reason: String,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wire {
    state: watch::Sender<WireState>,
    distrust: watch::Sender<Distrust>,
}

impl Wire {
    /// No connection yet.
    pub(super) fn down() -> Self {
        Self::new(None)
    }

    /// A connection that cannot break.
    pub(super) fn always_up() -> Self {
        Self::new(Some(1))
    }

    fn new(generation: Option<u64>) -> Self {
        let state = WireState {
            generation,
            down_since: Instant::now(),
            last_error: "not connected yet".to_owned(),
        };
        Self {
            state: watch::Sender::new(state),
            distrust: watch::Sender::new(Distrust::default()),
        }
    }

    pub(super) fn generation(&self) -> Option<u64> {
        self.state.borrow().generation
    }

    pub(super) fn state(&self) -> WireState {
        self.state.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<WireState> {
        self.state.subscribe()
    }

    pub(super) fn connected(&self, generation: u64) {
        self.state
            .send_modify(|state| state.generation = Some(generation));
    }

    pub(super) fn lost(&self, reason: String) {
        self.state.send_modify(|state| {
            if state.generation.take().is_some() {
                state.down_since = Instant::now();
            }
            state.last_error = reason;
        });
    }

    /// The connection is there but from now on of no use.
    pub(super) fn falter(&self, reason: String) {
        self.state.send_modify(|state| {
            state.down_since = Instant::now();
            state.last_error = reason;
        });
    }

    /// Says what still keeps a connection that is there from being of use.
    pub(super) fn explain(&self, reason: String) {
        self.state.send_modify(|state| state.last_error = reason);
    }

    /// Asks for a new connection in place of `generation`; too late a complaint about an older one changes nothing.
    pub(super) fn distrust(&self, generation: u64, reason: String) {
        self.distrust.send_if_modified(|last| {
            if generation <= last.generation {
                return false;
            }
            *last = Distrust { generation, reason };
            true
        });
    }

    /// Waits until `generation` is distrusted.
    pub(super) async fn distrusted(&self, generation: u64) -> String {
        let mut distrust = self.distrust.subscribe();
        match distrust
            .wait_for(|last| last.generation >= generation)
            .await
        {
            Ok(last) => last.reason.clone(),
            Err(_) => "the link is closed".to_owned(),
        }
    }
}
