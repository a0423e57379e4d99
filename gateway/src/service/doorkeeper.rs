//! Doorkeepers: asked about a client that wants to join a group where its token is silent, by ascending order. The first that
//! has a word decides. Hooks out of process that decide about groups are doorkeepers.

use futures_util::future::BoxFuture;

use super::{Client, Rejection};
use crate::group::rules::Verdict;
use crate::protocol::GroupId;

/// Decides about clients that want to join groups.
pub trait Doorkeeper: Send + Sync + 'static {
    /// What it is called in logs and metrics.
    fn name(&self) -> &str;

    /// When it is asked: smaller is earlier. Equal ones are asked as they were registered.
    fn order(&self) -> i32 {
        0
    }

    /// Lets the client in, keeps it out, or leaves it to the next ([`Verdict::Unasked`]). An error keeps it out with words
    /// of the application's own.
    fn join<'a>(
        &'a self,
        client: &'a Client,
        group: &'a GroupId,
    ) -> BoxFuture<'a, Result<Verdict, Rejection>>;
}
