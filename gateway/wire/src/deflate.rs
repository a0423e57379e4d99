//! permessage-deflate (RFC 7692), without context takeover in either direction.
//!
//! Owns the negotiation, the inflating of what clients send within a bound, and the deflating of a frame once for all its
//! recipients. No connection keeps a state of its own: [`Inflater`] and [`Deflater`] are lent by whoever owns the thread.

mod deflater;
mod inflater;
mod offer;

pub use deflater::{Deflater, WORTHWHILE};
pub use inflater::Inflater;
pub use offer::{Agreed, Window, negotiate};

/// What ends every sync flush of DEFLATE; left out on the wire (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
