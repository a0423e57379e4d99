//! `ReaderTask`: a client that follows its inbox for the length of a test. It names its place whenever it comes back, and
//! writes down all it sees.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::gates::{Gates, Socket};
use crate::history::{Place, Reader, Seen, Session};

/// The bound of the pause before coming back, as a good client takes it.
const PAUSE_MILLIS: u64 = 300;

/// When a connection began and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Stay {
    pub began: Instant,
    pub ended: Option<Instant>,
    /// When the gateway asked the client to reconnect.
    pub told: Option<Instant>,
}

/// What a reader has written down.
#[derive(Debug)]
pub struct Notes {
    pub reader: Reader,
    pub stays: Vec<Stay>,
    pub received: usize,
    /// `resumed` of each welcome.
    pub resumed: Vec<bool>,
}

/// See the module.
pub struct ReaderTask {
    pub user: String,
    pub notes: Arc<Mutex<Notes>>,
}

impl ReaderTask {
    /// Connects for the first time from the beginning of its inbox.
    pub fn start(user: String, gates: Gates, stop: CancellationToken) -> Self {
        let reader = Reader {
            name: user.clone(),
            log: user.clone(),
            sessions: Vec::new(),
        };
        let notes = Arc::new(Mutex::new(Notes {
            reader,
            stays: Vec::new(),
            received: 0,
            resumed: Vec::new(),
        }));
        let life = Life {
            user: user.clone(),
            notes: notes.clone(),
            gates,
            at: Place::default(),
        };
        tokio::spawn(stop.run_until_cancelled_owned(life.run()));
        Self { user, notes }
    }

    pub fn is_connected(&self) -> bool {
        let notes = self.notes.lock();
        notes.stays.last().is_some_and(|stay| stay.ended.is_none())
    }

    /// How long it was away after this moment; `None`: it was not, or still is.
    pub fn away_after(&self, moment: Instant) -> Option<Duration> {
        let notes = self.notes.lock();
        let gone = notes
            .stays
            .iter()
            .position(|stay| stay.ended.is_some_and(|ended| ended >= moment))?;
        let back = notes.stays.get(gone + 1)?;
        Some(back.began - notes.stays[gone].ended?)
    }
}

struct Life {
    user: String,
    notes: Arc<Mutex<Notes>>,
    gates: Gates,
    at: Place,
}

impl Life {
    async fn run(mut self) {
        loop {
            let resume = json!({"inbox": self.at.to_string()});
            if let Some(socket) = self.gates.connect(&self.user, Some(&resume)).await {
                self.begin();
                self.read(socket).await;
                let mut notes = self.notes.lock();
                if let Some(stay) = notes.stays.last_mut() {
                    stay.ended = Some(Instant::now());
                }
            }
            sleep(Duration::from_millis(rand::random_range(20..PAUSE_MILLIS))).await;
        }
    }

    fn begin(&self) {
        let mut notes = self.notes.lock();
        notes.reader.sessions.push(Session {
            after: Some(self.at),
            seen: Vec::new(),
        });
        notes.stays.push(Stay {
            began: Instant::now(),
            ended: None,
            told: None,
        });
    }

    async fn read(&mut self, mut socket: Socket) {
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(text) => self.take(&serde_json::from_str(&text).unwrap()),
                Message::Close(_) => {
                    // The answer to the close frame; the connection is over either way.
                    let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
                    return;
                }
                Message::Ping(_) => {
                    let _ = timeout(Duration::from_secs(1), socket.flush()).await;
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, frame: &Value) {
        let mut notes = self.notes.lock();
        let place = |value: &Value| value.as_str().map(|text| text.parse::<Place>().unwrap());
        let seen = match frame["type"].as_str() {
            Some("welcome") => {
                notes.resumed.push(frame["data"]["resumed"] == true);
                return;
            }
            Some("reconnect") => {
                if let Some(stay) = notes.stays.last_mut() {
                    stay.told = Some(Instant::now());
                }
                return;
            }
            Some("position") => {
                let place = place(&frame["data"]["pos"]).unwrap();
                self.at = place;
                Seen::Gap { place }
            }
            _ => {
                let place = place(&frame["pos"]);
                self.at = place.unwrap_or(self.at);
                notes.received += 1;
                Seen::Message {
                    id: frame["id"]
                        .as_str()
                        .unwrap_or_else(|| panic!("no id in {frame}"))
                        .to_owned(),
                    place,
                }
            }
        };
        let session = notes.reader.sessions.last_mut().unwrap();
        session.seen.push(seen);
    }
}
