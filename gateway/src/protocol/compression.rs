//! permessage-deflate as one connection agreed on it, and the deflaters of this thread.

use std::cell::RefCell;

use bytes::Bytes;
use wsc_wire::{Deflater, Opcode, Window};

/// How frames for a connection are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Compression {
    level: u8,
    window: Window,
}

thread_local! {
    /// One for each level and window in use, 300 KiB each: two windows, and a second level only around a reload.
    static DEFLATERS: RefCell<Vec<(Compression, Deflater)>> = const { RefCell::new(Vec::new()) };
}

/// Deflaters a thread keeps.
const KEPT: usize = 4;

impl Compression {
    /// Forms of a message: as it is, and for each window.
    pub(super) const FORMS: usize = 3;

    /// Of this level, 1 to 9, and window.
    pub const fn new(level: u8, window: Window) -> Self {
        Self { level, window }
    }

    /// Which form, below [`FORMS`](Self::FORMS). The level makes none of its own: whatever it is, every client reads it.
    pub(super) const fn form(this: Option<Self>) -> usize {
        match this {
            None => 0,
            Some(Self {
                window: Window::Wide,
                ..
            }) => 1,
            Some(Self {
                window: Window::Narrow,
                ..
            }) => 2,
        }
    }

    /// One frame, deflated where that is worth while.
    pub(super) fn encode(self, opcode: Opcode, payload: &[u8]) -> Bytes {
        if opcode.is_control() || payload.len() < wsc_wire::WORTHWHILE {
            return wsc_wire::encode(opcode, payload);
        }
        DEFLATERS.with_borrow_mut(|kept| {
            if let Some((_, deflater)) = kept.iter_mut().find(|(of, _)| *of == self) {
                return deflater.encode(opcode, payload);
            }
            let mut deflater = Deflater::new(self.level, self.window);
            let frame = deflater.encode(opcode, payload);
            if kept.len() >= KEPT {
                kept.remove(0);
            }
            kept.push((self, deflater));
            frame
        })
    }
}
