//! The bytes of one read, taken from the front.
//!
//! Owns what is left of them. What was taken keeps the lifetime of the whole, so a payload can be handed out while the
//! decoder goes on.

use std::mem;

/// What is left of the input.
pub(crate) struct Input<'a> {
    rest: &'a mut [u8],
}

impl<'a> Input<'a> {
    /// Nothing is taken yet.
    pub(crate) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left, to look at.
    pub(crate) const fn as_slice(&self) -> &[u8] {
        self.rest
    }

    /// How many bytes are left.
    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Takes `count` bytes, or all when fewer are left.
    pub(crate) fn take(&mut self, count: usize) -> &'a mut [u8] {
        let count = count.min(self.rest.len());
        let (taken, rest) = mem::take(&mut self.rest).split_at_mut(count);
        self.rest = rest;
        taken
    }
}
