//! What one run of one server in one scenario came to, as it stands in the JSON report.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::drive::Outcome;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// What was done.
    pub scenario: String,
    /// The server.
    pub peer: String,
    /// Which of the repetitions.
    pub repetition: u32,
    /// What was measured; names end in their unit.
    pub metrics: BTreeMap<String, f64>,
}

/// Everything of one invocation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// On what all of it ran.
    #[serde(default)]
    pub machine: String,
    /// What each server says of its version.
    pub versions: BTreeMap<String, String>,
    /// How each server was started, and what more there was in some scenarios.
    #[serde(default)]
    pub configurations: BTreeMap<String, String>,
    /// Servers that could not be had, and why.
    pub missing: BTreeMap<String, String>,
    /// Runs that failed: scenario, server, repetition and why.
    pub failures: Vec<String>,
    /// What was said that was no message: a refusal, most likely.
    pub strays: BTreeMap<String, String>,
    /// All runs.
    pub samples: Vec<Sample>,
}

/// CPU per delivery: the figure that depends least on what else the machine does.
pub const CPU: &str = "cpu_us";

/// The figures of a run over open connections.
pub fn metrics(outcome: &Outcome) -> BTreeMap<String, f64> {
    let Outcome {
        counts,
        latency,
        elapsed,
        server,
        generator,
        stray: _,
    } = outcome;
    let delivered = counts.delivered as f64;
    let seconds = elapsed.as_secs_f64();
    let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    let mut metrics = BTreeMap::from(
        [
            ("per_s", delivered / seconds),
            ("p50_us", us(0.5)),
            ("p99_us", us(0.99)),
            ("p999_us", us(0.999)),
            ("generator_cores", generator.as_secs_f64() / seconds),
            ("lost", counts.lost as f64),
            ("repeated", counts.repeated as f64),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let Some(server) = server {
        metrics.insert(CPU.to_owned(), micros(*server) / delivered.max(1.0));
        metrics.insert("server_cores".to_owned(), server.as_secs_f64() / seconds);
    }
    metrics
}

/// Microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
