//! What readers and publishers of a load come to.

use std::time::Duration;

use tokio::time::Instant;

use crate::history::History;
use crate::publisher::PublisherTask;
use crate::reader::ReaderTask;

/// What everybody saw up to now.
pub fn history(publishers: &[PublisherTask], readers: &[ReaderTask]) -> History {
    let told = publishers
        .iter()
        .flat_map(|publisher| publisher.told.lock().published.clone());
    let read = readers
        .iter()
        .map(|reader| reader.notes.lock().reader.clone());
    History {
        published: told.collect(),
        readers: read.collect(),
    }
}

/// The most that fall into any time so long.
pub fn most_within(span: Duration, moments: &[Instant]) -> usize {
    let within = |from: &Instant| {
        let soon = |at: &&Instant| *at >= from && **at - *from < span;
        moments.iter().filter(soon).count()
    };
    moments.iter().map(within).max().unwrap_or(0)
}
