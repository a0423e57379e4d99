//! The census: how many connections each gateway pod holds, asked from its admin port.
//!
//! A round every five seconds, apart from reconciles, so that a pod that does not answer delays none. A round wakes a
//! gateway's reconcile only when its numbers changed enough to be worth a write; what autoscalers are told (`Reading`) is
//! always that of the last round. Runs on every replica, see `counting`.

mod counts;
mod problems;
mod reading;
mod scrape;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::metrics::Metrics;
use crate::stores::{PodView, Stores};
use crate::watch::{Concern, Concerns};

pub use counts::{Counts, Phase, PodCount, RedisLink};
pub use problems::Problem;
pub use reading::{Named, Reading, Readings, Unknown};

/// From one round to the next: what a gateway says of its Redis is to be in the status within ten seconds.
const EVERY: Duration = Duration::from_secs(5);

/// How many pods are asked at a time: a thousand silent ones take a minute, not an hour, and not a thousand sockets.
const AT_A_TIME: usize = 32;

/// A difference too small to be worth a write is written after so long all the same.
const AT_LEAST_EVERY: Duration = Duration::from_mins(1);

/// How many rounds a pod may miss before it counts as silent.
const MISSED_ROUNDS: u8 = 2;

struct Published {
    counts: Counts,
    at: Instant,
    /// What the last round said, worth a look or not.
    latest: Counts,
}

/// The numbers that statuses are made of, and those that autoscalers are told, by namespace and gateway.
#[derive(Default)]
pub struct Census {
    published: Mutex<HashMap<(String, String), Published>>,
    readings: Mutex<Readings>,
}

impl Census {
    /// The numbers of one gateway; `None` when its pods have not been asked since this operator began.
    pub fn counts(&self, namespace: &str, name: &str) -> Option<Counts> {
        let key = (namespace.to_owned(), name.to_owned());
        let published = self.published.lock();
        published
            .get(&key)
            .map(|published| published.counts.clone())
    }

    /// The same as the last round said it: for who decides by it at once.
    pub fn latest(&self, namespace: &str, name: &str) -> Option<Counts> {
        let key = (namespace.to_owned(), name.to_owned());
        let published = self.published.lock();
        published
            .get(&key)
            .map(|published| published.latest.clone())
    }

    /// Forgets a gateway.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.published
            .lock()
            .remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Takes new numbers; says whether they are worth a look.
    pub fn publish(&self, key: &(String, String), counts: Counts, now: Instant) -> bool {
        let mut published = self.published.lock();
        // The first answer is always news, also when no pod gave one: until then the last status' numbers stand.
        if let Some(known) = published.get_mut(key)
            && (known.counts == counts
                || !(now - known.at >= AT_LEAST_EVERY || counts.differs_much_from(&known.counts)))
        {
            known.latest = counts;
            return false;
        }
        let latest = counts.clone();
        let news = Published {
            counts,
            at: now,
            latest,
        };
        published.insert(key.clone(), news);
        true
    }

    /// What the last round said of the gateways of a namespace.
    pub fn readings(&self, namespace: &str, now: Instant) -> Result<Vec<Named>, Unknown> {
        self.readings.lock().of(namespace, now)
    }

    /// What it said of one gateway; `None`: it has no pods.
    pub fn reading(
        &self,
        namespace: &str,
        name: &str,
        now: Instant,
    ) -> Result<Option<Reading>, Unknown> {
        let readings = self.readings(namespace, now)?;
        let found = readings.into_iter().find(|(found, _)| found == name);
        found.map(|(_, reading)| reading).transpose()
    }

    /// Whether there has been a round.
    pub fn has_counted(&self) -> bool {
        self.readings.lock().has_counted()
    }

    /// Takes what a round said.
    pub fn read(&self, readings: Readings) {
        *self.readings.lock() = readings;
    }
}

/// A pod, its gateway, and what it answered.
type Asked = (
    (String, String),
    Arc<PodView>,
    Result<PodCount, scrape::ScrapeError>,
);

/// What the rounds need.
pub struct Rounds {
    /// Where pods are found.
    pub stores: Stores,
    /// Where numbers go.
    pub census: Arc<Census>,
    /// Whom to wake.
    pub concerns: Concerns,
    /// Numbers for monitoring.
    pub metrics: Arc<Metrics>,
}

impl Rounds {
    /// Goes round until the token says stop. The first round begins when it is known which pods there are.
    pub async fn run(self, token: CancellationToken) {
        let mut last: HashMap<(String, String), Counts> = HashMap::new();
        let rounds = async {
            self.stores.pods().ready().await;
            loop {
                self.round(&mut last).await;
                let jitter = rand::random_range(0.9..1.1);
                tokio::time::sleep(EVERY.mul_f64(jitter)).await;
            }
        };
        tokio::select! {
            () = token.cancelled() => {}
            () = rounds => {}
        }
    }

    async fn round(&self, last: &mut HashMap<(String, String), Counts>) {
        let mut readings = Readings::begun(Timestamp::now(), Instant::now());
        let mut found: HashMap<(String, String), Counts> = HashMap::new();
        for (key, pod, answer) in self.ask_all(&mut readings).await {
            let before = last.get(&key).and_then(|counts| counts.get(&pod.name));
            let count = match answer {
                Ok(count) => Some(count),
                Err(error) => {
                    self.metrics.scrape_failed();
                    debug!(pod = pod.name, %error, "a gateway did not say how many connections it has");
                    before.and_then(|before| before.missed_once_more(MISSED_ROUNDS))
                }
            };
            readings.heard(&key, &pod, count.as_ref());
            let counts = found.entry(key).or_default();
            if let Some(count) = count {
                counts.insert(pod.name.clone(), count);
            }
        }
        self.census.read(readings);
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
                self.concerns.tell(concern).await;
            }
        }
        last.retain(|_, counts| !counts.is_empty());
    }

    /// What each pod answers that can be asked: also those that are not ready, which may be draining.
    async fn ask_all(&self, readings: &mut Readings) -> Vec<Asked> {
        let mut asked = Vec::new();
        for key in self.stores.pods().groups() {
            for pod in self.gateways(&key) {
                readings.expect(&key);
                if pod.ip.is_some() {
                    asked.push((key.clone(), pod));
                }
            }
        }
        stream::iter(asked)
            .map(|(key, pod)| async move {
                let answer = scrape::status(&pod).await;
                (key, pod, answer)
            })
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await
    }

    /// The pods of a gateway that are not over.
    fn gateways(&self, (namespace, gateway): &(String, String)) -> Vec<Arc<PodView>> {
        let mut pods = self.stores.pods().group(namespace, gateway);
        pods.retain(|pod| pod.has_gateway() && !pod.finished);
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
    fn connections_that_go_from_pod_to_pod_are_told_although_their_sum_stays() {
        let census = Census::default();
        let key = ("default".to_owned(), "chat".to_owned());
        let three = |each: [i64; 3]| {
            let mut counts = Counts::default();
            for (pod, connections) in ["a", "b", "c"].into_iter().zip(each) {
                let count = PodCount::new(connections, Phase::Serving, RedisLink::Up);
                counts.insert(pod.to_owned(), count);
            }
            counts
        };
        let now = Instant::now();
        assert!(census.publish(&key, three([1000, 1000, 0]), now));
        assert!(census.publish(&key, three([667, 667, 666]), now));
        assert!(!census.publish(&key, three([680, 650, 670]), now));
    }

    #[test]
    fn a_few_that_come_and_go_are_no_news_and_yet_known_to_who_decides_by_them() {
        let census = Census::default();
        let key = ("default".to_owned(), "chat".to_owned());
        let each = |one: i64| {
            let mut counts = Counts::default();
            for pod in 0..20 {
                let connections = if pod == 0 { one } else { 10 };
                let count = PodCount::new(connections, Phase::Serving, RedisLink::Up);
                counts.insert(format!("chat-{pod}"), count);
            }
            counts
        };
        assert!(census.publish(&key, each(10), Instant::now()));
        assert!(!census.publish(&key, each(11), Instant::now()));
        let said = |counts: Option<Counts>| counts.unwrap().connections("chat-0");
        assert_eq!(said(census.counts("default", "chat")), 10);
        assert_eq!(said(census.latest("default", "chat")), 11);
        assert!(census.publish(&key, each(60), Instant::now()));
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
