//! Inflates whole messages of clients, within a bound.
//!
//! Owns zlib's state, which no message leaves anything in: one inflater serves all connections of a thread, and a
//! connection costs nothing but what has arrived of a message that is not complete.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use crate::Violation;

/// What the first bytes of a message are expected to become; it grows from there.
const RESERVE: usize = 1024;

/// See the module. Made empty; zlib's state comes with the first message.
#[derive(Default)]
pub struct Inflater {
    state: Option<Decompress>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

impl Inflater {
    /// An inflater without state yet.
    pub const fn new() -> Self {
        Self { state: None }
    }

    /// Inflates the payload of one message to at most `limit` bytes. Whatever the payload claims to become, no more than
    /// that is ever held.
    pub(crate) fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
        let state = self.state.get_or_insert_with(|| Decompress::new(false));
        state.reset(false);
        let mut out = Vec::new();
        for input in [payload, &TAIL] {
            feed(state, input, &mut out, limit)?;
        }
        Ok(out)
    }
}

fn feed(
    state: &mut Decompress,
    mut input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), Violation> {
    let mut spill = [0; 1];
    loop {
        grow(out, input.len(), limit);
        let (taken, given) = (state.total_in(), state.total_out());
        // With no room left a single byte more shows that the message goes on.
        let full = out.len() >= limit;
        let status = if full {
            state.decompress(input, &mut spill, FlushDecompress::Sync)
        } else {
            state.decompress_vec(input, out, FlushDecompress::Sync)
        };
        let status = status.map_err(|_| Violation::InvalidDeflate)?;
        let taken = usize::try_from(state.total_in() - taken).unwrap_or(usize::MAX);
        let given = state.total_out() - given;
        if out.len() > limit || full && given > 0 {
            return Err(Violation::MessageTooBig { limit });
        }
        input = input.get(taken..).unwrap_or_default();
        match status {
            // A block marked as the last: what follows starts anew at a whole byte (RFC 7692 7.2.3.4).
            Status::StreamEnd if input.is_empty() => {
                state.reset(false);
                return Ok(());
            }
            Status::StreamEnd => state.reset(false),
            // All is taken, and what it became found room.
            Status::Ok | Status::BufError
                if input.is_empty() && (full || out.len() < out.capacity()) =>
            {
                return Ok(());
            }
            Status::Ok | Status::BufError if taken == 0 && given == 0 => {
                return Err(Violation::InvalidDeflate);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

/// Makes room when there is none: doubled, never past the limit.
fn grow(out: &mut Vec<u8>, input: usize, limit: usize) {
    if out.len() == out.capacity() && out.len() < limit {
        let generous = out
            .len()
            .saturating_mul(2)
            .max(RESERVE)
            .max(input.saturating_mul(4));
        out.reserve_exact(generous.min(limit) - out.len());
    }
}
