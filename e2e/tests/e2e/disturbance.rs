//! `Disturbance`: what an operation does to clients that are connected: how often they are sent away, and how fast they return.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use crate::crowd::Load;
use crate::load::most_within;
use crate::reader::ReaderTask;

/// The rate is judged over so long: for a moment the clients themselves stand still on a busy machine, and then come in a heap.
const WINDOW: Duration = Duration::from_secs(3);

/// Where an operation began: how often each client had been disconnected by then.
pub struct Disturbance {
    at: Instant,
    away: Vec<usize>,
}

/// What clients may be asked for.
pub struct Bounds {
    /// The configured rate, of all pods that may send clients away together, in sessions a second.
    pub rate: usize,
    /// How often the same client may have to go.
    pub times: usize,
}

impl Disturbance {
    /// The operation begins.
    pub fn begin(load: &Load) -> Self {
        Self {
            at: Instant::now(),
            away: load.readers.iter().map(disconnects).collect(),
        }
    }

    /// How many disconnects there have been since.
    pub fn disconnects(&self, load: &Load) -> usize {
        let now: usize = load.readers.iter().map(disconnects).sum();
        now.saturating_sub(self.away.iter().sum())
    }

    /// Somebody had to go, nobody more often than allowed or without a word, and they came back no faster than one and a
    /// half times the configured rate.
    pub fn was_gentle(self, what: &str, load: &Load, bounds: &Bounds) -> Result<()> {
        let (mut most, mut all, mut untold) = (0, 0, 0);
        let (mut told, mut returns) = (Vec::new(), Vec::new());
        for (reader, before) in load.readers.iter().zip(&self.away) {
            let notes = reader.notes.lock();
            let gone = notes.stays.get(*before..).unwrap_or_default();
            let (_last, gone) = gone.split_last().context("never connected")?;
            (most, all) = (most.max(gone.len()), all + gone.len());
            untold += gone.iter().filter(|stay| stay.told.is_none()).count();
            told.extend(gone.iter().filter_map(|stay| stay.told));
            let stays = notes.stays.get(before + 1..).unwrap_or_default();
            returns.extend(stays.iter().map(|stay| stay.began));
        }
        let asked = most_within(WINDOW, &told);
        let second = most_within(Duration::from_secs(1), &returns);
        let storm = most_within(WINDOW, &returns);
        let allowed = bounds.rate * usize::try_from(WINDOW.as_secs())? * 3 / 2;
        println!(
            "{what}: {} clients, {all} disconnects, at most {most} each, {untold} without a word; at a rate of {} at most \
             {second} came back in a second, and {storm} in {WINDOW:?} ({asked} were told to), where {allowed} are allowed; {:.1?}",
            load.readers.len(),
            bounds.rate,
            self.at.elapsed()
        );
        ensure!(all > 0, "{what}: nobody had to go");
        ensure!(
            most <= bounds.times,
            "{what}: a client was disconnected {most} times"
        );
        ensure!(untold == 0, "{what}: {untold} were not told");
        ensure!(
            storm <= allowed,
            "{what}: {storm} came back in {WINDOW:?}, {allowed} are allowed"
        );
        Ok(())
    }
}

fn disconnects(reader: &ReaderTask) -> usize {
    reader.notes.lock().stays.len().saturating_sub(1)
}
