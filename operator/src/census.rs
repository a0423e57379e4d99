//! The census: how many connections each gateway pod holds, asked from its admin port.
//!
//! A round every ten seconds, apart from reconciles, so that a pod that does not answer delays none. A round wakes a
//! gateway's reconcile only when its numbers changed enough to be worth a write. Runs on the leader only.

mod counts;
mod scrape;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::metrics::Metrics;
use crate::stores::{PodView, Stores};
use crate::watch::Concern;

pub use counts::{Counts, Phase, PodCount, RedisLink};

/// From one round to the next.
const EVERY: Duration = Duration::from_secs(10);

/// How many pods are asked at a time: a thousand silent ones take a minute, not an hour, and not a thousand sockets.
const AT_A_TIME: usize = 32;

/// A difference too small to be worth a write is written after so long all the same.
const AT_LEAST_EVERY: Duration = Duration::from_mins(1);

/// How many rounds a pod may miss before it counts as silent.
const MISSED_ROUNDS: u8 = 2;

struct Published {
    counts: Counts,
    at: Instant,
}

/// The numbers that statuses are made of, by namespace and gateway.
#[derive(Default)]
pub struct Census(Mutex<HashMap<(String, String), Published>>);

impl Census {
    /// The numbers of one gateway; `None` when its pods have not been asked since this operator began.
    pub fn counts(&self, namespace: &str, name: &str) -> Option<Counts> {
        let key = (namespace.to_owned(), name.to_owned());
        let published = self.0.lock();
        published
            .get(&key)
            .map(|published| published.counts.clone())
    }

    /// Forgets a gateway.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.0
            .lock()
            .remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Takes new numbers; says whether they are worth a look.
    pub fn publish(&self, key: &(String, String), counts: Counts, now: Instant) -> bool {
        let mut published = self.0.lock();
        // The first answer is always news, also when no pod gave one: until then the last status' numbers stand.
        if let Some(known) = published.get(key)
            && (known.counts == counts
                || !(now - known.at >= AT_LEAST_EVERY || counts.differs_much_from(&known.counts)))
        {
            return false;
        }
        published.insert(key.clone(), Published { counts, at: now });
        true
    }
}

/// What the rounds need.
pub struct Rounds {
    /// Where pods are found.
    pub stores: Stores,
    /// Where numbers go.
    pub census: Arc<Census>,
    /// Whom to wake.
    pub concerns: mpsc::Sender<Concern>,
    /// Numbers for monitoring.
    pub metrics: Arc<Metrics>,
}

impl Rounds {
    /// Goes round until the token says stop.
    pub async fn run(self, token: CancellationToken) {
        let mut last: HashMap<(String, String), Counts> = HashMap::new();
        loop {
            let jitter = rand::random_range(0.9..1.1);
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(EVERY.mul_f64(jitter)) => {}
            }
            let round = self.round(&mut last);
            tokio::select! {
                () = token.cancelled() => return,
                () = round => {}
            }
        }
    }

    async fn round(&self, last: &mut HashMap<(String, String), Counts>) {
        let groups = self.stores.pods().groups();
        let asked: Vec<_> = groups
            .into_iter()
            .flat_map(|key| {
                self.gateways(&key)
                    .into_iter()
                    .map(move |pod| (key.clone(), pod))
            })
            .collect();
        let answers: Vec<_> = stream::iter(asked)
            .map(|(key, pod)| async move {
                let answer = scrape::status(&pod).await;
                (key, pod, answer)
            })
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        let mut found: HashMap<(String, String), Counts> = HashMap::new();
        for (key, pod, answer) in answers {
            let before = last.get(&key).and_then(|counts| counts.get(&pod.name));
            let count = match answer {
                Ok(count) => Some(count),
                Err(error) => {
                    self.metrics.scrape_failed();
                    debug!(pod = pod.name, %error, "a gateway did not say how many connections it has");
                    before.and_then(|before| before.missed_once_more(MISSED_ROUNDS))
                }
            };
            let counts = found.entry(key).or_default();
            if let Some(count) = count {
                counts.insert(pod.name.clone(), count);
            }
        }
        // A gateway whose last pod went has nothing to say any more; what it said must not stand.
        for key in last.keys() {
            found.entry(key.clone()).or_default();
        }
        *last = found;
        for (key, counts) in &*last {
            if self.census.publish(key, counts.clone(), Instant::now()) {
                let concern = Concern::Gateway {
                    namespace: key.0.clone(),
                    name: key.1.clone(),
                };
                if self.concerns.send(concern).await.is_err() {
                    return;
                }
            }
        }
        last.retain(|_, counts| !counts.is_empty());
    }

    /// The pods that can be asked: also those that are not ready, which may be draining.
    fn gateways(&self, (namespace, gateway): &(String, String)) -> Vec<Arc<PodView>> {
        let mut pods = self.stores.pods().group(namespace, gateway);
        pods.retain(|pod| pod.has_gateway() && !pod.finished && pod.ip.is_some());
        pods
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(connections: i64) -> Counts {
        let mut counts = Counts::default();
        counts.insert(
            "chat-1".to_owned(),
            PodCount::new(connections, Phase::Serving, RedisLink::Up),
        );
        counts
    }

    #[test]
    fn small_changes_of_large_numbers_wait_and_then_are_told() {
        let census = Census::default();
        let key = ("default".to_owned(), "chat".to_owned());
        let start = Instant::now();
        assert!(census.publish(&key, counts(10_000), start));
        assert!(!census.publish(&key, counts(10_000), start + AT_LEAST_EVERY));
        assert!(!census.publish(&key, counts(10_001), start + Duration::from_secs(10)));
        assert!(census.publish(&key, counts(10_200), start + Duration::from_secs(20)));
        assert!(census.publish(&key, counts(10_201), start + Duration::from_secs(81)));
    }

    #[test]
    fn few_connections_are_counted_exactly() {
        let census = Census::default();
        let key = ("default".to_owned(), "chat".to_owned());
        assert!(census.publish(&key, counts(2), Instant::now()));
        assert!(census.publish(&key, counts(3), Instant::now()));
        let counted = census.counts("default", "chat").unwrap();
        assert_eq!(counted.connections("chat-1"), 3);
    }

    #[test]
    fn pods_that_were_asked_and_said_nothing_are_told_apart_from_pods_not_asked_yet() {
        let census = Census::default();
        let key = ("default".to_owned(), "chat".to_owned());
        assert!(census.counts("default", "chat").is_none());
        assert!(census.publish(&key, Counts::default(), Instant::now()));
        assert!(census.counts("default", "chat").unwrap().is_empty());
        assert!(!census.publish(&key, Counts::default(), Instant::now()));
    }
}
