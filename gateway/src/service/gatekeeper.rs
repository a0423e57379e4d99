//! Gatekeepers: asked about each client that connects, after the callbacks, by ascending order. One that admits may note
//! attributes, which later calls carry. Hooks out of process that decide about clients are gatekeepers.

use futures_util::future::BoxFuture;

use super::{Attributes, Client, Rejection};

/// Decides about clients that connect.
pub trait Gatekeeper: Send + Sync + 'static {
    /// What it is called in logs and metrics.
    fn name(&self) -> &str;

    /// When it is asked: smaller is earlier. Equal ones are asked as they were registered.
    fn order(&self) -> i32 {
        0
    }

    /// Admits the client, with what is to be noted about it, or refuses it.
    fn admit<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, Result<Attributes, Rejection>>;
}
