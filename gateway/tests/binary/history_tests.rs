//! The checker is checked: a good history passes, and whatever is done to it that breaks a promise is found.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::history::{Answer, History, Place, Published, Reader, Seen, Session, Violation};

/// A history in which everything went well, though not smoothly.
#[derive(Clone, Debug)]
struct Shape {
    messages: u64,
    /// After so many messages the log goes on under another epoch.
    bump: u64,
    /// After so many the reader comes back.
    cut: u64,
    /// So many come a second time then.
    overlap: u64,
    /// So many are trimmed while the reader is away, and it is told.
    trimmed: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    (8_u64..40).prop_flat_map(|messages| {
        (1..messages, 3..messages - 3, 0_u64..3, 0_u64..3).prop_map(
            move |(bump, cut, overlap, trimmed)| Shape {
                messages,
                bump,
                cut,
                // What is trimmed is not sent again.
                overlap: if trimmed > 0 { 0 } else { overlap },
                trimmed,
            },
        )
    })
}

impl Shape {
    fn place(&self, offset: u64) -> Place {
        let epoch = if offset > self.bump { 9 } else { 7 };
        Place { epoch, offset }
    }

    fn seen(&self, offset: u64) -> Seen {
        Seen::Message {
            id: format!("m{offset}"),
            place: Some(self.place(offset)),
        }
    }

    fn history(&self) -> History {
        let published = (1..=self.messages).map(|offset| {
            let accepted = Answer::Accepted {
                level: "stored".to_owned(),
                place: self.place(offset),
            };
            let answers = match offset % 3 {
                0 => vec![Answer::Silence, accepted],
                1 => vec![
                    Answer::Refused {
                        code: "busy".to_owned(),
                    },
                    accepted,
                ],
                _ => vec![accepted],
            };
            Published {
                id: format!("m{offset}"),
                log: "bob".to_owned(),
                answers,
            }
        });
        let first = Session {
            after: Some(Place::default()),
            seen: (1..=self.cut).map(|offset| self.seen(offset)).collect(),
        };
        let back = self.cut - self.overlap;
        let mut again = Session {
            after: Some(self.place(back)),
            seen: Vec::new(),
        };
        let from = back + self.trimmed;
        if self.trimmed > 0 {
            let place = self.place(from);
            again.seen.push(Seen::Gap { place });
        }
        again
            .seen
            .extend((from + 1..=self.messages).map(|offset| self.seen(offset)));
        let reader = Reader {
            name: "bob".to_owned(),
            log: "bob".to_owned(),
            sessions: vec![first, again],
        };
        History {
            published: published.collect(),
            readers: vec![reader],
        }
    }
}

/// Where the reader saw messages: session and index.
fn places(history: &History) -> Vec<(usize, usize)> {
    let sessions = history.readers[0].sessions.iter().enumerate();
    sessions
        .flat_map(|(session, log)| {
            let messages = log.seen.iter().enumerate();
            messages.filter_map(move |(index, seen)| {
                matches!(seen, Seen::Message { .. }).then_some((session, index))
            })
        })
        .collect()
}

fn id_of(seen: &Seen) -> String {
    match seen {
        Seen::Message { id, .. } => id.clone(),
        Seen::Gap { place } => panic!("a gap at {place}"),
    }
}

fn seen(history: &mut History) -> &mut Vec<Session> {
    &mut history.readers[0].sessions
}

/// Whether a violation of this name is found.
fn finds(history: &History, name: &str) -> bool {
    has(history, |violation| {
        format!("{violation:?}").starts_with(name)
    })
}

fn has(history: &History, kind: impl Fn(&Violation) -> bool) -> bool {
    history.check().violations.iter().any(kind)
}

proptest! {
    #[test]
    fn a_good_history_passes_and_is_counted(shape in shapes()) {
        let report = shape.history().check();
        prop_assert!(report.is_sound(), "{report}");
        let counts = report.counts;
        prop_assert_eq!(counts.accepted.get("stored"), Some(&usize::try_from(shape.messages).unwrap()));
        prop_assert_eq!(counts.delivered as u64, shape.messages - shape.trimmed);
        prop_assert_eq!(counts.duplicates as u64, shape.overlap);
        prop_assert_eq!((counts.gaps_told, counts.gaps_silent), (usize::from(shape.trimmed > 0), 0));
    }

    #[test]
    fn a_dropped_message_is_lost_wherever_it_stood(shape in shapes(), which in any::<Index>()) {
        let mut history = shape.history();
        let (session, index) = *which.get(&places(&history));
        let dropped = id_of(&seen(&mut history)[session].seen[index]);
        for session in seen(&mut history) {
            session.seen.retain(|seen| matches!(seen, Seen::Gap { .. }) || id_of(seen) != dropped);
        }
        let lost = |violation: &Violation| matches!(violation, Violation::Lost { id, .. } if *id == dropped);
        prop_assert!(has(&history, lost), "{}", history.check());
    }

    #[test]
    fn a_hole_is_found_even_if_nobody_heard_accepted(shape in shapes(), which in any::<Index>()) {
        let mut history = shape.history();
        for published in &mut history.published {
            published.answers = vec![Answer::Silence];
        }
        let last = seen(&mut history)[0].seen.len() - 1;
        seen(&mut history)[0].seen.remove(which.index(last));
        prop_assert!(finds(&history, "SilentGap"));
    }

    #[test]
    fn a_repetition_within_a_session_is_found(shape in shapes(), which in any::<Index>()) {
        let mut history = shape.history();
        let (session, index) = *which.get(&places(&history));
        let again = seen(&mut history)[session].seen[index].clone();
        seen(&mut history)[session].seen.push(again);
        prop_assert!(finds(&history, "Repeated"));
    }

    #[test]
    fn two_that_changed_places_are_found(shape in shapes(), which in any::<Index>()) {
        let mut history = shape.history();
        let first = &mut seen(&mut history)[0].seen;
        let index = which.index(first.len() - 1);
        first.swap(index, index + 1);
        prop_assert!(finds(&history, "Disorder"));
    }

    #[test]
    fn an_invented_message_is_found(shape in shapes(), which in any::<Index>()) {
        let mut history = shape.history();
        let (session, index) = *which.get(&places(&history));
        let ghost = Seen::Message { id: "ghost".to_owned(), place: None };
        seen(&mut history)[session].seen.insert(index, ghost);
        prop_assert!(finds(&history, "Invented"));
    }

    #[test]
    fn a_gap_that_was_not_told_is_found(shape in shapes()) {
        prop_assume!(shape.trimmed > 0);
        let mut history = shape.history();
        seen(&mut history)[1].seen.remove(0);
        prop_assert!(finds(&history, "SilentGap"));
        prop_assert!(finds(&history, "Lost"));
    }

    #[test]
    fn a_message_for_someone_else_and_a_place_with_two_messages_are_found(shape in shapes(), which in any::<Index>()) {
        let mut history = shape.history();
        let index = which.index(history.published.len());
        let Answer::Accepted { level, place } = history.published[index].answers.last().unwrap().clone() else {
            panic!("the last answer is always that");
        };
        let accepted = Answer::Accepted { level, place };
        history.published.push(Published { id: "other".to_owned(), log: "bob".to_owned(), answers: vec![accepted] });
        prop_assert!(finds(&history, "Conflict"));
        let (session, at) = *which.get(&places(&history));
        let id = id_of(&seen(&mut history)[session].seen[at]);
        history.published.iter_mut().find(|published| published.id == id).unwrap().log = "eve".to_owned();
        prop_assert!(finds(&history, "Misdelivered"));
    }
}

#[test]
fn a_gap_covers_what_lies_before_it_and_nothing_after() {
    let shape = Shape {
        messages: 10,
        bump: 10,
        cut: 5,
        overlap: 0,
        trimmed: 2,
    };
    let mut history = shape.history();
    // Told of 6 and 7; without 8 the gap does not cover what is missing.
    seen(&mut history)[1].seen.remove(1);
    assert!(has(
        &history,
        |violation| matches!(violation, Violation::Lost { id, .. } if id == "m8")
    ));
}

#[test]
fn who_claims_nothing_begins_with_what_comes_first() {
    let shape = Shape {
        messages: 10,
        bump: 10,
        cut: 5,
        overlap: 0,
        trimmed: 0,
    };
    let mut history = shape.history();
    seen(&mut history)[0].after = None;
    seen(&mut history)[0].seen.drain(..2);
    assert!(history.check().is_sound(), "{}", history.check());
}
