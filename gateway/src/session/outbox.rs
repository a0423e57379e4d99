//! What waits to be written to one socket: encoded frames, shared with other outboxes by reference, bounded in messages
//! and in bytes.
//!
//! In the order in which they came, but for messages of a higher priority: see [`super::Rank`]. Flushed once per turn of its shard with one `send` where possible: small frames are copied together into the shard's
//! scratch buffer, large ones go by reference. An empty outbox owns no heap.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::rank::{Rank, Waiting};

/// An encoded WebSocket frame. One allocation in the process; each shard shares it among its sessions without atomics.
pub type Frame = Rc<Bytes>;

/// A frame up to this many bytes is copied to go out together with others; a larger one is written by reference.
const COPY_MAX: usize = 4 * 1024;
/// Empty queues kept for reuse by a shard, and the most frames a kept queue has room for.
const POOL_MAX: usize = 1024;
const POOLED_CAPACITY_MAX: usize = 64;

/// Queues without owners. A shard has one, so that an idle session owns none and a busy one allocates none.
pub type QueuePool = Vec<VecDeque<Waiting>>;

/// What small frames are copied together in for one `send`, up to so many bytes. A shard has one, and copies once what many
/// of its sessions get in one turn.
#[derive(Debug)]
pub struct Gather {
    bytes: Vec<u8>,
    max: usize,
    /// What is in there, if all of it are whole frames.
    frames: Vec<Frame>,
}

impl Gather {
    /// At most `max` bytes go out in one `send`, unless a single frame is larger.
    pub const fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max,
            frames: Vec::new(),
        }
    }

    /// The turn is over: what it wrote need not be kept for it.
    pub fn forget(&mut self) {
        self.frames.clear();
    }

    fn takes(&self, frame: &Waiting) -> bool {
        frame.size() <= COPY_MAX && self.bytes.len() + frame.size() <= self.max
    }

    /// Whether this is what was copied together last, and no more of it would be copied now.
    fn holds(&self, queue: &VecDeque<Waiting>) -> bool {
        let mut waiting = queue.iter();
        let mut same = self.frames.iter().zip(&mut waiting);
        !self.frames.is_empty()
            && self.frames.len() <= queue.len()
            && same.all(|(held, waiting)| Rc::ptr_eq(held, &waiting.frame))
            && queue
                .get(self.frames.len())
                .is_none_or(|next| !self.takes(next))
    }

    fn copy(&mut self, queue: &VecDeque<Waiting>, head_written: usize) {
        self.bytes.clear();
        self.frames.clear();
        for (index, frame) in queue.iter().enumerate() {
            let written = if index == 0 { head_written } else { 0 };
            if index > 0 && !self.takes(frame) {
                break;
            }
            let rest = frame.frame.get(written..).unwrap_or_default();
            self.bytes.extend_from_slice(rest);
            if head_written == 0 {
                self.frames.push(Rc::clone(&frame.frame));
            }
        }
    }
}

/// A socket that can be written to without waiting.
pub trait TryWrite {
    /// Writes what fits; `WouldBlock` when nothing does.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes what an earlier call took and could not write yet; false when some of it still waits.
    fn settle(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// The bounds of an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At most so many frames wait.
    pub messages: usize,
    /// At most so many bytes wait; one frame larger than this may wait alone.
    pub bytes: usize,
}

/// What happens when a frame does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverflowPolicy {
    /// The session ends.
    #[default]
    Disconnect,
    /// Frames that waited longest make room, but for stored messages; those that come now are read from their log later.
    DropOldest,
    /// The new frame is dropped; what is stored is read from its log when there is room again.
    DropNewest,
    /// The same.
    Spill,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits to be written.
    Queued,
    /// It waits, and so many older ones were dropped for it.
    DroppedOldest(usize),
    /// It was dropped.
    DroppedNewest,
    /// It does not fit and the policy is to disconnect.
    Overflow,
}

/// What a flush left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Frames written to their last byte.
    pub frames: usize,
    /// Bytes written.
    pub bytes: usize,
    /// System calls made.
    pub writes: usize,
    /// The socket takes no more now.
    pub blocked: bool,
}

/// The bounded queue of one session.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Waiting>,
    /// Bytes of the first frame that are written already.
    head_written: usize,
    /// Bytes that wait.
    bytes: usize,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a frame, or does what the policy says when it does not fit.
    pub fn push(
        &mut self,
        frame: impl Into<Waiting>,
        limits: Limits,
        policy: OverflowPolicy,
        pool: &mut QueuePool,
    ) -> Pushed {
        let frame = frame.into();
        let mut dropped = 0;
        if !self.fits(frame.size(), limits) {
            match policy {
                OverflowPolicy::Disconnect => return Pushed::Overflow,
                OverflowPolicy::DropOldest if self.can_make_room(frame.size(), limits) => {}
                _ => return Pushed::DroppedNewest,
            }
        }
        while !self.fits(frame.size(), limits) {
            self.drop_oldest();
            dropped += 1;
        }
        self.push_unbounded(frame, pool);
        if dropped == 0 {
            Pushed::Queued
        } else {
            Pushed::DroppedOldest(dropped)
        }
    }

    /// Adds a frame that must go out whatever the bounds: a close frame, or a word before it.
    pub fn push_unbounded(&mut self, frame: impl Into<Waiting>, pool: &mut QueuePool) {
        let frame = frame.into();
        if self.queue.capacity() == 0
            && let Some(queue) = pool.pop()
        {
            self.queue = queue;
        }
        self.bytes += frame.size();
        if frame.rank().is_urgent() {
            let place = self.overtake(frame.rank());
            self.queue.insert(place, frame);
        } else {
            self.queue.push_back(frame);
        }
    }

    /// Where a frame of this rank goes; those that it goes before remember that.
    fn overtake(&mut self, rank: Rank) -> usize {
        let started = usize::from(self.head_written > 0);
        let mut place = self.queue.len();
        let unstarted = self.queue.iter_mut().skip(started).rev();
        for waiting in unstarted.take_while(|waiting| waiting.yields_to(rank)) {
            waiting.overtake();
            place -= 1;
        }
        place
    }

    /// Drops what waits, except the rest of a frame that is half written, and the head of the answer.
    pub fn clear(&mut self) {
        let is_head = self.queue.front().is_some_and(Waiting::is_head);
        let keep = usize::from(self.head_written > 0 || is_head);
        self.queue.truncate(keep);
        self.bytes = self
            .queue
            .front()
            .map_or(0, |head| head.size() - self.head_written);
    }

    /// Writes until the outbox is empty or the socket blocks.
    pub fn flush(
        &mut self,
        io: &impl TryWrite,
        scratch: &mut Gather,
        pool: &mut QueuePool,
    ) -> io::Result<Flushed> {
        let mut flushed = Flushed {
            blocked: !io.settle()?,
            ..Flushed::default()
        };
        while !self.queue.is_empty() && !flushed.blocked {
            let (wanted, result) = self.write_some(io, scratch);
            flushed.writes += 1;
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    flushed.bytes += written;
                    flushed.frames += self.advance(written);
                    // A short write means a full socket buffer: no second call to hear it said.
                    flushed.blocked = written < wanted;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => flushed.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.queue.is_empty() {
            self.release(pool);
        }
        // What the socket took but did not write is waited for like what it did not take.
        flushed.blocked |= !io.settle()?;
        Ok(flushed)
    }

    /// Whether a frame of so many bytes fits. One alone always does.
    pub fn fits(&self, len: usize, limits: Limits) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < limits.messages && self.bytes + len <= limits.bytes)
    }

    /// Whether the frame would fit with everything dropped but what stays, and a half-written head, which must be finished.
    fn can_make_room(&self, len: usize, limits: Limits) -> bool {
        let started = usize::from(self.head_written > 0);
        let waiting = self.queue.iter().enumerate();
        let stays = waiting.filter(|(at, waiting)| *at < started || waiting.worth().is_none());
        let (count, bytes) = stays.fold((0, 0), |(count, bytes), (_, waiting)| {
            (count + 1, bytes + waiting.size())
        });
        count == 0 || (count < limits.messages && bytes - self.head_written + len <= limits.bytes)
    }

    fn drop_oldest(&mut self) {
        let started = usize::from(self.head_written > 0);
        let unstarted = self.queue.iter().enumerate().skip(started);
        let worth = unstarted.filter_map(|(index, waiting)| Some((waiting.worth()?, index)));
        // Nearly always the first: most messages are of the lowest priority.
        let lowest = worth.clone().find(|(worth, _)| *worth == 0);
        let lowest = lowest.or_else(|| worth.min_by_key(|(worth, _)| *worth));
        if let Some(frame) = lowest.and_then(|(_, index)| self.queue.remove(index)) {
            self.bytes -= frame.size();
        }
    }

    /// One system call: how much was offered, and what came of it.
    fn write_some(&self, io: &impl TryWrite, scratch: &mut Gather) -> (usize, io::Result<usize>) {
        let Some(head) = self.queue.front() else {
            return (0, Ok(0));
        };
        let rest = head.frame.get(self.head_written..).unwrap_or_default();
        if self.queue.len() == 1 || rest.len() > COPY_MAX {
            return (rest.len(), io.try_write(rest));
        }
        if rest.len() > scratch.max {
            return (rest.len(), io.try_write(rest));
        }
        if self.head_written > 0 || !scratch.holds(&self.queue) {
            scratch.copy(&self.queue, self.head_written);
        }
        (scratch.bytes.len(), io.try_write(&scratch.bytes))
    }

    /// Takes written bytes off the front; how many frames they finished.
    fn advance(&mut self, mut written: usize) -> usize {
        self.bytes = self.bytes.saturating_sub(written);
        let mut frames = 0;
        while let Some(head) = self.queue.front() {
            let rest = head.size() - self.head_written;
            if written < rest {
                self.head_written += written;
                break;
            }
            written -= rest;
            self.head_written = 0;
            frames += usize::from(!head.is_head());
            self.queue.pop_front();
        }
        frames
    }

    fn release(&mut self, pool: &mut QueuePool) {
        let queue = std::mem::take(&mut self.queue);
        if pool.len() < POOL_MAX && (1..=POOLED_CAPACITY_MAX).contains(&queue.capacity()) {
            pool.push(queue);
        }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
