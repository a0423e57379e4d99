//! `SentQuery` and `SentPage`: what one sender has sent, over all logs.

use std::fmt;
use std::str::FromStr;

use super::Record;
use crate::protocol::LogId;

/// The most messages that are remembered of one sender; the oldest go first.
pub(super) const SENT_MAX: usize = 100_000;

/// A place in what one sender has sent. `MILLIS-NUMBER` as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SentCursor {
    /// When it was sent, by the clock of whoever stores it.
    pub millis: u64,
    /// Which of those sent then.
    pub number: u64,
}

/// A text that is no such place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a next_cursor of this call")]
pub struct SentCursorError;

impl fmt::Display for SentCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

impl FromStr for SentCursor {
    type Err = SentCursorError;

    fn from_str(text: &str) -> Result<Self, SentCursorError> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(SentCursorError)
        };
        let (millis, count) = text.split_once('-').ok_or(SentCursorError)?;
        Ok(Self {
            millis: number(millis)?,
            number: number(count)?,
        })
    }
}

/// Which piece of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentQuery {
    /// From this time on, Unix milliseconds.
    pub since: u64,
    /// After this place.
    pub after: Option<SentCursor>,
    /// At most so many.
    pub limit: usize,
}

/// A message and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRecord {
    /// The log it is in: whom it was sent to.
    pub log: LogId,
    /// Its id.
    pub id: String,
    /// What became of it.
    pub record: Record,
}

/// A piece of what one sender has sent, in the order in which it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentPage {
    /// May be fewer than asked for, even if there is more.
    pub records: Vec<SentRecord>,
    /// Where the next piece begins; `None`: there is none.
    pub next: Option<SentCursor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_two_whole_numbers_with_a_dash_between() {
        let cursor = SentCursor {
            millis: 7,
            number: 1,
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "7", "7-", "-1", "+7-1", "7-1-1"] {
            assert_eq!(
                wrong.parse::<SentCursor>(),
                Err(SentCursorError),
                "{wrong:?}"
            );
        }
    }
}
