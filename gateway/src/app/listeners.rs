//! All listeners, bound together before anything is served.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use wsc_config::GatewayConfig;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot listen on {address}")]
pub struct BindError {
    /// The key of the configuration.
    pub key: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// What a gateway listens on.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// WebSocket; `None` when `wsc.enabled` is false.
    pub ws: Option<SocketAddr>,
    /// HTTP API.
    pub http: SocketAddr,
    /// gRPC API.
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

/// Bound, not yet served.
pub(super) struct Listeners {
    pub(super) ws: Option<std::net::TcpListener>,
    pub(super) http: TcpListener,
    pub(super) grpc: TcpListener,
    pub(super) admin: std::net::TcpListener,
    addresses: Addresses,
}

impl Listeners {
    /// Binds all, or none.
    pub(super) fn bind(config: &GatewayConfig) -> Result<Self, BindError> {
        let ws = if config.wsc.enabled {
            Some(listen("wsc.nodePort", config.wsc.address())?)
        } else {
            None
        };
        let http = listen("http.port", config.http.address())?;
        let grpc = listen("grpc.port", config.grpc.address())?;
        let admin = listen("admin.port", config.admin.address())?;
        let addresses = Addresses {
            ws: ws
                .as_ref()
                .map(|ws| bound("wsc.nodePort", ws))
                .transpose()?,
            http: bound("http.port", &http)?,
            grpc: bound("grpc.port", &grpc)?,
            admin: bound("admin.port", &admin)?,
        };
        let admin = unregistered(("admin.port", addresses.admin), admin)?;
        let ws = ws
            .zip(addresses.ws)
            .map(|(ws, address)| unregistered(("wsc.nodePort", address), ws))
            .transpose()?;
        Ok(Self {
            ws,
            http,
            grpc,
            admin,
            addresses,
        })
    }

    pub(super) const fn addresses(&self) -> Addresses {
        self.addresses
    }
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let socket = || {
        let domain = socket2::Domain::for_address(address);
        let socket =
            socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Accepted sockets have it from here: no call for each.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    socket().map_err(|source| BindError {
        key,
        address,
        source,
    })
}

/// For a thread with a runtime of its own.
fn unregistered(
    (key, address): (&'static str, SocketAddr),
    listener: TcpListener,
) -> Result<std::net::TcpListener, BindError> {
    listener.into_std().map_err(|source| BindError {
        key,
        address,
        source,
    })
}

fn bound(key: &'static str, listener: &TcpListener) -> Result<SocketAddr, BindError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    listener.local_addr().map_err(|source| BindError {
        key,
        address: unknown,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_send_at_once() {
        let listener = listen("wsc.nodePort", ([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap(), "not inherited");
    }
}
