//! The closed sets of words that instruments have as labels.

use prometheus_client::encoding::EncodeLabelSet;

use super::label::label;

label! {
    /// Which limit was met.
    Limit {
        /// `wsc.security.blockedIps`.
        AddressBlocked = "address_blocked",
        /// `wsc.security.whitelistIps`.
        AddressNotListed = "address_not_listed",
        /// What a trusted proxy said of the client's address cannot be understood.
        Forwarded = "forwarded",
        /// `wsc.security.maxLoginAttempts`.
        LockedOut = "locked_out",
        /// `wsc.security.messageRateLimit`, of a user.
        MessageRate = "message_rate",
        /// `wsc.security.messageRateLimit.maxMessagesPerSession` or `maxBytesPerSession`.
        SessionRate = "session_rate",
        /// `wsc.security.messageRateLimit.maxMessagesPerAddress`.
        AddressRate = "address_rate",
        /// `wsc.maxConnectionsPerUser`: the new session was refused.
        SessionRefused = "session_refused",
        /// `wsc.maxConnectionsPerUser`: an old session had to go.
        SessionKicked = "session_kicked",
        /// Sessions of a user could be counted on this node only.
        CountedAlone = "sessions_counted_alone",
        /// `wsc.security.maxConnectionsPerAddress`.
        ConnectionsPerAddress = "connections_per_address",
        /// The same, of the HTTP API.
        HttpCallers = "http_connections_per_address",
        /// The same, of the gRPC API.
        GrpcCallers = "grpc_connections_per_address",
        /// `wsc.security.maxHandshakesPerAddress`.
        HandshakesPerAddress = "handshakes_per_address",
        /// `wsc.security.handshakeTimeout`, of a client.
        HandshakeTime = "handshake_time",
        /// The bytes and lines of the head of a client's request.
        RequestHead = "request_head",
        /// The length of the path of a client's request, with its query.
        RequestUri = "request_uri",
        /// `wsc.security.maxMessageSize`, of a message over a WebSocket.
        MessageSize = "message_size",
        /// `wsc.performance.maxMemoryPercent`.
        Memory = "memory",
        /// The pieces of a message over a WebSocket.
        Fragments = "fragments",
    }
}

/// The label of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Limited {
    pub(super) limit: Limit,
}

label! {
    /// What became of a change of the configuration.
    ReloadOutcome {
        /// The gateway goes by it.
        Applied = "applied",
        /// It is wrong; the old one goes on.
        Refused = "refused",
    }
}

label! {
    /// What became of a fetch of the keys of tokens.
    FetchOutcome {
        /// They are known.
        Ok = "ok",
        /// Those that were known stay.
        Failed = "failed",
    }
}

/// The label of a fetch of the keys of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Fetch {
    pub(super) outcome: FetchOutcome,
}

label! {
    /// Which listener.
    Listener {
        /// WebSocket.
        Ws = "ws",
        /// The HTTP API.
        Http = "http",
        /// The gRPC API.
        Grpc = "grpc",
    }
}

/// The label of a handshake of TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Handshake {
    pub(super) listener: Listener,
}

/// The label of a refused token: one of [`TokenError::label`](crate::security::TokenError::label) or
/// [`CredentialError::label`](crate::security::CredentialError::label).
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TokenRefusal {
    pub(super) reason: &'static str,
}

/// The label of a change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reload {
    pub(super) outcome: ReloadOutcome,
}
