//! `TurnedAway`: why a client's request or socket was refused, as a closed set: the label of a metric, and for what is answered
//! the word in the answer.

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// Not a handshake, or not one that can be understood.
    BadRequest,
    /// A version of WebSocket other than 13.
    Version,
    /// The token is missing where it cannot come later, or refused.
    Unauthenticated,
    /// The keys that tokens are judged by are not known yet.
    NoKeys,
    /// The origin is not allowed.
    Origin,
    /// Nobody from this address is let in.
    Address,
    /// There were too many failures.
    LockedOut,
    /// There are too many connections from this address.
    Crowded,
    /// There are too many handshakes under way from this address; its socket is closed unanswered.
    Handshakes,
    /// There are too many handshakes under way at all; the socket is closed unanswered.
    Pending,
    /// The user has as many sessions as are allowed.
    TooManySessions,
    /// The head of the request is too large.
    RequestHead,
    /// The path of the request is too long.
    RequestUri,
    /// There is nothing at that path.
    NotFound,
    /// The path has no such method.
    Method,
    /// The frame in the body is too large.
    TooLarge,
    /// A frame that was posted was answered with an error.
    Message,
    /// The node is full.
    Full,
    /// The node has too little memory left.
    Memory,
    /// The node is leaving.
    Draining,
    /// It took too long to find out who the client is.
    Late,
    /// By a layer of the application's own, or without a word.
    Other,
}

impl TurnedAway {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::BadRequest,
        Self::Version,
        Self::Unauthenticated,
        Self::NoKeys,
        Self::Origin,
        Self::Address,
        Self::LockedOut,
        Self::Crowded,
        Self::Handshakes,
        Self::Pending,
        Self::TooManySessions,
        Self::RequestHead,
        Self::RequestUri,
        Self::NotFound,
        Self::Method,
        Self::TooLarge,
        Self::Message,
        Self::Full,
        Self::Memory,
        Self::Draining,
        Self::Late,
        Self::Other,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Version => "websocket_version",
            Self::Unauthenticated => "unauthenticated",
            Self::NoKeys => "no_keys",
            Self::Origin => "origin",
            Self::Address => "address",
            Self::LockedOut => "locked_out",
            Self::Crowded => "too_many_connections",
            Self::Handshakes => "too_many_handshakes",
            Self::Pending => "handshakes_pending",
            Self::TooManySessions => "too_many_sessions",
            Self::RequestHead => "request_head",
            Self::RequestUri => "request_uri",
            Self::NotFound => "not_found",
            Self::Method => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::Message => "message",
            Self::Full => "full",
            Self::Memory => "memory",
            Self::Draining => "draining",
            Self::Late => "late",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = TurnedAway::ALL.iter().map(|why| why.as_str()).collect();
        assert_eq!(words.len(), TurnedAway::ALL.len());
    }
}
