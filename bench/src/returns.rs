//! The books of a restart: what was accepted and who got it, when clients come back, and how that is summed up.

use std::time::{Duration, Instant};

/// The bound of a client's first pause after it could not come back; it doubles with each further failure.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest bound.
const LONGEST: Duration = Duration::from_secs(30);

/// Who got which message, by numbers from 1 on.
#[derive(Debug)]
pub(crate) struct Books {
    /// Whether each message was accepted.
    accepted: Vec<bool>,
    /// What each client got.
    got: Vec<Vec<bool>>,
    repeated: u64,
}

impl Books {
    /// Of so many clients.
    pub(crate) fn new(clients: usize) -> Self {
        Self {
            accepted: Vec::new(),
            got: vec![Vec::new(); clients],
            repeated: 0,
        }
    }

    /// Enters a message, and numbers it.
    pub(crate) fn say(&mut self) -> u64 {
        self.accepted.push(false);
        self.accepted.len() as u64
    }

    /// Enters that the sender was told, or could see, that a message was taken.
    pub(crate) fn accept(&mut self, number: u64) {
        if let Some(accepted) = place(number).and_then(|place| self.accepted.get_mut(place)) {
            *accepted = true;
        }
    }

    /// Enters what a client got.
    pub(crate) fn got(&mut self, client: usize, number: u64) {
        let (Some(place), Some(got)) = (place(number), self.got.get_mut(client)) else {
            return;
        };
        if got.len() < self.accepted.len() {
            got.resize(self.accepted.len(), false);
        }
        match got.get_mut(place) {
            Some(got) if !*got => *got = true,
            _ => self.repeated += 1,
        }
    }

    /// How many messages were accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.iter().filter(|accepted| **accepted).count() as u64
    }

    /// How many were said and not accepted.
    pub(crate) fn refused(&self) -> u64 {
        self.accepted.len() as u64 - self.accepted()
    }

    /// How many times a client lacks a message that was accepted.
    pub(crate) fn lost(&self) -> u64 {
        let lacks = |got: &Vec<bool>| {
            self.accepted
                .iter()
                .enumerate()
                .filter(|(place, accepted)| {
                    **accepted && !got.get(*place).copied().unwrap_or_default()
                })
                .count() as u64
        };
        self.got.iter().map(lacks).sum()
    }

    /// How many times a client got a message again.
    pub(crate) fn repeated(&self) -> u64 {
        self.repeated
    }
}

fn place(number: u64) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}

/// Chance, the same in each run that is begun alike.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Begun by any number.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }

    /// A random part of a bound that doubles with each failure in a row.
    pub(crate) fn pause(&mut self, failed: u32) -> Duration {
        let bound = PAUSE.saturating_mul(1 << failed.min(5)).min(LONGEST);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(micros))
    }
}

/// The most of these that fall into one second.
pub(crate) fn peak(times: &mut [Instant]) -> usize {
    times.sort_unstable();
    let mut most = 0;
    let mut first = times.iter();
    let mut within = 0;
    for now in times.iter() {
        within += 1;
        while first
            .as_slice()
            .first()
            .is_some_and(|first| now.duration_since(*first) >= Duration::from_secs(1))
        {
            first.next();
            within -= 1;
        }
        most = most.max(within);
    }
    most
}

/// What this part of some times does not exceed.
pub(crate) fn quantile(times: &mut [Duration], part: f64) -> Option<Duration> {
    times.sort_unstable();
    let wanted = Duration::from_secs(times.len() as u64).mul_f64(part);
    let place = usize::try_from(wanted.as_secs()).ok()?;
    times.get(place.min(times.len().checked_sub(1)?)).copied()
}

/// The place of a stored message.
pub(crate) fn pos(message: &[u8]) -> Option<&str> {
    let message = std::str::from_utf8(message).ok()?;
    let (_, after) = message.rsplit_once(r#""pos":""#)?;
    Some(after.split_once('"')?.0)
}

/// Percent-encoded for a query.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_accepted_can_be_lost_and_what_comes_again_is_told() {
        let mut books = Books::new(2);
        let numbers: Vec<_> = (0..3).map(|_| books.say()).collect();
        assert_eq!(numbers, [1, 2, 3]);
        books.accept(1);
        books.accept(3);
        books.got(0, 1);
        books.got(0, 1);
        books.got(0, 3);
        books.got(1, 2);
        assert_eq!((books.accepted(), books.refused()), (2, 1));
        // Client 1 lacks 1 and 3; that nobody else got 2 is no loss.
        assert_eq!((books.lost(), books.repeated()), (2, 1));
    }

    #[test]
    fn the_peak_is_that_of_any_second_and_not_of_a_clock_s() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut times = [at(2_500), at(0), at(900), at(1_100), at(1_800), at(1_899)];
        assert_eq!(peak(&mut times), 4);
        assert_eq!(peak(&mut []), 0);
    }

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let ms = |times: &mut [Duration], part| quantile(times, part).map(|time| time.as_millis());
        assert_eq!(ms(&mut times, 0.5), Some(51));
        assert_eq!(ms(&mut times, 0.99), Some(100));
        assert_eq!(ms(&mut [], 0.5), None);
    }

    #[test]
    fn pauses_are_random_parts_of_a_bound_that_doubles_up_to_half_a_minute() {
        let mut dice = Dice::new(1);
        for (failed, bound) in [(0, 1), (1, 2), (4, 16), (5, 30), (40, 30)] {
            let pauses: Vec<_> = (0..1000).map(|_| dice.pause(failed)).collect();
            let most = pauses.iter().max().copied().unwrap_or_default();
            assert!(most <= Duration::from_secs(bound), "{failed}: {most:?}");
            assert!(most > Duration::from_secs(bound).mul_f64(0.9), "{failed}");
        }
    }

    #[test]
    fn a_place_is_found_in_a_message_and_goes_into_a_query() {
        let message = br#"{"type":"text","id":"c1","content":"hi","pos":"17323.17"}"#;
        assert_eq!(pos(message), Some("17323.17"));
        assert_eq!(pos(br#"{"type":"text","content":"hi"}"#), None);
        assert_eq!(
            encoded(r#"{"group:r0":"1.2"}"#),
            "%7B%22group%3Ar0%22%3A%221.2%22%7D"
        );
    }
}
