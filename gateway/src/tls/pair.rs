//! `TlsPairs`: a certificate chain and its key for each listener that speaks TLS, checked to belong together.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wsc_config::TlsConfig;

use super::Fingerprint;

/// Why a listener cannot speak TLS. Names files, never shows what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there.
    #[error("tls.{listener}: neither {listener}-{file} nor {file} is in the secrets directory")]
    Missing {
        /// Which listener.
        listener: &'static str,
        /// Which file.
        file: &'static str,
    },
    /// There is no certificate in the file.
    #[error("tls.{listener}: {name} holds no certificate in PEM")]
    Certificate {
        /// Which listener.
        listener: &'static str,
        /// Which file.
        name: String,
    },
    /// There is no key in the file.
    #[error("tls.{listener}: {name} holds no private key in PEM")]
    Key {
        /// Which listener.
        listener: &'static str,
        /// Which file.
        name: String,
    },
    /// The two do not belong together, or cannot be used.
    #[error("tls.{listener}: the certificate and its key cannot be used together")]
    Pair {
        /// Which listener.
        listener: &'static str,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// What a listener shows.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) config: Arc<ServerConfig>,
    pub(super) fingerprint: Fingerprint,
}

/// What each listener shows; `None`: it speaks no TLS.
#[derive(Clone, Default)]
pub struct TlsPairs {
    pub(super) ws: Option<Shown>,
    pub(super) http: Option<Shown>,
    pub(super) grpc: Option<Shown>,
}

impl TlsPairs {
    /// As configured, from the files of the secrets directory.
    pub fn resolve(config: &TlsConfig, files: &BTreeMap<String, String>) -> Result<Self, TlsError> {
        let http1 = b"http/1.1".as_slice();
        let show = |wanted: bool, listener, protocol: &[u8]| {
            let shown = wanted.then(|| server(listener, protocol, files));
            shown.transpose()
        };
        Ok(Self {
            ws: show(config.ws, "ws", http1)?,
            http: show(config.http, "http", http1)?,
            grpc: show(config.grpc, "grpc", b"h2")?,
        })
    }
}

fn server(
    listener: &'static str,
    protocol: &[u8],
    files: &BTreeMap<String, String>,
) -> Result<Shown, TlsError> {
    let (name, text) = find(listener, "tls.crt", files)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let chain = chain.unwrap_or_default();
    let Some(leaf) = chain.first() else {
        return Err(TlsError::Certificate { listener, name });
    };
    let fingerprint = Fingerprint::of(leaf);
    let (name, text) = find(listener, "tls.key", files)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
    let key = key.map_err(|_| TlsError::Key { listener, name })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| TlsError::Pair { listener, source })?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Shown {
        config: Arc::new(config),
        fingerprint,
    })
}

/// The listener's own file, else the one for all.
fn find<'a>(
    listener: &'static str,
    file: &'static str,
    files: &'a BTreeMap<String, String>,
) -> Result<(String, &'a str), TlsError> {
    let names = [format!("{listener}-{file}"), file.to_owned()];
    let found = names.into_iter().find_map(|name| {
        let text = files.get(&name)?;
        Some((name, text.as_str()))
    });
    found.ok_or(TlsError::Missing { listener, file })
}
