//! What a client saw, in order and with the time. Appended by the client's task, read by tests.

use std::time::Duration;

use anyhow::{Result, anyhow};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How many of the last entries an error shows.
const SHOWN: usize = 8;

/// Something a client saw.
#[derive(Debug, Clone)]
pub enum Event {
    /// A WebSocket to this pod stands.
    Connected {
        /// The pod.
        pod: String,
    },
    /// A frame came.
    Frame(Value),
    /// The connection ended; no code means without a close frame.
    Closed {
        /// Close code.
        code: Option<u16>,
        /// Close reason, or how the connection broke.
        reason: String,
    },
    /// No connection came about.
    Failed(String),
}

/// An event and when it was seen.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// What.
    pub event: Event,
}

/// The log of one client.
#[derive(Debug)]
pub struct Log {
    entries: Mutex<Vec<Entry>>,
    length: watch::Sender<usize>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            length: watch::Sender::new(0),
        }
    }
}

impl Log {
    pub(super) fn push(&self, event: Event) {
        let mut entries = self.entries.lock();
        entries.push(Entry {
            at: Instant::now(),
            event,
        });
        self.length.send_replace(entries.len());
    }

    /// All entries so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().clone()
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Value> {
        let entries = self.entries.lock();
        entries
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::Frame(frame) => Some(frame.clone()),
                Event::Connected { .. } | Event::Closed { .. } | Event::Failed(_) => None,
            })
            .collect()
    }

    /// The pods this client was connected to, in order.
    pub fn pods(&self) -> Vec<String> {
        let entries = self.entries.lock();
        entries
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::Connected { pod } => Some(pod.clone()),
                Event::Frame(_) | Event::Closed { .. } | Event::Failed(_) => None,
            })
            .collect()
    }

    /// How connections ended, in order.
    pub fn closes(&self) -> Vec<Option<u16>> {
        let entries = self.entries.lock();
        entries
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::Closed { code, .. } => Some(*code),
                Event::Connected { .. } | Event::Frame(_) | Event::Failed(_) => None,
            })
            .collect()
    }

    /// Waits until an entry is there, old or new, that `pick` takes.
    pub async fn find<T>(&self, within: Duration, pick: impl Fn(&Event) -> Option<T>) -> Result<T> {
        let mut length = self.length.subscribe();
        let search = async {
            loop {
                length.borrow_and_update();
                if let Some(found) = self
                    .entries
                    .lock()
                    .iter()
                    .find_map(|entry| pick(&entry.event))
                {
                    return Ok(found);
                }
                length.changed().await?;
            }
        };
        timeout(within, search)
            .await
            .unwrap_or_else(|_| Err(self.not_found(within)))
    }

    fn not_found(&self, within: Duration) -> anyhow::Error {
        let entries = self.entries.lock();
        let from = entries.len().saturating_sub(SHOWN);
        let seen: Vec<String> = entries
            .iter()
            .skip(from)
            .map(|entry| format!("{:?}", entry.event))
            .collect();
        anyhow!(
            "not within {within:?}; the last it saw: [{}]",
            seen.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content(event: &Event) -> Option<Value> {
        match event {
            Event::Frame(frame) => frame.get("content").cloned(),
            Event::Connected { .. } | Event::Closed { .. } | Event::Failed(_) => None,
        }
    }

    #[tokio::test]
    async fn an_entry_is_found_whether_it_came_before_or_comes_later() {
        let log = Log::default();
        log.push(Event::Frame(json!({"content": 1})));
        assert_eq!(log.find(Duration::ZERO, content).await.unwrap(), 1);
        let two = |event: &Event| content(event).filter(|found| found == 2);
        let (found, ()) = tokio::join!(log.find(Duration::from_secs(10), two), async {
            log.push(Event::Frame(json!({"content": 2})));
        });
        assert_eq!(found.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_never_comes_is_an_error_that_shows_what_did() {
        let log = Log::default();
        log.push(Event::Failed("refused with 503".to_owned()));
        let said = log
            .find(Duration::from_millis(5), content)
            .await
            .unwrap_err()
            .to_string();
        assert!(said.contains("503"), "{said}");
    }
}
