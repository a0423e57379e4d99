//! `backoff`: how long to wait after failures in a row. Doubled by each, bounded, and random in its upper half, so that nodes
//! that failed together do not try again together.

use std::time::Duration;

/// The pause after so many failures: at most `first` after one, twice that after two, never more than `longest`.
pub(super) fn backoff(first: Duration, longest: Duration, failures: u32) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(longest).mul_f64(rand::random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_up_to_its_bound() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(30));
        for (failures, most) in [(0, 1), (1, 1), (2, 2), (4, 8), (6, 30), (u32::MAX, 30)] {
            let pause = backoff(first, longest, failures);
            let most = Duration::from_secs(most);
            assert!(pause >= most / 2 && pause <= most, "{failures}: {pause:?}");
        }
    }
}
