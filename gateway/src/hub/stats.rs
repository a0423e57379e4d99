//! Counts of a shard. Written by the shard's own thread, read by anyone; sums are exact once the shard is quiet.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::TurnedAway;
use crate::protocol::{Disconnect, ErrorCode, Transport};

/// Counters of one shard, on cache lines of their own, so that shards never wait for each other's counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardStats {
    /// Live connections, authenticated or not.
    pub connections: AtomicU64,
    /// Messages taken from clients.
    pub messages_received: AtomicU64,
    /// Their bytes on the wire, payload only.
    pub bytes_received: AtomicU64,
    /// Messages written to sockets.
    pub messages_sent: AtomicU64,
    /// Bytes written to sockets, frame headers included.
    pub bytes_sent: AtomicU64,
    /// `send` calls that wrote them.
    pub writes: AtomicU64,
    /// Messages dropped for slow consumers, oldest first.
    pub dropped_oldest: AtomicU64,
    /// Messages dropped for slow consumers, newest first.
    pub dropped_newest: AtomicU64,
    /// Messages sent again because nobody acknowledged them.
    pub repeated: AtomicU64,
    /// Messages left in their logs since their recipient's outbox had no room.
    pub spilled: AtomicU64,
    /// Errors told to clients, by [`ErrorCode::ALL`].
    pub errors: [AtomicU64; ErrorCode::ALL.len()],
    /// Connections that ended, by [`Disconnect::ALL`].
    pub disconnects: [AtomicU64; Disconnect::ALL.len()],
    /// Live sessions, by [`Transport::HOLDING`].
    pub sessions: [AtomicU64; Transport::HOLDING.len()],
    /// Requests and sockets of clients refused, by [`TurnedAway::ALL`].
    pub refused: [AtomicU64; TurnedAway::ALL.len()],
}

impl ShardStats {
    /// Counts an error told to a client.
    pub fn count_error(&self, code: ErrorCode) {
        for (_, counter) in ErrorCode::ALL
            .iter()
            .zip(&self.errors)
            .filter(|(known, _)| **known == code)
        {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Counts a connection that ended.
    pub fn count_disconnect(&self, why: Disconnect) {
        let counters = Disconnect::ALL.iter().zip(&self.disconnects);
        for (_, counter) in counters.filter(|(known, _)| known.label() == why.label()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Counts a session that began.
    pub fn session_began(&self, transport: Transport) {
        if let Some(sessions) = self.sessions(transport) {
            sessions.fetch_add(1, Relaxed);
        }
    }

    /// Counts a session that ended.
    pub fn session_ended(&self, transport: Transport) {
        if let Some(sessions) = self.sessions(transport) {
            sessions.fetch_sub(1, Relaxed);
        }
    }

    fn sessions(&self, transport: Transport) -> Option<&AtomicU64> {
        let mut counters = Transport::HOLDING.iter().zip(&self.sessions);
        counters.find_map(|(known, sessions)| (*known == transport).then_some(sessions))
    }

    /// Counts a client's request or socket that was refused.
    pub fn count_refused(&self, why: TurnedAway) {
        let counters = TurnedAway::ALL.iter().zip(&self.refused);
        for (_, counter) in counters.filter(|(known, _)| **known == why) {
            counter.fetch_add(1, Relaxed);
        }
    }
}

/// Sums over shards at one moment.
#[derive(Clone, Debug, Default)]
pub struct StatsSnapshot {
    /// Live connections, authenticated or not.
    pub connections: u64,
    /// Users with a session here.
    pub users: u64,
    /// Messages taken from clients.
    pub messages_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Messages written to sockets.
    pub messages_sent: u64,
    /// Bytes written to sockets.
    pub bytes_sent: u64,
    /// `send` calls that wrote them.
    pub writes: u64,
    /// Messages dropped for slow consumers, oldest first.
    pub dropped_oldest: u64,
    /// Messages dropped for slow consumers, newest first.
    pub dropped_newest: u64,
    /// Messages sent again because nobody acknowledged them.
    pub repeated: u64,
    /// Messages left in their logs since their recipient's outbox had no room.
    pub spilled: u64,
    /// Errors told to clients, by code.
    pub errors: Vec<(&'static str, u64)>,
    /// Connections that ended, by reason.
    pub disconnects: Vec<(&'static str, u64)>,
    /// Requests and sockets of clients refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Live sessions by user type.
    pub by_user_type: Vec<(String, u64)>,
    /// Live sessions by transport.
    pub by_transport: Vec<(&'static str, u64)>,
}

impl StatsSnapshot {
    /// Adds one shard's counters.
    pub fn add(&mut self, shard: &ShardStats) {
        self.connections += shard.connections.load(Relaxed);
        self.messages_received += shard.messages_received.load(Relaxed);
        self.bytes_received += shard.bytes_received.load(Relaxed);
        self.messages_sent += shard.messages_sent.load(Relaxed);
        self.bytes_sent += shard.bytes_sent.load(Relaxed);
        self.writes += shard.writes.load(Relaxed);
        self.dropped_oldest += shard.dropped_oldest.load(Relaxed);
        self.dropped_newest += shard.dropped_newest.load(Relaxed);
        self.repeated += shard.repeated.load(Relaxed);
        self.spilled += shard.spilled.load(Relaxed);
        let errors = ErrorCode::ALL.map(ErrorCode::as_str);
        add_by(&mut self.errors, errors.iter().copied().zip(&shard.errors));
        let disconnects = Disconnect::ALL.map(Disconnect::label);
        add_by(
            &mut self.disconnects,
            disconnects.iter().copied().zip(&shard.disconnects),
        );
        let transports = Transport::HOLDING.map(Transport::label);
        add_by(
            &mut self.by_transport,
            transports.iter().copied().zip(&shard.sessions),
        );
        let refused = TurnedAway::ALL.map(TurnedAway::as_str);
        add_by(&mut self.refused, refused.into_iter().zip(&shard.refused));
    }

    /// Errors of every code.
    pub fn errors_total(&self) -> u64 {
        self.errors.iter().map(|(_, n)| n).sum()
    }
}

fn add_by<'a, K: PartialEq>(
    sums: &mut Vec<(K, u64)>,
    counts: impl Iterator<Item = (K, &'a AtomicU64)>,
) {
    for (key, count) in counts {
        let count = count.load(Relaxed);
        match sums.iter_mut().find(|(known, _)| *known == key) {
            Some((_, sum)) => *sum += count,
            None => sums.push((key, count)),
        }
    }
}
