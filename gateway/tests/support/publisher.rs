//! `PublisherTask`: a client that sends numbered messages and repeats each under its id until it is accepted. It writes
//! down every answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::gates::{Gates, Socket};
use crate::history::{Answer, Published};

/// Messages on their way at once.
const WINDOW: usize = 32;
/// The pause before what was refused is sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// An answer that takes longer does not come any more.
const PATIENCE: Duration = Duration::from_secs(6);

/// What it sends.
#[derive(Clone, Debug)]
pub struct Work {
    pub user: String,
    /// How many messages at most.
    pub messages: usize,
    /// Between two of them.
    pub pause: Duration,
    /// Who they are for, in turn.
    pub to: Arc<Vec<String>>,
}

/// What a publisher has written down.
#[derive(Debug, Default)]
pub struct Told {
    pub published: Vec<Published>,
    /// Messages that are not accepted yet.
    pub open: usize,
}

/// See the module.
pub struct PublisherTask {
    pub told: Arc<Mutex<Told>>,
    enough: Arc<AtomicBool>,
}

/// Messages of all of them accepted so far.
pub fn accepted(publishers: &[PublisherTask]) -> usize {
    let told = publishers.iter().map(|publisher| publisher.told.lock());
    told.map(|told| told.published.len() - told.open).sum()
}

impl PublisherTask {
    pub fn start(work: Work, gates: Gates, stop: CancellationToken) -> Self {
        let (told, enough) = (Arc::<Mutex<Told>>::default(), Arc::<AtomicBool>::default());
        let life = Life {
            work,
            gates,
            told: told.clone(),
            enough: enough.clone(),
            open: BTreeMap::new(),
            again: VecDeque::new(),
            next: Instant::now(),
        };
        tokio::spawn(stop.run_until_cancelled_owned(life.run()));
        Self { told, enough }
    }

    /// It sends nothing new from now on.
    pub fn enough(&self) {
        self.enough.store(true, Relaxed);
    }

    /// Whether all it wanted to send was accepted.
    pub fn is_done(&self, messages: usize) -> bool {
        let told = self.told.lock();
        let all = self.enough.load(Relaxed) || told.published.len() >= messages;
        all && told.open == 0
    }
}

struct Life {
    work: Work,
    gates: Gates,
    told: Arc<Mutex<Told>>,
    enough: Arc<AtomicBool>,
    /// Sent and not answered: the message's number, and since when.
    open: BTreeMap<usize, Instant>,
    /// To be sent again, and when.
    again: VecDeque<(Instant, usize)>,
    next: Instant,
}

impl Life {
    async fn run(mut self) {
        loop {
            if let Some(socket) = self.gates.connect(&self.work.user, None).await {
                self.talk(socket).await;
            }
            for (number, _) in std::mem::take(&mut self.open) {
                self.note(number, Answer::Silence);
                self.again.push_back((Instant::now(), number));
            }
            sleep(Duration::from_millis(rand::random_range(20..300))).await;
        }
    }

    async fn talk(&mut self, mut socket: Socket) {
        loop {
            let due = self.due();
            let incoming = tokio::select! {
                incoming = socket.next() => incoming,
                () = sleep_until(due) => {
                    let numbers = self.take_due();
                    for number in numbers {
                        if socket.feed(Message::text(self.frame(number).to_string())).await.is_err() {
                            return;
                        }
                        self.open.insert(number, Instant::now());
                    }
                    if socket.flush().await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            match incoming {
                Some(Ok(Message::Text(text))) => self.take(&serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_))) => {
                    let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await;
                    return;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    /// When there is something to do beside listening.
    fn due(&self) -> Instant {
        let again = self.again.front().map(|(at, _)| *at);
        let late = self.open.values().min().map(|since| *since + PATIENCE);
        let new = (self.open.len() < WINDOW && self.may_send()).then_some(self.next);
        let idle = Instant::now() + Duration::from_millis(200);
        [again, late, new]
            .into_iter()
            .flatten()
            .fold(idle, Instant::min)
    }

    fn may_send(&self) -> bool {
        !self.enough.load(Relaxed) && self.told.lock().published.len() < self.work.messages
    }

    fn take_due(&mut self) -> Vec<usize> {
        let now = Instant::now();
        let late: Vec<usize> = self
            .open
            .iter()
            .filter(|(_, since)| **since + PATIENCE <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            self.open.remove(&number);
            self.note(number, Answer::Silence);
            self.again.push_back((now, number));
        }
        let mut numbers = Vec::new();
        while let Some((_, number)) = self.again.pop_front_if(|(at, _)| *at <= now) {
            numbers.push(number);
        }
        while self.open.len() + numbers.len() < WINDOW && self.next <= now && self.may_send() {
            let mut told = self.told.lock();
            let number = told.published.len();
            told.published.push(Published {
                id: format!("{}-{number}", self.work.user),
                log: self.work.to[number % self.work.to.len()].clone(),
                answers: Vec::new(),
            });
            told.open += 1;
            numbers.push(number);
            self.next = now + self.work.pause;
        }
        numbers
    }

    fn frame(&self, number: usize) -> Value {
        let told = self.told.lock();
        let published = &told.published[number];
        json!({"type": "text", "id": published.id, "to": published.log, "content": number})
    }

    fn take(&mut self, frame: &Value) {
        let (of, answer) = match frame["type"].as_str() {
            Some("receipt") if frame["data"]["state"] == "accepted" => {
                let data = &frame["data"];
                let (level, place) = (
                    data["level"].as_str().unwrap(),
                    data["pos"].as_str().unwrap(),
                );
                let accepted = Answer::Accepted {
                    level: level.to_owned(),
                    place: place.parse().unwrap(),
                };
                (&data["ref"], accepted)
            }
            Some("error") => {
                let code = frame["code"].as_str().unwrap().to_owned();
                (&frame["ref"], Answer::Refused { code })
            }
            _ => return,
        };
        let Some(number) = of
            .as_str()
            .and_then(|id| id.rsplit_once('-')?.1.parse().ok())
        else {
            panic!("an answer to nothing: {frame}");
        };
        // An answer to a sending that was given up counts as well.
        let was_open = self.open.remove(&number).is_some();
        if matches!(answer, Answer::Refused { .. }) && was_open {
            self.again.push_back((Instant::now() + AGAIN, number));
        }
        self.note(number, answer);
    }

    fn note(&self, number: usize, answer: Answer) {
        let mut told = self.told.lock();
        let is_accepted = |answer: &Answer| matches!(answer, Answer::Accepted { .. });
        let answers = &mut told.published[number].answers;
        let is_first = is_accepted(&answer) && !answers.iter().any(is_accepted);
        answers.push(answer);
        if is_first {
            told.open -= 1;
        }
    }
}
