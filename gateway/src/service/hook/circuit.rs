//! `Circuit`: whether a target is taken to be down. After so many failures in a row nobody asks it for a while; then one
//! request tries it, and the others wait for what comes of that.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wsc_config::HookCircuit;

use super::wire::HookError;

/// See the module.
pub(super) struct Circuit {
    failures: u32,
    open_for: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failures in a row.
    failed: u32,
    open_until: Option<Instant>,
}

impl Circuit {
    pub(super) fn new(config: &HookCircuit) -> Self {
        Self {
            failures: config.failures,
            open_for: config.open_for.get(),
            state: Mutex::default(),
        }
    }

    /// Whether a request may be made; otherwise for how long none may.
    pub(super) fn enter(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut state = self.state.lock();
        match state.open_until {
            Some(until) if until > now => Err(until - now),
            Some(_) => {
                // This one tries. Should nothing come of it, there is another after the same time.
                state.open_until = Some(now + self.open_for);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes what came of a request: nothing, or an error.
    pub(super) fn note(&self, error: Option<&HookError>) {
        let mut state = self.state.lock();
        if !error.is_some_and(HookError::is_down) {
            *state = State::default();
            return;
        }
        state.failed = state.failed.saturating_add(1);
        if self.failures > 0 && state.failed >= self.failures {
            state.open_until = Some(Instant::now() + self.open_for);
        }
    }

    /// For how long no request may be made.
    pub(super) fn left(&self) -> Duration {
        let until = self.state.lock().open_until;
        until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.lock().open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;
    use wsc_config::Seconds;

    use super::*;

    #[tokio::test]
    async fn it_opens_after_failures_in_a_row_and_one_request_tries_it() {
        let circuit = Circuit::new(&HookCircuit {
            failures: 2,
            open_for: Seconds::from_millis(200),
        });
        let down = HookError::Deadline;
        circuit.note(Some(&down));
        circuit.note(None);
        circuit.note(Some(&down));
        assert!(circuit.enter().is_ok(), "not in a row");
        circuit.note(Some(&down));
        assert!(circuit.enter().is_err() && circuit.is_open());
        sleep(circuit.left()).await;
        assert!(circuit.enter().is_ok(), "one tries");
        assert!(circuit.enter().is_err(), "and no other");
        circuit.note(None);
        assert!(circuit.enter().is_ok() && !circuit.is_open());
    }

    #[tokio::test]
    async fn a_no_of_the_target_is_no_sign_that_it_is_down() {
        let circuit = Circuit::new(&HookCircuit {
            failures: 1,
            ..HookCircuit::default()
        });
        circuit.note(Some(&HookError::Status(404)));
        assert!(!circuit.is_open());
        circuit.note(Some(&HookError::Status(503)));
        assert!(circuit.is_open());
    }
}
