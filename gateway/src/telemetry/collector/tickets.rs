//! Customer service as a scraper sees it.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::{Writer, name};
use crate::ticket::{ClerkStats, TicketStats};

impl Writer<'_> {
    pub(super) fn tickets(&mut self, stats: &TicketStats, clerk: &ClerkStats) -> fmt::Result {
        // What was not looked at lately is not known: no figure is better than an old one.
        if let Some(seen) = stats.seen() {
            let help = "Open tickets of the whole gateway, as this node saw them last";
            self.gauge(name::TICKETS_OPEN, help, seen.open)?;
            let help = "Tickets of the whole gateway that wait, as this node saw them last";
            self.gauge(name::TICKETS_WAITING, help, seen.waiting)?;
            let help = "Agents of the whole gateway that are online, as this node saw them last";
            self.gauge(name::TICKETS_AGENTS, help, seen.agents)?;
        }
        let help = "Steps of tickets that this node made";
        self.counters(name::TICKETS_STEPS, help, "step", stats.steps())?;
        let help = "Tickets that this node closed, by reason";
        self.counters(name::TICKETS_CLOSED, help, "reason", stats.closed())?;
        let help = "Tickets that this node took from an agent again, by reason";
        self.counters(name::TICKETS_PASSED_ON, help, "reason", stats.passed_on())?;
        self.waits(stats)?;
        let help = "Timers of tickets and agents that this node fired";
        self.counter(name::TICKETS_FIRED, help, stats.fired.load(Relaxed))?;
        self.clerk(clerk)
    }

    fn waits(&mut self, stats: &TicketStats) -> fmt::Result {
        let (buckets, sum) = stats.waits();
        let count = buckets.iter().map(|(_, n)| n).sum();
        let help = "Time that customers waited until an agent was asked";
        let mut metric = self.describe(name::TICKETS_WAITED, help, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)
    }

    fn clerk(&mut self, clerk: &ClerkStats) -> fmt::Result {
        let commits = [
            ("made", &clerk.commits),
            ("forestalled", &clerk.conflicts),
            ("failed", &clerk.failures),
            ("found", &clerk.found),
        ];
        let commits = commits.map(|(outcome, count)| (outcome, count.load(Relaxed)));
        let help = "Commits of this node to the ticket desk, by what became of them";
        self.counters(name::TICKETS_COMMITS, help, "outcome", commits.into_iter())?;
        let dropped = [("session", &clerk.dropped), ("event", &clerk.untold)];
        let dropped = dropped.map(|(what, count)| (what, count.load(Relaxed)));
        let help = "News for which there was no room: of sessions to the desk, of events from it";
        self.counters(name::TICKETS_DROPPED, help, "what", dropped.into_iter())
    }
}
