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
        // A probe that never waits is never timed out.
        if Instant::now() > deadline {
            bail!("waited {within:?} for {what}; last seen: {last}");
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[tokio::test]
    async fn a_wait_ends_with_what_the_probe_found() {
        let mut looks = 0;
        let found = until("three looks", Duration::from_secs(10), async || {
            looks += 1;
            Ok(done_if(looks == 3, looks, || format!("{looks} looks")))
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_timeout_says_what_was_there_instead_even_if_the_probe_failed() {
        let waited = until("a pod", Duration::from_millis(10), async || {
            Err::<Probe<()>, _>(anyhow!("no route"))
        });
        let said = waited.await.unwrap_err().to_string();
        assert!(
            said.contains("a pod") && said.contains("no route"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_given_up_at_the_deadline() {
        let waited = until("an answer", Duration::from_millis(10), async || {
            std::future::pending::<Result<Probe<()>>>().await
        });
        assert!(waited.await.is_err());
    }
}
