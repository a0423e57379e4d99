//! Deflates the payload of a frame, once for all its recipients.
//!
//! Owns zlib's state for one level and window, about 300 KiB that a thread keeps and uses for one frame after the other.

use std::fmt;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::{TAIL, Window};
use crate::{Opcode, encode, encode::join_deflated};

/// Payloads below so many bytes go out as they are. Measured with a chat message as the gateway writes it
/// (`examples/deflate.rs`): up to here a quarter is saved, mostly of the envelope, which is less than what a packet's own
/// headers take; with 290 bytes it is a third, with 370 half.
pub const WORTHWHILE: usize = 256;

/// See the module.
pub struct Deflater {
    state: Compress,
    out: Vec<u8>,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}

impl Deflater {
    /// A deflater of this level, 0 (stored) to 9 (smallest); what is above means 9.
    pub fn new(level: u8, window: Window) -> Self {
        let level = Compression::new(u32::from(level.min(9)));
        Self {
            state: Compress::new_with_window_bits(level, false, window.bits()),
            out: Vec::new(),
        }
    }

    /// One final frame of data. It is deflated unless that is not worth while: the payload is small, or would not shrink.
    pub fn encode(&mut self, opcode: Opcode, payload: &[u8]) -> Bytes {
        if opcode.is_control() || payload.len() < WORTHWHILE {
            return encode(opcode, payload);
        }
        match self.deflate(payload) {
            Some(deflated) if deflated.len() < payload.len() => join_deflated(opcode, deflated),
            Some(_) | None => encode(opcode, payload),
        }
    }

    /// `None`: zlib refused, which it has no reason to.
    fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.state.reset();
        self.out.clear();
        loop {
            if self.out.len() == self.out.capacity() {
                self.out.reserve(payload.len() / 2 + 64);
            }
            let taken = usize::try_from(self.state.total_in()).ok()?;
            let rest = payload.get(taken..)?;
            let status = self
                .state
                .compress_vec(rest, &mut self.out, FlushCompress::Sync)
                .ok()?;
            let all = usize::try_from(self.state.total_in()).ok()? == payload.len();
            match status {
                // Room that is left means that the flush is through.
                Status::Ok | Status::BufError if all && self.out.len() < self.out.capacity() => {
                    return self.out.strip_suffix(&TAIL);
                }
                Status::Ok | Status::BufError => {}
                Status::StreamEnd => return None,
            }
        }
    }
}
