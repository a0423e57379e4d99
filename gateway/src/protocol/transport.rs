//! `Transport`: how a client is connected.

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// WebSocket, both ways.
    WebSocket,
    /// Server-Sent Events, from the gateway to the client; what the client says comes by [`Transport::Http`].
    Sse,
    /// A bidirectional gRPC stream.
    Grpc,
    /// One frame of a client in one HTTP request; never a session.
    Http,
}

impl Transport {
    /// Those that hold sessions.
    pub const HOLDING: [Self; 3] = [Self::WebSocket, Self::Sse, Self::Grpc];

    /// The word for metrics, the directory and the application.
    pub const fn label(self) -> &'static str {
        match self {
            Self::WebSocket => "ws",
            Self::Sse => "sse",
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}
