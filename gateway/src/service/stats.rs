//! `Statistics`: the numbers of a node in the words of its API. Sums of what each shard counts for itself, so they are
//! exact once the node is quiet and never lose a count under load.

use serde::Serialize;

use crate::hub::StatsSnapshot;

/// What a node has done since it started, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Live connections.
    pub current_connections: u64,
    /// Users with a session here.
    pub current_users: u64,
    /// Messages taken from clients and backends.
    pub total_messages_received: u64,
    /// Messages written to clients.
    pub total_messages_sent: u64,
    /// Mean size of the messages taken, in bytes of payload; 0 while there is none.
    pub average_message_size: f64,
    /// Errors told to clients.
    pub errors: u64,
    /// Live sessions by transport.
    pub by_transport: Vec<(&'static str, u64)>,
    /// Live sessions by user type.
    pub by_user_type: Vec<(String, u64)>,
}

impl Statistics {
    /// Reads a snapshot of the hub's counters.
    pub fn of(snapshot: StatsSnapshot) -> Self {
        Self {
            current_connections: snapshot.connections,
            current_users: snapshot.users,
            total_messages_received: snapshot.messages_received,
            total_messages_sent: snapshot.messages_sent,
            average_message_size: mean(snapshot.bytes_received, snapshot.messages_received),
            errors: snapshot.errors_total(),
            by_transport: snapshot.by_transport,
            by_user_type: snapshot.by_user_type,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a mean needs no more than 52 bits"
)]
fn mean(sum: u64, count: u64) -> f64 {
    if count == 0 {
        0.0
    } else {
        sum as f64 / count as f64
    }
}

#[cfg(test)]
mod tests {
    use crate::hub::Hub;

    use super::*;

    #[test]
    fn no_count_is_lost_when_many_threads_count_at_once() {
        const THREADS: u64 = 16;
        const EACH: u64 = 20_000;
        let (hub, _inboxes) = Hub::new(2);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..EACH).for_each(|_| hub.count_api_message(3)));
            }
        });
        let statistics = Statistics::of(hub.stats());
        assert_eq!(statistics.total_messages_received, THREADS * EACH);
        assert!((statistics.average_message_size - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_mean_of_nothing_is_nothing() {
        let statistics = Statistics::of(StatsSnapshot::default());
        assert!(statistics.average_message_size.abs() < f64::EPSILON);
    }
}
