//! The outbox: what it bounds, what it drops, and how many system calls it makes.

use std::cell::{Cell, RefCell};

use super::*;

/// A socket that takes so many bytes in all and so many a call.
#[derive(Default)]
struct Socket {
    room: Cell<usize>,
    written: RefCell<Vec<u8>>,
    calls: Cell<usize>,
}

impl TryWrite for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.calls.set(self.calls.get() + 1);
        let take = bytes.len().min(self.room.get());
        if take == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room.set(self.room.get() - take);
        self.written.borrow_mut().extend_from_slice(&bytes[..take]);
        Ok(take)
    }
}

fn socket(room: usize) -> Socket {
    Socket {
        room: Cell::new(room),
        ..Socket::default()
    }
}

fn frame(byte: u8, len: usize) -> Frame {
    Rc::new(Bytes::from(vec![byte; len]))
}

const LIMITS: Limits = Limits {
    messages: 3,
    bytes: 100,
};

fn filled(policy: OverflowPolicy) -> (Outbox, Vec<Pushed>) {
    let mut outbox = Outbox::default();
    let pushed = (0..5)
        .map(|i| outbox.push(frame(i, 10), LIMITS, policy, &mut Vec::new()))
        .collect();
    (outbox, pushed)
}

fn written(outbox: &mut Outbox) -> Vec<u8> {
    let io = socket(usize::MAX);
    outbox
        .flush(&io, &mut Gather::new(64 * 1024), &mut Vec::new())
        .expect("writes");
    io.written.into_inner()
}

#[test]
fn many_small_frames_leave_in_one_write() {
    let (mut outbox, mut scratch, mut pool) =
        (Outbox::default(), Gather::new(64 * 1024), Vec::new());
    for i in 0..8 {
        outbox.push(
            frame(i, 100),
            Limits {
                messages: 8,
                bytes: 800,
            },
            OverflowPolicy::Disconnect,
            &mut pool,
        );
    }
    let io = socket(usize::MAX);
    let flushed = outbox.flush(&io, &mut scratch, &mut pool).expect("writes");
    assert_eq!(
        (
            flushed.frames,
            flushed.bytes,
            flushed.writes,
            io.calls.get()
        ),
        (8, 800, 1, 1)
    );
    assert!(outbox.is_empty() && outbox.bytes() == 0);
}

#[test]
fn a_large_frame_is_not_copied() {
    let (mut outbox, mut scratch, mut pool) =
        (Outbox::default(), Gather::new(64 * 1024), Vec::new());
    for len in [50_000, 10, 10] {
        outbox.push(
            frame(1, len),
            Limits {
                messages: 8,
                bytes: 100_000,
            },
            OverflowPolicy::Disconnect,
            &mut pool,
        );
    }
    let flushed = outbox
        .flush(&socket(usize::MAX), &mut scratch, &mut pool)
        .expect("writes");
    assert_eq!((flushed.writes, scratch.bytes.len()), (2, 20));
}

#[test]
fn a_blocked_socket_keeps_the_rest_in_order() {
    let (mut outbox, mut scratch, mut pool) =
        (Outbox::default(), Gather::new(64 * 1024), Vec::new());
    for i in 0..3 {
        outbox.push(frame(i, 10), LIMITS, OverflowPolicy::Disconnect, &mut pool);
    }
    let io = socket(15);
    let first = outbox.flush(&io, &mut scratch, &mut pool).expect("writes");
    assert_eq!((first.frames, first.blocked, outbox.bytes()), (1, true, 15));
    io.room.set(usize::MAX);
    let second = outbox.flush(&io, &mut scratch, &mut pool).expect("writes");
    assert_eq!((second.frames, second.blocked), (2, false));
    let expected: Vec<u8> = (0..3).flat_map(|i| [i; 10]).collect();
    assert_eq!(*io.written.borrow(), expected);
}

#[test]
fn a_full_outbox_does_what_the_policy_says() {
    let (mut outbox, pushed) = filled(OverflowPolicy::Disconnect);
    assert_eq!(
        pushed[2..],
        [Pushed::Queued, Pushed::Overflow, Pushed::Overflow]
    );
    assert_eq!(written(&mut outbox).len(), 30);

    let (mut outbox, pushed) = filled(OverflowPolicy::DropNewest);
    assert_eq!(pushed[3..], [Pushed::DroppedNewest; 2]);
    assert_eq!(written(&mut outbox)[29], 2);

    let (mut outbox, pushed) = filled(OverflowPolicy::DropOldest);
    assert_eq!(pushed[3..], [Pushed::DroppedOldest(1); 2]);
    assert_eq!((written(&mut outbox)[0], outbox.bytes()), (2, 0));
}

#[test]
fn bytes_are_bounded_as_well_but_one_large_frame_may_wait_alone() {
    let mut outbox = Outbox::default();
    let mut push = |len| {
        outbox.push(
            frame(0, len),
            LIMITS,
            OverflowPolicy::DropNewest,
            &mut Vec::new(),
        )
    };
    assert_eq!(
        (push(500), push(1)),
        (Pushed::Queued, Pushed::DroppedNewest)
    );
}

#[test]
fn a_half_written_frame_is_never_dropped() {
    let (mut outbox, mut scratch, mut pool) =
        (Outbox::default(), Gather::new(64 * 1024), Vec::new());
    outbox.push(frame(1, 10), LIMITS, OverflowPolicy::DropOldest, &mut pool);
    outbox.push(frame(2, 10), LIMITS, OverflowPolicy::DropOldest, &mut pool);
    outbox
        .flush(&socket(5), &mut scratch, &mut pool)
        .expect("writes");
    let big = outbox.push(frame(3, 100), LIMITS, OverflowPolicy::DropOldest, &mut pool);
    assert_eq!((big, outbox.bytes()), (Pushed::DroppedNewest, 15));
    let fits = outbox.push(frame(4, 90), LIMITS, OverflowPolicy::DropOldest, &mut pool);
    assert_eq!((fits, outbox.bytes()), (Pushed::DroppedOldest(1), 95));
    outbox.clear();
    assert_eq!(written(&mut outbox), [1; 5]);
}

#[test]
fn an_empty_outbox_owns_no_heap_and_reuses_its_queue() {
    let (mut outbox, mut scratch, mut pool) =
        (Outbox::default(), Gather::new(64 * 1024), Vec::new());
    outbox.push(frame(1, 10), LIMITS, OverflowPolicy::Disconnect, &mut pool);
    outbox
        .flush(&socket(usize::MAX), &mut scratch, &mut pool)
        .expect("writes");
    assert_eq!((outbox.queue.capacity(), pool.len()), (0, 1));
    outbox.push(frame(1, 10), LIMITS, OverflowPolicy::Disconnect, &mut pool);
    assert!(pool.is_empty() && outbox.queue.capacity() > 0);
}

#[test]
fn one_write_takes_no_more_than_the_write_buffer_holds() {
    let (mut outbox, mut pool) = (Outbox::default(), Vec::new());
    let limits = Limits {
        messages: 8,
        bytes: 800,
    };
    for i in 0..8 {
        outbox.push(frame(i, 100), limits, OverflowPolicy::Disconnect, &mut pool);
    }
    let io = socket(usize::MAX);
    let flushed = outbox
        .flush(&io, &mut Gather::new(400), &mut pool)
        .expect("writes");
    assert_eq!((flushed.frames, flushed.writes), (8, 2));
    let expected: Vec<u8> = (0..8).flat_map(|i| [i; 100]).collect();
    assert_eq!(*io.written.borrow(), expected);
}

/// A socket that takes everything and sends it when it is asked once more.
struct Sealing(Cell<bool>);

impl TryWrite for Sealing {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set(false);
        Ok(bytes.len())
    }

    fn settle(&self) -> io::Result<bool> {
        Ok(self.0.get())
    }
}

#[test]
fn what_a_socket_took_but_did_not_send_is_waited_for() {
    let (mut outbox, mut pool) = (Outbox::default(), QueuePool::new());
    outbox.push_unbounded(frame(b'a', 10), &mut pool);
    let socket = Sealing(Cell::new(true));
    let mut flush = || {
        let flushed = outbox.flush(&socket, &mut Gather::new(4096), &mut pool);
        flushed.unwrap().blocked
    };
    assert!(flush(), "nothing waits in the outbox, but in the socket");
    assert!(flush(), "and still does");
    socket.0.set(true);
    assert!(!flush());
}
