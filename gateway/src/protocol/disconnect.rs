//! Why a connection ends: the close code, the words, and whether the client should come back.

/// A reason to end one connection. Each has a code of RFC 6455 §7.4 or of the private range 4000–4999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disconnect {
    /// The client said goodbye.
    ClientClosed,
    /// The socket ended without a close frame.
    ConnectionLost,
    /// The client broke RFC 6455; the code is that of the violation.
    Protocol(u16),
    /// The node is leaving: come back, another node will answer.
    Drain,
    /// Another node has more room: come back, most likely that one will answer.
    Rebalance,
    /// The gateway failed at something it should not have.
    Internal,
    /// No valid token came in time, or the token was refused.
    Unauthenticated,
    /// The token is over.
    TokenExpired,
    /// The token was taken back.
    TokenRevoked,
    /// An administrator or the application ended the session.
    Kicked,
    /// Nothing was heard for `clientTimeout`.
    Timeout,
    /// The client reads slower than it is sent to.
    SlowConsumer,
    /// The connection does not behave: too many bad frames.
    Abuse,
    /// The application does not want this client.
    Rejected,
    /// The application could not be asked about this client, or its session could not be made in time.
    Unavailable,
    /// Nobody from this address is let in any more.
    AddressRefused,
    /// Too many wrong tokens came from there.
    LockedOut,
    /// The client goes on sending more than it may.
    RateLimited,
    /// The user has as many sessions as are allowed.
    TooManySessions,
}

/// One line of the table of close codes.
#[derive(Clone, Copy, Debug)]
pub struct CloseCode {
    /// The code in the close frame.
    pub code: u16,
    /// A short word for metrics and logs.
    pub label: &'static str,
    /// The reason text in the close frame.
    pub reason: &'static str,
    /// Whether a client should connect again by itself.
    pub reconnect: bool,
}

impl Disconnect {
    /// Every kind, for the generated table and for metrics.
    pub const ALL: [Self; 19] = [
        Self::ClientClosed,
        Self::ConnectionLost,
        Self::Protocol(1002),
        Self::Drain,
        Self::Rebalance,
        Self::Internal,
        Self::Unauthenticated,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::Kicked,
        Self::Timeout,
        Self::SlowConsumer,
        Self::Abuse,
        Self::Rejected,
        Self::Unavailable,
        Self::AddressRefused,
        Self::LockedOut,
        Self::RateLimited,
        Self::TooManySessions,
    ];

    /// Code, words and advice.
    pub const fn describe(self) -> CloseCode {
        let (code, label, reason, reconnect) = match self {
            Self::ClientClosed => (1000, "client_closed", "", false),
            Self::ConnectionLost => (1006, "connection_lost", "", true),
            Self::Protocol(code) => (code, "protocol", "protocol violation", false),
            Self::Drain => (1012, "drain", "server is restarting, reconnect", true),
            Self::Rebalance => (1012, "rebalance", "load is being spread, reconnect", true),
            Self::Internal => (1011, "internal", "internal error", true),
            Self::Unauthenticated => (4001, "unauthenticated", "no valid token", false),
            Self::TokenExpired => (
                4002,
                "token_expired",
                "token expired, come back with a new one",
                true,
            ),
            Self::TokenRevoked => (4012, "token_revoked", "token revoked", false),
            Self::Kicked => (4003, "kicked", "session ended by the server", false),
            Self::Timeout => (4004, "timeout", "nothing heard from the client", true),
            Self::SlowConsumer => (4005, "slow_consumer", "client reads too slowly", true),
            Self::Abuse => (4006, "abuse", "too many bad frames", false),
            Self::Rejected => (4010, "rejected", "refused by the application", false),
            Self::AddressRefused => (4020, "address_refused", "address not let in", false),
            Self::LockedOut => (4021, "locked_out", "too many failed attempts", false),
            Self::RateLimited => (4022, "rate_limited", "too many messages", false),
            Self::TooManySessions => (
                4023,
                "too_many_sessions",
                "the user has as many sessions as are allowed",
                false,
            ),
            Self::Unavailable => (1013, "unavailable", "try again later", true),
        };
        CloseCode {
            code,
            label,
            reason,
            reconnect,
        }
    }

    /// The word for metrics and logs.
    pub const fn label(self) -> &'static str {
        self.describe().label
    }
}
