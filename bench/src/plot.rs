//! Plots of the report's figures: bars with whiskers, one panel for each scenario, all servers in it side by side.
//!
//! Plain SVG, which is text: a plotting library would be the largest dependency here, for rectangles and words.

use std::fmt::Write as _;

use crate::report::{self, ORDER, Spread};
use crate::sample::Results;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 100.0;
const BARS: f64 = 560.0;
const BAR: f64 = 18.0;
const HEAD: f64 = 34.0;

/// Whether figures are per message, whoever hears it.
fn per_message(scenario: &str) -> bool {
    scenario.starts_with("nodes ") || scenario.starts_with("durable ")
}

/// Whether figures are per delivery.
fn per_delivery(scenario: &str) -> bool {
    let other = ["connect", "heartbeats"];
    !per_message(scenario) && !other.iter().any(|other| scenario.ends_with(other))
}

/// The plots by the name of their file. `latency` depends on what else the machine did, the others hardly.
pub fn all(results: &Results) -> Vec<(&'static str, String)> {
    let about =
        |metric, wanted: fn(&str) -> bool, title| svg(title, &panels(results, metric, wanted));
    vec![
        (
            "cpu.svg",
            about("cpu_us", per_delivery, "CPU per delivery, µs"),
        ),
        (
            "nodes.svg",
            about(
                "cpu_us",
                per_message,
                "CPU of all nodes and their Redis per message, µs",
            ),
        ),
        (
            "connect.svg",
            about(
                "cpu_us",
                |scenario| scenario.ends_with("connect"),
                "CPU per connection, µs",
            ),
        ),
        (
            "memory.svg",
            about(
                "user_bytes",
                |scenario| scenario.ends_with("idle"),
                "Memory per idle connection, bytes",
            ),
        ),
        (
            "latency.svg",
            about(
                "p99_us",
                |scenario| scenario.contains("-per-s"),
                "Latency at a fixed rate, 99th percentile, µs",
            ),
        ),
    ]
}

/// A scenario's bars.
type Panel<'a> = (&'a str, Vec<(&'static str, Spread)>);

fn panels<'a>(results: &'a Results, metric: &str, wanted: fn(&str) -> bool) -> Vec<Panel<'a>> {
    let rows = report::rows(&results.samples);
    let rows = rows
        .into_iter()
        .filter(|(row, _)| row.metric == metric && wanted(row.scenario));
    rows.map(|(row, figures)| {
        let bar = |peer| {
            Some((
                peer,
                Spread::of(figures.get(peer)?.values().copied().collect())?,
            ))
        };
        (row.scenario, ORDER.into_iter().filter_map(bar).collect())
    })
    .collect()
}

fn svg(title: &str, panels: &[Panel<'_>]) -> String {
    let bars: usize = panels.iter().map(|(_, bars)| bars.len()).sum();
    let height = 40.0 + panels.len() as f64 * HEAD + bars as f64 * BAR;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"22\" font-size=\"16\">{title}: median, least and most</text>\n"
    );
    let mut y = 40.0;
    for (scenario, bars) in panels {
        let _ = writeln!(
            out,
            "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{scenario}</text>",
            y + 20.0
        );
        y += HEAD - 6.0;
        let most = bars
            .iter()
            .map(|(_, spread)| spread.most)
            .fold(f64::MIN_POSITIVE, f64::max);
        for (peer, spread) in bars {
            bar(&mut out, (peer, spread), most, y);
            y += BAR;
        }
        y += 6.0;
    }
    out.push_str("</svg>\n");
    out
}

fn bar(out: &mut String, (peer, spread): (&str, &Spread), most: f64, y: f64) {
    let at = |value: f64| LEFT + value / most * BARS;
    let colour = if peer == "ours" { "#c2410c" } else { "#64748b" };
    let Spread {
        least,
        median,
        most,
    } = *spread;
    let middle = y + BAR / 2.0;
    let _ = writeln!(
        out,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{peer}</text>\
         <rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{:.1}\" height=\"{:.0}\" fill=\"{colour}\"/>\
         <path d=\"M{:.1} {middle}H{:.1}\" stroke=\"#000\"/>\
         <text x=\"{:.1}\" y=\"{:.0}\">{} ({} to {})</text>",
        LEFT - 6.0,
        middle + 4.0,
        y + 2.0,
        at(median) - LEFT,
        BAR - 4.0,
        at(least),
        at(most),
        at(most) + 6.0,
        middle + 4.0,
        report::short(median),
        report::short(least),
        report::short(most),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[test]
    fn a_plot_has_a_bar_for_each_server_that_was_measured() {
        let of = |scenario: &str, peer: &str, cpu| Sample {
            scenario: scenario.to_owned(),
            peer: peer.to_owned(),
            repetition: 0,
            metrics: [("cpu_us".to_owned(), cpu)].into(),
        };
        let results = Results {
            samples: vec![
                of("group-1k 1-outstanding", "ours", 5.0),
                of("group-1k 1-outstanding", "bun", 6.0),
                of("group-1k connect", "ours", 50.0),
                of("idle-50k heartbeats", "ours", 7.0),
                of("nodes direct two-nodes 2000-per-s", "nats", 9.0),
                of("durable stored 1-outstanding", "ours", 9.0),
            ],
            ..Results::default()
        };
        let plots = all(&results);
        let named = |wanted| {
            let (_, svg) = plots.iter().find(|(name, _)| *name == wanted).unwrap();
            svg
        };
        let bars = |name| named(name).matches("<rect x=").count();
        assert_eq!(bars("cpu.svg"), 2);
        assert_eq!(bars("connect.svg"), 1);
        assert_eq!(bars("nodes.svg"), 2);
        assert_eq!(bars("memory.svg"), 0);
        let cpu = named("cpu.svg");
        assert!(cpu.contains(">ours<") && cpu.contains(">bun<"));
        assert!(named("nodes.svg").contains(">nats<"));
    }
}
