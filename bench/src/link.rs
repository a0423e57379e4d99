//! A connection's bytes, as they are or by TLS.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use mio::net::TcpStream;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The name that the certificate of a run carries.
const NAME: &str = "localhost";

/// A socket, and TLS over it if that was asked for.
#[derive(Debug)]
pub enum Link {
    /// Bytes as they are.
    Plain(TcpStream),
    /// By TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// Over a socket that is being dialled.
    pub fn new(socket: TcpStream, tls: Option<&Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let Some(config) = tls else {
            return Ok(Self::Plain(socket));
        };
        let client = ClientConnection::new(config.clone(), NAME.try_into()?)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(client, socket))))
    }

    /// The socket, for the poll.
    pub fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Whether a read that did not fill its buffer has emptied the socket. TLS hands out record by record.
    pub fn short_read_empties(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(_) => false,
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Makes a certificate for a run, `tls.crt` and `tls.key` in `dir`, and what trusts that one alone.
pub fn certificate(dir: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    fs::write(dir.join("tls.crt"), made.cert.pem()).with_context(|| dir.display().to_string())?;
    fs::write(dir.join("tls.key"), made.signing_key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
