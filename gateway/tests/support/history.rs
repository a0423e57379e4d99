//! The history checker: what publishers were told and what readers saw, held against each other.
//!
//! Pure, and without a dependency: whoever runs a load against gateways, in processes here or on a cluster, writes a
//! [`History`] down and asks for its [`Report`]. What it holds a history to:
//!
//! - what was accepted reaches every reader of its log, unless that reader was told of a gap that covers it;
//! - within a session places follow each other without a hole, a repetition or a step back, except where a gap was told;
//! - a session goes on right after the place that its client named;
//! - nothing arrives that was never sent, or that was sent to another log;
//! - a place in a log holds one message, whoever names it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

/// A place in a log, `EPOCH.OFFSET`. Offset 0 is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub epoch: u64,
    pub offset: u64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('.');
        let place = numbers.and_then(|(epoch, offset)| {
            let (epoch, offset) = (epoch.parse().ok()?, offset.parse().ok()?);
            Some(Self { epoch, offset })
        });
        place.ok_or_else(|| format!("{text:?} is no place"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.offset)
    }
}

/// What a publisher was told about one sending of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted {
        level: String,
        place: Place,
    },
    Refused {
        code: String,
    },
    /// The connection ended, or nothing came in time.
    Silence,
}

/// A message, and the answers to all its sendings.
#[derive(Clone, Debug)]
pub struct Published {
    pub id: String,
    pub log: String,
    pub answers: Vec<Answer>,
}

/// What a reader saw of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No place: it was handed on without being stored.
    Message { id: String, place: Option<Place> },
    /// It was told that what lies before this place is missing.
    Gap { place: Place },
}

/// One connection of a reader.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Where its client said it was; `None`: it claimed nothing, and takes what comes first for the beginning.
    pub after: Option<Place>,
    pub seen: Vec<Seen>,
}

/// Who reads one log, over all its connections.
#[derive(Clone, Debug)]
pub struct Reader {
    pub name: String,
    pub log: String,
    pub sessions: Vec<Session>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub published: Vec<Published>,
    pub readers: Vec<Reader>,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Accepted, never delivered, and no gap told that covers it.
    Lost {
        reader: String,
        id: String,
        place: Place,
    },
    /// Places were passed over without a word.
    SilentGap {
        reader: String,
        after: Place,
        next: Place,
    },
    /// A place came a second time within one session.
    Repeated { reader: String, place: Place },
    /// A place came after a later one.
    Disorder {
        reader: String,
        after: Place,
        next: Place,
    },
    /// Nobody sent this.
    Invented { reader: String, id: String },
    /// It was sent to another log.
    Misdelivered {
        reader: String,
        id: String,
        log: String,
    },
    /// One place, two messages.
    Conflict {
        log: String,
        place: Place,
        ids: [String; 2],
    },
}

/// How much of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub published: usize,
    /// Messages accepted, by the level that was named.
    pub accepted: BTreeMap<String, usize>,
    /// Messages that were never accepted.
    pub never_accepted: usize,
    /// Answers that were refusals, and sendings without an answer.
    pub refusals: usize,
    pub silences: usize,
    /// Messages of a log that reached a reader, each once.
    pub delivered: usize,
    /// Further deliveries of the same, over all sessions.
    pub duplicates: usize,
    /// Deliveries of what was not stored.
    pub unstored: usize,
    pub gaps_told: usize,
    pub gaps_silent: usize,
    pub readers: usize,
    pub sessions: usize,
}

/// What a history comes to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub counts: Counts,
    pub violations: Vec<Violation>,
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        let Counts {
            published,
            accepted,
            never_accepted,
            refusals,
            silences,
            delivered,
            duplicates,
            unstored,
            gaps_told,
            gaps_silent,
            readers,
            sessions,
        } = &self.counts;
        write!(
            f,
            "published {published}, accepted {accepted:?}, never accepted {never_accepted} (refusals {refusals}, without answer \
             {silences}); delivered {delivered}, duplicates {duplicates}, not stored {unstored}; gaps told {gaps_told}, silent \
             {gaps_silent}; {readers} readers in {sessions} sessions; {} violations",
            self.violations.len()
        )?;
        for violation in self.violations.iter().take(SHOWN) {
            write!(f, "\n  {violation:?}")?;
        }
        Ok(())
    }
}

impl History {
    /// Holds the history to the promises.
    pub fn check(&self) -> Report {
        let mut check = Check::new(self);
        for reader in &self.readers {
            check.reader(reader);
        }
        check.report
    }
}

struct Check<'a> {
    sent: HashMap<&'a str, &'a Published>,
    /// What was accepted into each log.
    accepted: HashMap<&'a str, Vec<(&'a str, Vec<Place>)>>,
    /// What each place of each log holds.
    holds: HashMap<(&'a str, Place), &'a str>,
    report: Report,
}

/// What one reader has been through.
#[derive(Default)]
struct Path<'a> {
    delivered: HashSet<&'a str>,
    /// What each gap that was told passes over: from the place before it to where the log goes on.
    gaps: Vec<(Place, Place)>,
    /// Where a reader that claimed nothing began.
    began: Option<Place>,
}

impl<'a> Check<'a> {
    fn new(history: &'a History) -> Self {
        let mut check = Self {
            sent: HashMap::new(),
            accepted: HashMap::new(),
            holds: HashMap::new(),
            report: Report::default(),
        };
        check.report.counts.published = history.published.len();
        check.report.counts.readers = history.readers.len();
        for published in &history.published {
            check.sent.insert(&published.id, published);
            check.answers(published);
        }
        check
    }

    fn answers(&mut self, published: &'a Published) {
        let mut places = Vec::new();
        let mut level = None;
        for answer in &published.answers {
            match answer {
                Answer::Accepted { level: told, place } => {
                    self.hold(&published.log, *place, &published.id);
                    level.get_or_insert(told);
                    if !places.contains(place) {
                        places.push(*place);
                    }
                }
                Answer::Refused { .. } => self.report.counts.refusals += 1,
                Answer::Silence => self.report.counts.silences += 1,
            }
        }
        let Some(level) = level else {
            self.report.counts.never_accepted += 1;
            return;
        };
        *self
            .report
            .counts
            .accepted
            .entry(level.clone())
            .or_default() += 1;
        let log = self.accepted.entry(&published.log).or_default();
        log.push((&published.id, places));
    }

    /// Notes what stands at a place.
    fn hold(&mut self, log: &'a str, place: Place, id: &'a str) {
        let held = *self.holds.entry((log, place)).or_insert(id);
        if held != id {
            let (log, ids) = (log.to_owned(), [held, id].map(ToOwned::to_owned));
            self.found(Violation::Conflict { log, place, ids });
        }
    }

    fn found(&mut self, violation: Violation) {
        self.report.violations.push(violation);
    }

    fn reader(&mut self, reader: &'a Reader) {
        let mut path = Path::default();
        for (index, session) in reader.sessions.iter().enumerate() {
            self.report.counts.sessions += 1;
            let claims_nothing = index == 0 && session.after.is_none();
            self.session(reader, session, &mut path);
            if claims_nothing {
                let first = session.seen.iter().find_map(|seen| match seen {
                    Seen::Message { place, .. } => *place,
                    Seen::Gap { place } => Some(*place),
                });
                path.began = Some(first.unwrap_or(Place {
                    epoch: u64::MAX,
                    offset: 0,
                }));
            }
        }
        self.report.counts.delivered += path.delivered.len();
        self.arrived(reader, &path);
    }

    fn session(&mut self, reader: &'a Reader, session: &'a Session, path: &mut Path<'a>) {
        let mut at = session.after;
        let mut places = HashSet::new();
        for seen in &session.seen {
            match seen {
                Seen::Gap { place } => {
                    self.report.counts.gaps_told += 1;
                    path.gaps.push((at.unwrap_or_default(), *place));
                    // What is read anew after a gap may be what was there before it.
                    places.clear();
                    at = Some(*place);
                }
                Seen::Message { id, place } => {
                    self.known(reader, id);
                    let Some(place) = *place else {
                        self.report.counts.unstored += 1;
                        continue;
                    };
                    self.hold(&reader.log, place, id);
                    if !path.delivered.insert(id) {
                        self.report.counts.duplicates += 1;
                    }
                    if places.insert(place) {
                        self.step(reader, at, place);
                    } else {
                        let reader = reader.name.clone();
                        self.found(Violation::Repeated { reader, place });
                    }
                    at = Some(place);
                }
            }
        }
    }

    fn known(&mut self, reader: &Reader, id: &str) {
        let (name, id_owned) = (reader.name.clone(), id.to_owned());
        match self.sent.get(id) {
            None => self.found(Violation::Invented {
                reader: name,
                id: id_owned,
            }),
            Some(sent) if sent.log != reader.log => {
                let log = sent.log.clone();
                self.found(Violation::Misdelivered {
                    reader: name,
                    id: id_owned,
                    log,
                });
            }
            Some(_) => {}
        }
    }

    /// From one place to the next. A log goes on by its offsets when its epoch changes.
    fn step(&mut self, reader: &Reader, at: Option<Place>, next: Place) {
        let Some(after) = at else { return };
        let is_back = next.offset <= after.offset || (after.offset > 0 && next.epoch < after.epoch);
        let reader = reader.name.clone();
        if is_back {
            self.found(Violation::Disorder {
                reader,
                after,
                next,
            });
        } else if next.offset > after.offset + 1 {
            self.report.counts.gaps_silent += 1;
            self.found(Violation::SilentGap {
                reader,
                after,
                next,
            });
        }
    }

    /// Whatever was accepted has arrived, or its loss was told.
    fn arrived(&mut self, reader: &'a Reader, path: &Path<'a>) {
        let began = path.began.unwrap_or_default();
        let is_told = |place: Place| {
            place < began
                || path
                    .gaps
                    .iter()
                    .any(|(from, to)| *from < place && place <= *to)
        };
        let accepted = self.accepted.get(reader.log.as_str());
        let missing: Vec<Violation> = accepted
            .into_iter()
            .flatten()
            .filter(|(id, _)| !path.delivered.contains(id))
            .filter_map(|(id, places)| {
                let place = places.iter().find(|place| !is_told(**place))?;
                Some(Violation::Lost {
                    reader: reader.name.clone(),
                    id: (*id).to_owned(),
                    place: *place,
                })
            })
            .collect();
        self.report.violations.extend(missing);
    }
}
