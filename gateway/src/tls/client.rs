//! `client_config`: how a server is judged that the gateway calls: by the machine's authorities or by given ones, and nobody
//! beside them.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};

/// Why nobody can be judged.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The text is no PEM.
    #[error(transparent)]
    Pem(#[from] pem::Error),
    /// What is in it is no authority, or TLS cannot be spoken at all.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// There is none in it.
    #[error("holds no certificate")]
    Empty,
}

/// Judges by these authorities in PEM form; nothing: those of the machine. Shows no certificate.
pub fn client_config(ca: Option<&str>) -> Result<ClientConfig, AuthorityError> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(certificate?)?;
            }
            if roots.is_empty() {
                return Err(AuthorityError::Empty);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
