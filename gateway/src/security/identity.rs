//! `Identity`: who a session is, as a verified token says it.
//!
//! Held once per connection, so it is small (104 bytes inline at most, tested) and cheap to clone. Made by the token
//! verifier, or from the query when authentication is off; never from anything else a client says.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::group::GroupPatterns;
use crate::protocol::UserId;
use crate::ticket::Queue;

/// Who a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// The user's type, one of `security.allowedUserTypes`.
    pub user_type: Arc<str>,
    /// The device the token names.
    pub device: Option<Arc<str>>,
    /// From when on the token is refused, in Unix seconds; see [`Identity::expires_at`].
    pub expires: Option<NonZeroU64>,
    /// What the user may do beyond sending to others.
    pub scopes: Scopes,
    /// The groups that the user may join; `None`: the token names none.
    pub groups: Option<Arc<GroupPatterns>>,
    /// The token's own id (claim `jti`), by which it can be taken back.
    pub token_id: Option<Arc<str>>,
    /// When the token was issued, in Unix seconds; 0: it does not say.
    pub issued: u64,
    /// What an agent can do, as the token says; `None`: the token names nothing.
    pub skills: Option<Arc<Queue>>,
}

/// What the application gave a session beyond what its token says. It holds for the session, whatever tokens follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The user type that the token names; the session may have another.
    pub token_type: Arc<str>,
    /// What the user may do beside the token's scopes.
    pub scopes: Scopes,
}

impl Identity {
    /// From when on the token is refused (its `exp` and the leeway), in Unix seconds; `None`: never, authentication is off.
    pub fn expires_at(&self) -> Option<u64> {
        self.expires.map(NonZeroU64::get)
    }
}

/// A set of permissions: the words of the claim `scope` that mean something here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// Nothing beyond sending to users.
    pub const NONE: Self = Self(0);
    /// Sending to everyone.
    pub const BROADCAST: Self = Self(1);
    /// Administration.
    pub const ADMIN: Self = Self(1 << 1);
    /// Watching without taking part.
    pub const OBSERVE: Self = Self(1 << 2);

    /// Making and joining any group.
    pub const GROUPS: Self = Self(1 << 3);

    /// Watching who is online.
    pub const PRESENCE: Self = Self(1 << 4);

    /// Opening tickets that go before others.
    pub const PRIORITY: Self = Self(1 << 5);

    /// Every scope with its word.
    pub const WORDS: [(&'static str, Self); 6] = [
        ("broadcast", Self::BROADCAST),
        ("admin", Self::ADMIN),
        ("observe", Self::OBSERVE),
        ("groups", Self::GROUPS),
        ("presence", Self::PRESENCE),
        ("priority", Self::PRIORITY),
    ];

    /// Reads the claim `scope`: words separated by spaces. Words of other services are passed over.
    pub fn parse(claim: &str) -> Self {
        claim
            .split_ascii_whitespace()
            .filter_map(|word| Self::WORDS.iter().find(|(known, _)| *known == word))
            .fold(Self::NONE, |all, (_, scope)| all.with(*scope))
    }

    /// This set and another.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every scope of `other` is here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is here.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The claim that says this.
    pub fn to_claim(self) -> String {
        let words = Self::WORDS
            .iter()
            .filter(|(_, scope)| self.contains(*scope));
        words.map(|(word, _)| *word).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_within_its_budget() {
        assert!(size_of::<Identity>() <= 104, "{}", size_of::<Identity>());
    }

    #[test]
    fn scopes_are_whole_words_and_unknown_ones_mean_nothing() {
        assert_eq!(
            Scopes::parse(" broadcast  email observe"),
            Scopes::BROADCAST.with(Scopes::OBSERVE)
        );
        assert!(Scopes::parse("broadcasts Admin admin,observe").is_empty());
        assert!(!Scopes::parse("broadcast").contains(Scopes::ADMIN));
    }

    #[test]
    fn scopes_survive_a_round_trip_through_the_claim() {
        let all = Scopes::BROADCAST.with(Scopes::ADMIN).with(Scopes::OBSERVE);
        assert_eq!(Scopes::parse(&all.to_claim()), all);
        assert_eq!(Scopes::NONE.to_claim(), "");
    }
}
