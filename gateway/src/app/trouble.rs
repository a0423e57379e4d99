//! Tells the application, as critical, what is wrong with the gateway itself: each problem that `/readyz` names, once when it
//! comes and again when it has been gone. A problem that is gone a moment later is none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::admin::{AdminSource, Phase};
use crate::service::{Fault, Service, Severity};

/// How often it is looked; a problem is one that two looks in a row have seen.
const LOOK: Duration = Duration::from_secs(1);

/// Looks until cancelled.
pub(super) async fn watch(
    view: Arc<dyn AdminSource>,
    service: Arc<Service>,
    cancel: CancellationToken,
) {
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = sleep(LOOK) => {}
        }
        let readiness = view.readiness();
        // Who starts or leaves is not in trouble.
        let problems = match readiness.phase {
            Phase::Serving => readiness.problems,
            Phase::Starting | Phase::Draining | Phase::Stopped => Vec::new(),
        };
        for message in seen.look(problems) {
            service.fault(Fault {
                severity: Severity::Critical,
                part: part(&message).to_owned(),
                message,
                client: None,
            });
        }
    }
}

/// The parts that were in trouble at the last look, and those whose trouble was told.
#[derive(Debug, Default)]
struct Seen {
    before: BTreeSet<String>,
    told: BTreeSet<String>,
}

impl Seen {
    /// What is to be told now.
    fn look(&mut self, problems: Vec<String>) -> Vec<String> {
        let parts: BTreeSet<String> = problems.iter().map(|one| part(one).to_owned()).collect();
        self.told.retain(|told| parts.contains(told));
        let news = problems.into_iter().filter(|problem| {
            self.before.contains(part(problem)) && self.told.insert(part(problem).to_owned())
        });
        let news = news.collect();
        self.before = parts;
        news
    }
}

/// A problem's line begins with what it is about; the rest changes while it lasts.
fn part(problem: &str) -> &str {
    problem.split(':').next().unwrap_or(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_once_when_it_lasts_and_again_when_it_comes_back() {
        let mut seen = Seen::default();
        let mut look = |seconds: &[u32]| {
            let problems = seconds.iter().map(|n| format!("cluster: for {n} s"));
            seen.look(problems.collect())
        };
        assert!(look(&[1]).is_empty(), "a moment is nothing");
        assert_eq!(look(&[2]), ["cluster: for 2 s"]);
        assert!(look(&[3]).is_empty(), "once");
        assert!(look(&[]).is_empty());
        assert!(look(&[1]).is_empty());
        assert_eq!(look(&[2]), ["cluster: for 2 s"]);
    }
}
