//! The outbox: what it bounds, what it drops, what goes first, and how many system calls it makes.

use std::cell::{Cell, RefCell};

use super::super::rank::OVERTAKEN_MAX;
use super::*;
use crate::protocol::{GroupId, LogId, Priority};

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

/// A message of ten bytes.
fn message(byte: u8, priority: Priority, log: Option<&LogId>) -> Waiting {
    Waiting::new(frame(byte, 10), Rank::of(Some(priority), log))
}

fn group(name: &str) -> LogId {
    LogId::Group(GroupId::new(name).unwrap())
}

/// The order in which frames of ten bytes were written.
fn order(written: &[u8]) -> Vec<u8> {
    written.chunks(10).map(|frame| frame[0]).collect()
}

const WIDE: Limits = Limits {
    messages: 1000,
    bytes: 100_000,
};

fn push_all(outbox: &mut Outbox, frames: impl IntoIterator<Item = Waiting>) {
    for frame in frames {
        let pushed = outbox.push(frame, WIDE, OverflowPolicy::Disconnect, &mut Vec::new());
        assert_eq!(pushed, Pushed::Queued);
    }
}

#[test]
fn urgent_messages_go_before_others_that_wait_and_after_what_is_half_written() {
    use Priority::{Critical, High, Low, Normal};
    let mut outbox = Outbox::default();
    push_all(&mut outbox, [message(0, Normal, None)]);
    let io = socket(3);
    let half = outbox.flush(&io, &mut Gather::new(64 * 1024), &mut Vec::new());
    assert!(half.unwrap().blocked);
    let queued = [
        (1, Normal),
        (2, High),
        (3, Low),
        (4, Critical),
        (5, Normal),
        (6, High),
        (7, Critical),
    ];
    let queued = queued.map(|(byte, priority)| message(byte, priority, None));
    push_all(&mut outbox, queued);
    io.room.set(usize::MAX);
    outbox
        .flush(&io, &mut Gather::new(64 * 1024), &mut Vec::new())
        .unwrap();
    let written = io.written.into_inner();
    assert_eq!(order(&written), [0, 4, 7, 2, 6, 1, 3, 5]);
}

#[test]
fn nothing_overtakes_its_own_log_or_a_frame_of_the_protocol() {
    use Priority::{Critical, Normal};
    let (room, hall) = (group("room"), group("hall"));
    let mut outbox = Outbox::default();
    push_all(
        &mut outbox,
        [
            message(0, Normal, Some(&room)),
            message(1, Normal, None),
            message(2, Critical, Some(&room)),
            message(3, Critical, Some(&hall)),
        ],
    );
    // It goes before what is not of its log, and no further; of two critical ones the first stays first.
    assert_eq!(order(&written(&mut outbox)), [0, 2, 3, 1]);
    push_all(
        &mut outbox,
        [
            message(0, Normal, None),
            frame(1, 10).into(),
            message(2, Normal, None),
            message(3, Critical, None),
        ],
    );
    assert_eq!(order(&written(&mut outbox)), [0, 1, 3, 2]);
}

#[test]
fn what_makes_room_is_the_oldest_of_the_lowest_priority() {
    use Priority::{Critical, High, Normal};
    let mut outbox = Outbox::default();
    let mut push = |byte, priority| {
        let frame = message(byte, priority, None);
        outbox.push(frame, LIMITS, OverflowPolicy::DropOldest, &mut Vec::new())
    };
    for (byte, priority) in [(0, Critical), (1, Normal), (2, Normal)] {
        assert_eq!(push(byte, priority), Pushed::Queued);
    }
    for (byte, priority) in [(3, High), (4, High), (5, High)] {
        assert_eq!(push(byte, priority), Pushed::DroppedOldest(1));
    }
    assert_eq!(order(&written(&mut outbox)), [0, 4, 5]);
}

proptest::proptest! {
    #[test]
    fn order_within_a_log_and_a_priority_is_kept_and_waiting_is_bounded(
        pushes in proptest::collection::vec((0_u8..4, 0_u8..4, proptest::bool::weighted(0.1)), 1..250),
    ) {
        let logs = [None, Some(group("a")), Some(group("b")), Some(group("c"))];
        let levels = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        let mut outbox = Outbox::default();
        let frames = (0_u8..).zip(&pushes).map(|(byte, (level, log, fixed))| {
            if *fixed {
                frame(byte, 10).into()
            } else {
                message(byte, levels[usize::from(*level)], logs[usize::from(*log)].as_ref())
            }
        });
        push_all(&mut outbox, frames);
        let order = order(&written(&mut outbox));
        proptest::prop_assert_eq!(order.len(), pushes.len());
        for (at, first) in order.iter().enumerate() {
            let passed = order[..at].iter().filter(|before| *before > first);
            proptest::prop_assert!(passed.count() <= usize::from(OVERTAKEN_MAX));
            for second in order[at + 1..].iter().filter(|second| *second < first) {
                let [earlier, later] = [second, first].map(|byte| pushes[usize::from(*byte)]);
                proptest::prop_assert!(!earlier.2 && !later.2, "a frame of the protocol was passed");
                proptest::prop_assert!(later.0 > earlier.0 && later.0 > 1);
                proptest::prop_assert!(later.1 == 0 || later.1 != earlier.1);
            }
        }
    }
}

#[test]
fn what_a_session_counts_as_had_is_not_dropped_for_what_is_nowhere_else() {
    use Priority::{Critical, Normal};
    let limits = Limits {
        messages: 3,
        bytes: 1000,
    };
    let room = group("room");
    let event = Waiting::new(frame(3, 10), Rank::of(None, Some(&room)));
    let mut outbox = Outbox::default();
    let mut push = |frame| outbox.push(frame, limits, OverflowPolicy::DropOldest, &mut Vec::new());
    push(message(1, Normal, Some(&room)));
    push(message(2, Normal, None));
    assert_eq!(push(event), Pushed::Queued);
    assert_eq!(push(message(4, Normal, None)), Pushed::DroppedOldest(1));
    assert_eq!(push(message(5, Critical, None)), Pushed::DroppedOldest(1));
    let io = socket(usize::MAX);
    outbox
        .flush(&io, &mut Gather::new(64 * 1024), &mut Vec::new())
        .unwrap();
    assert_eq!(order(&io.written.into_inner()), [1, 3, 5]);
    let stored = (0..3).map(|byte| message(byte, Normal, Some(&room)));
    for frame in stored {
        assert_eq!(
            outbox.push(frame, limits, OverflowPolicy::DropOldest, &mut Vec::new()),
            Pushed::Queued
        );
    }
    let pushed = outbox.push(
        message(9, Critical, None),
        limits,
        OverflowPolicy::DropOldest,
        &mut Vec::new(),
    );
    assert_eq!(pushed, Pushed::DroppedNewest);
}

#[test]
fn the_head_of_the_answer_goes_out_with_the_first_frame_is_none_itself_and_is_never_dropped() {
    let mut outbox = Outbox::default();
    let mut pool = Vec::new();
    outbox.push_unbounded(Waiting::head(frame(b'h', 40)), &mut pool);
    for _ in 0..5 {
        outbox.push(
            frame(b'f', 30),
            LIMITS,
            OverflowPolicy::DropOldest,
            &mut pool,
        );
    }
    outbox.clear();
    outbox.push_unbounded(frame(b'c', 2), &mut pool);
    let io = socket(usize::MAX);
    let flushed = outbox.flush(&io, &mut Gather::new(1024), &mut pool);
    let flushed = flushed.expect("writes");
    assert_eq!((flushed.frames, flushed.writes), (1, 1));
    let wanted = [vec![b'h'; 40], vec![b'c'; 2]].concat();
    assert_eq!(io.written.into_inner(), wanted);
}

#[test]
fn what_many_get_is_copied_once_and_each_gets_its_own() {
    let frames: Vec<Frame> = (0..4).map(|byte| frame(byte, 10)).collect();
    let mut scratch = Gather::new(64 * 1024);
    let mut write = |waiting: &[usize], room: usize| {
        let mut outbox = Outbox::default();
        for index in waiting {
            let limits = Limits {
                messages: 9,
                bytes: 999,
            };
            let policy = OverflowPolicy::Disconnect;
            outbox.push(Rc::clone(&frames[*index]), limits, policy, &mut Vec::new());
        }
        let queue = outbox.queue.clone();
        let was_there = scratch.holds(&queue);
        let io = socket(room);
        outbox.flush(&io, &mut scratch, &mut Vec::new()).unwrap();
        // The rest, from the middle of a frame.
        io.room.set(usize::MAX);
        outbox.flush(&io, &mut scratch, &mut Vec::new()).unwrap();
        let wanted: Vec<u8> = waiting
            .iter()
            .flat_map(|index| frames[*index].to_vec())
            .collect();
        assert_eq!(io.written.into_inner(), wanted, "{waiting:?}");
        was_there
    };
    let all = usize::MAX;
    assert!(!write(&[0, 1, 2], all), "nothing was there");
    assert!(write(&[0, 1, 2], all));
    assert!(!write(&[0, 1, 2, 3], all), "one more goes with it");
    assert!(!write(&[0, 1], all), "fewer");
    assert!(!write(&[1, 0], all), "another order");
    assert!(write(&[1, 0], 15), "the same, of which not all is taken");
    assert!(!write(&[1, 0, 2], 15), "not all is taken");
    assert!(!write(&[1, 0, 2], all), "half a frame was there");
}
