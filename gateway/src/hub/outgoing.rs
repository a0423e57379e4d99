//! `Outgoing`: one message on its way to any number of sessions, with its forms made as they are first needed.
//!
//! Cheap to clone and shared by all shards: each form is made at most once in the process, whoever gets it.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::time::Instant;

use crate::protocol::{Codec, Mark, Parcel, json};
use crate::session::{Frame, Rank, Waiting};

/// See the module.
#[derive(Clone, Debug)]
pub struct Outgoing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parcel: Parcel,
    json: Bytes,
    /// When this node had it: taken, stored, or come from another node.
    born: Instant,
    rank: Rank,
    forms: [OnceLock<Bytes>; Codec::COUNT],
}

impl Outgoing {
    /// A message in no form but that of the parcel.
    pub fn new(parcel: Parcel) -> Self {
        Self(Arc::new(Inner {
            json: parcel.visible(),
            born: Instant::now(),
            rank: rank(&parcel),
            parcel,
            forms: Default::default(),
        }))
    }

    /// When this node had it.
    pub fn born(&self) -> Instant {
        self.0.born
    }

    /// What it was made of.
    pub fn parcel(&self) -> &Parcel {
        &self.0.parcel
    }

    /// Where it stands in its log, if it is in one.
    pub fn mark(&self) -> Option<&Mark> {
        self.0.parcel.mark.as_ref()
    }

    /// The message in this form, for one outbox.
    pub fn waiting(&self, codec: Codec) -> Waiting {
        Waiting::new(Rc::new(self.form(codec).clone()), self.0.rank)
    }

    /// The message in this form.
    pub fn form(&self, codec: Codec) -> &Bytes {
        // Every codec's index is below their number.
        let made = || codec.message(&self.0.json, self.mark());
        match self.0.forms.get(codec.index()) {
            Some(form) => form.get_or_init(made),
            None => &self.0.json,
        }
    }
}

/// How it waits in outboxes.
fn rank(parcel: &Parcel) -> Rank {
    let log = parcel.mark.as_ref().map(|mark| &mark.log);
    Rank::of(json::priority_of(&parcel.json), log)
}

/// The same within one shard, whose sessions share each form without atomics.
#[derive(Debug)]
pub(super) struct Local<'a> {
    message: &'a Outgoing,
    frames: [OnceCell<Frame>; Codec::COUNT],
}

impl<'a> Local<'a> {
    /// Nothing is made yet.
    pub(super) fn new(message: &'a Outgoing) -> Self {
        Self {
            message,
            frames: Default::default(),
        }
    }

    /// What all shards share.
    pub(super) fn outgoing(&self) -> &Outgoing {
        self.message
    }

    /// Where it stands in its log, if it is in one.
    pub(super) fn mark(&self) -> Option<&Mark> {
        self.message.mark()
    }

    /// The message in this form, for one outbox.
    pub(super) fn waiting(&self, codec: Codec) -> Waiting {
        Waiting::new(self.frame(codec), self.message.0.rank)
    }

    /// The message in this form.
    pub(super) fn frame(&self, codec: Codec) -> Frame {
        let made = || Rc::new(self.message.form(codec).clone());
        match self.frames.get(codec.index()) {
            Some(frame) => Rc::clone(frame.get_or_init(made)),
            None => made(),
        }
    }
}
