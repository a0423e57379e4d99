//! Waiting for a condition with a deadline.
//!
//! The only place that lets time pass. A probe answers with what it found or with what is missing; a failing probe (an
//! API server that restarts, a pod that is going) counts as missing, and only the deadline ends the wait.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, timeout_at};

/// How often a probe is repeated.
const PAUSE: Duration = Duration::from_millis(200);

/// What a probe found.
#[derive(Debug)]
pub enum Probe<T> {
    /// The condition holds.
    Done(T),
    /// It does not yet; the text says what there is instead.
    NotYet(String),
}

/// Answers `Done(value)` if the condition holds, else `NotYet` with the text.
pub fn done_if<T>(holds: bool, value: T, instead: impl FnOnce() -> String) -> Probe<T> {
    if holds {
        Probe::Done(value)
    } else {
        Probe::NotYet(instead())
    }
}

/// Repeats `probe` until it is done, and fails when `within` has passed, saying what was there last.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<Probe<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut last = String::from("the first look did not finish");
    let mut pace = tokio::time::interval(PAUSE);
    loop {
        match timeout_at(deadline, async {
            pace.tick().await;
            probe().await
        })
        .await
        {
            Ok(Ok(Probe::Done(value))) => return Ok(value),
            Ok(Ok(Probe::NotYet(state))) => last = state,
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => bail!("waited {within:?} for {what}; last seen: {last}"),
        }
    }
}
