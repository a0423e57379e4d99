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
