//! `AckRules`: when a message that nobody acknowledged is sent again. Pure.

use std::time::Duration;

use wsc_config::AckConfig;

/// How long a recipient has, and the pauses between repetitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AckRules {
    timeout: Duration,
    retries: u32,
    base: Duration,
    max: Duration,
    factor: f64,
    jitter: bool,
}

impl AckRules {
    /// `None`: acknowledgements are off.
    pub fn new(config: &AckConfig) -> Option<Self> {
        config.enabled.then(|| Self {
            timeout: config.timeout.into(),
            retries: config.max_retries,
            base: config.base_delay.into(),
            max: config.max_delay.into(),
            factor: config.backoff_factor,
            jitter: config.jitter,
        })
    }

    /// The same pause each time.
    pub const fn steady(timeout: Duration, retries: u32) -> Self {
        Self {
            timeout,
            retries,
            base: Duration::ZERO,
            max: Duration::ZERO,
            factor: 1.0,
            jitter: false,
        }
    }

    /// How often a message is sent again.
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// From one sending to the next; `attempt` from 0, `random` in 0..1.
    pub fn pause(&self, attempt: u32, random: f64) -> Duration {
        let backoff = self.backoff(attempt);
        let part = if self.jitter { random } else { 1.0 };
        self.timeout + backoff.mul_f64(part)
    }

    /// From the first sending until it is given up: every pause at its longest, and the last answer.
    pub fn total(&self) -> Duration {
        let pauses: Duration = (0..self.retries)
            .map(|attempt| self.timeout + self.backoff(attempt))
            .sum();
        pauses + self.timeout
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let grown = self.base.as_secs_f64() * self.factor.powi(exponent);
        // Not a number or past every bound: the longest pause.
        Duration::try_from_secs_f64(grown).map_or(self.max, |grown| grown.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(jitter: bool) -> AckRules {
        AckRules::new(&AckConfig {
            enabled: true,
            jitter,
            ..AckConfig::default()
        })
        .unwrap()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let millis = |attempt| rules(false).pause(attempt, 0.0).as_millis();
        assert_eq!([0, 1, 2].map(millis), [5100, 5200, 5400]);
        assert_eq!(millis(10), 10_000);
        assert_eq!(millis(u32::MAX), 10_000);
    }

    #[test]
    fn jitter_takes_a_part_of_the_backoff_only() {
        assert_eq!(rules(true).pause(2, 0.5).as_millis(), 5200);
    }

    #[test]
    fn giving_up_comes_after_every_pause_and_the_last_answer() {
        assert_eq!(rules(true).total().as_millis(), 5100 + 5200 + 5400 + 5000);
    }

    #[test]
    fn off_is_no_rules() {
        assert_eq!(AckRules::new(&AckConfig::default()), None);
    }
}
