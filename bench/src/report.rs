//! The report: medians and spread of each figure, and how ours stands to each other server.
//!
//! A ratio is formed within each repetition and the median taken of those, with the smallest and the largest beside it:
//! what the machine did at the time has met both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::sample::{CPU, Results, Sample};

/// The servers in the order of the tables.
pub const ORDER: [&str; 10] = [
    "ours",
    "bare",
    "bun",
    "axum",
    "gorilla",
    "gws",
    "centrifuge",
    "nats",
    "ws",
    "socket-io",
];

/// Whose figures the others are compared with.
const OURS: &str = "ours";

/// The middle of some figures and how far they reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest.
    pub least: f64,
    /// As many are above as below.
    pub median: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of some figures; `None` of none.
    pub fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let upper = *figures.get(middle)?;
        let median = match figures.len() % 2 {
            0 => f64::midpoint(*figures.get(middle.checked_sub(1)?)?, upper),
            _ => upper,
        };
        Some(Self {
            least,
            median,
            most,
        })
    }
}

/// What stands in a table: a scenario's figure, and which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row<'a> {
    /// The scenario.
    pub scenario: &'a str,
    /// The figure.
    pub metric: &'a str,
}

/// The figures that are compared. The others of a sample say whether it is to be trusted.
const COMPARED: [&str; 13] = [
    CPU,
    "redis_cpu_us",
    "per_s",
    "p50_us",
    "p99_us",
    "p999_us",
    "user_bytes",
    "kernel_both_ends_bytes",
    "accepted_lost",
    "came_again",
    "peak_per_s",
    "away_p50_ms",
    "away_p99_ms",
];

/// Figures of one row by server and repetition.
type Figures<'a> = BTreeMap<&'a str, BTreeMap<u32, f64>>;

/// The whole report as text.
pub fn text(results: &Results) -> String {
    let mut out = String::new();
    if !results.machine.is_empty() {
        let _ = writeln!(out, "{:<11} {}", "on", results.machine);
    }
    for (peer, version) in &results.versions {
        let _ = writeln!(out, "{peer:<11} {version}");
    }
    for (peer, why) in &results.missing {
        let _ = writeln!(out, "{peer:<11} MISSING: {why}");
    }
    for failure in &results.failures {
        let _ = writeln!(out, "FAILED: {failure}");
    }
    for (peer, stray) in &results.strays {
        let _ = writeln!(out, "{peer} said something that was no message: {stray}");
    }
    let rows = rows(&results.samples);
    table(
        &mut out,
        &rows,
        "Figures: median (least to most)",
        |figures, peer| Spread::of(figures.get(peer)?.values().copied().collect()),
    );
    table(
        &mut out,
        &rows,
        "Ours / theirs: median (least to most); under 1 is less CPU, time or memory, and fewer a second",
        |figures, peer| (peer != OURS).then(|| ratio(figures, peer))?,
    );
    doubts(&mut out, &results.samples);
    if !results.configurations.is_empty() {
        let title = "Configurations, with the ports of the first run; what the peers' mains set is in bench/peers";
        let _ = writeln!(out, "\n{title}\n");
    }
    for (name, configuration) in &results.configurations {
        let _ = writeln!(out, "{name:<22} {configuration}");
    }
    out
}

/// Ours divided by theirs, formed within each repetition.
pub fn ratio(figures: &Figures<'_>, peer: &str) -> Option<Spread> {
    let (ours, theirs) = (figures.get(OURS)?, figures.get(peer)?);
    let ratios = ours.iter().filter_map(|(repetition, ours)| {
        let theirs = *theirs.get(repetition)?;
        (theirs > 0.0).then_some(ours / theirs)
    });
    Spread::of(ratios.collect())
}

/// The figures that are compared, by scenario.
pub fn rows(samples: &[Sample]) -> BTreeMap<Row<'_>, Figures<'_>> {
    let mut rows: BTreeMap<Row<'_>, Figures<'_>> = BTreeMap::new();
    for sample in samples {
        for (metric, value) in sample
            .metrics
            .iter()
            .filter(|(metric, _)| COMPARED.contains(&metric.as_str()))
        {
            let row = Row {
                scenario: &sample.scenario,
                metric,
            };
            let figures = rows
                .entry(row)
                .or_default()
                .entry(&sample.peer)
                .or_default();
            figures.insert(sample.repetition, *value);
        }
    }
    rows
}

fn table(
    out: &mut String,
    rows: &BTreeMap<Row<'_>, Figures<'_>>,
    title: &str,
    cell: impl Fn(&Figures<'_>, &str) -> Option<Spread>,
) {
    let shown: Vec<_> = ORDER
        .into_iter()
        .filter(|peer| rows.values().any(|figures| cell(figures, peer).is_some()))
        .collect();
    let name = |row: &Row<'_>| format!("{} {}", row.scenario, row.metric);
    let width = rows.keys().map(|row| name(row).len()).max().unwrap_or(0);
    let _ = write!(out, "\n{title}\n\n{:<width$}", "");
    for peer in &shown {
        let _ = write!(out, "{peer:>22}");
    }
    out.push('\n');
    for (row, figures) in rows {
        let _ = write!(out, "{:<width$}", name(row));
        for peer in &shown {
            let text = cell(figures, peer).map_or_else(|| "-".to_owned(), spread);
            let _ = write!(out, "{text:>22}");
        }
        out.push('\n');
    }
}

fn spread(spread: Spread) -> String {
    let Spread {
        least,
        median,
        most,
    } = spread;
    format!("{} ({} to {})", short(median), short(least), short(most))
}

/// Three digits that matter.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2}M", value / 1e6),
        size if size >= 1e4 => format!("{:.0}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Runs in which the generator had the less to spare: their rates say as much of it as of the server.
fn doubts(out: &mut String, samples: &[Sample]) {
    let cores = |sample: &Sample, key: &str| sample.metrics.get(key).copied();
    let doubted: Vec<_> = samples
        .iter()
        .filter_map(|sample| {
            Some((
                sample,
                cores(sample, "generator_cores")?,
                cores(sample, "server_cores")?,
            ))
        })
        .filter(|(_, generator, server)| *generator > 0.9 && *server < 0.9)
        .collect();
    let _ = writeln!(
        out,
        "\nThe generator was the bottleneck (over 0.9 of its core, with the server under 0.9 of its own) in {} runs.",
        doubted.len()
    );
    for (sample, generator, server) in doubted {
        let Sample {
            scenario,
            peer,
            repetition,
            metrics: _,
        } = sample;
        let _ = writeln!(
            out,
            "  {scenario}, {peer}, {}: generator {generator:.2}, server {server:.2}",
            repetition + 1
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(peer: &str, repetition: u32, cpu: f64) -> Sample {
        Sample {
            scenario: "group".to_owned(),
            peer: peer.to_owned(),
            repetition,
            metrics: [
                (CPU.to_owned(), cpu),
                ("generator_cores".to_owned(), 0.95),
                ("server_cores".to_owned(), cpu / 10.0),
            ]
            .into(),
        }
    }

    #[test]
    fn ratios_are_formed_within_a_repetition() {
        let samples = [
            sample("ours", 0, 2.0),
            sample("bun", 0, 4.0),
            sample("ours", 1, 6.0),
            sample("bun", 1, 6.0),
            sample("ours", 2, 9.0),
        ];
        let rows = rows(&samples);
        let figures = rows.values().next().unwrap();
        let expected = Spread {
            least: 0.5,
            median: 0.75,
            most: 1.0,
        };
        assert_eq!(ratio(figures, "bun"), Some(expected));
        assert_eq!(ratio(figures, "gws"), None);
    }

    #[test]
    fn whoever_is_missing_or_failed_is_named_and_a_busy_generator_is_told() {
        let results = Results {
            missing: [("bun".to_owned(), "no npm".to_owned())].into(),
            failures: vec!["group ws 1: gone".to_owned()],
            machine: "two cores".to_owned(),
            configurations: [("ours tls".to_owned(), "--set tls.ws=true".to_owned())].into(),
            samples: vec![sample("ours", 0, 2.0), sample("axum", 0, 9.5)],
            ..Results::default()
        };
        let text = text(&results);
        assert!(text.contains("bun         MISSING: no npm"));
        assert!(text.contains("FAILED: group ws 1: gone"));
        assert!(text.starts_with("on          two cores\n"));
        assert!(text.contains("\nours tls               --set tls.ws=true\n"));
        assert!(text.contains(
            "bottleneck (over 0.9 of its core, with the server under 0.9 of its own) in 1 runs"
        ));
        assert!(text.contains("group, ours, 1: generator 0.95, server 0.20"));
    }
}
