//! Gatekeepers: asked about each client that connects, after the callbacks, by ascending order. One that admits may note
//! attributes, which later calls carry, and give what a token can give. Hooks out of process that decide about clients are
//! gatekeepers.

use futures_util::future::BoxFuture;

use super::{Attributes, Client, Rejection};
use crate::protocol::GroupId;
use crate::security::Scopes;

/// With what a client is admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// What is noted about it.
    pub attributes: Attributes,
    /// The user's type from now on; `None`: as the token says. One of `security.allowedUserTypes`.
    pub user_type: Option<String>,
    /// Scopes beside those of the token.
    pub scopes: Scopes,
    /// Groups that it becomes a member of, within the limits of groups; the token need not say so.
    pub groups: Vec<GroupId>,
}

impl Admission {
    /// Adds what a later gatekeeper said: of two words about the same the later one stays.
    pub(super) fn add(&mut self, later: Self) {
        self.attributes.extend(later.attributes);
        self.user_type = later.user_type.or(self.user_type.take());
        self.scopes = self.scopes.with(later.scopes);
        for group in later.groups {
            if !self.groups.contains(&group) {
                self.groups.push(group);
            }
        }
    }
}

impl From<Attributes> for Admission {
    fn from(attributes: Attributes) -> Self {
        Self {
            attributes,
            ..Self::default()
        }
    }
}

/// Decides about clients that connect.
pub trait Gatekeeper: Send + Sync + 'static {
    /// What it is called in logs and metrics.
    fn name(&self) -> &str;

    /// When it is asked: smaller is earlier. Equal ones are asked as they were registered, hooks last.
    fn order(&self) -> i32 {
        0
    }

    /// Admits the client, with what is to be noted about it, or refuses it.
    fn admit<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, Result<Admission, Rejection>>;
}
