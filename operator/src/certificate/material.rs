//! `Material`: what is in the Secret, and what can be made of it. Pure; never shows a key.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};

use super::Identity;

/// Keys of the Secret. The first authority is the one that signs; `ca.key` is its key.
const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";

/// What ends a certificate in PEM.
pub(super) const END: &str = "-----END CERTIFICATE-----";

/// What is in the Secret, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    pub(super) authorities: String,
    pub(super) authority_key: String,
    pub(super) chain: String,
    pub(super) key: String,
}

/// From when until when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Material {
    /// What a Secret holds; `None` when something is missing.
    pub(super) fn of(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        Some(Self {
            authorities: text(AUTHORITIES)?,
            authority_key: text(AUTHORITY_KEY)?,
            chain: text(CHAIN)?,
            key: text(KEY)?,
        })
    }

    /// A merge patch that puts it in the place of this version.
    pub(super) fn patch(&self, version: Option<&str>) -> Value {
        let Self {
            authorities,
            authority_key,
            chain,
            key,
        } = self;
        json!({
            "metadata": {"resourceVersion": version},
            "data": {
                (AUTHORITIES): STANDARD.encode(authorities),
                (AUTHORITY_KEY): STANDARD.encode(authority_key),
                (CHAIN): STANDARD.encode(chain),
                (KEY): STANDARD.encode(key),
            },
        })
    }

    /// What a listener can show; `None` when a caller that believes the authorities would not believe it.
    pub(super) fn identity(&self, names: &[String], now: Timestamp) -> Option<Identity> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&self.chain);
        let (leaf, between) = chain.split_first()?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.authorities) {
            roots.add(authority).ok()?;
        }
        let caller =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .ok()?;
        let seconds = u64::try_from(now.as_second()).ok()?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        for name in names {
            let name = ServerName::try_from(name.as_str()).ok()?;
            caller
                .verify_server_cert(leaf, between, &name, &[], now)
                .ok()?;
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).ok()?;
        let shown = CertifiedKey::from_der(chain, key, &provider).ok()?;
        Some(Identity {
            authorities: self.authorities.clone(),
            shown: Arc::new(shown),
        })
    }

    /// The life of the certificate.
    pub(super) fn life(&self) -> Option<Life> {
        life(certificates(&self.chain).first()?)
    }

    /// The life of the authority that signs.
    pub(super) fn authority_life(&self) -> Option<Life> {
        life(certificates(&self.authorities).first()?)
    }

    /// The authority that signs, alone.
    pub(super) fn authority(&self) -> Option<&str> {
        let end = self.authorities.find(END)?;
        self.authorities.get(..end + END.len())
    }
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.unwrap_or_default()
}

/// From when until when it holds; `None` when it is no certificate.
pub(super) fn life(certificate: &CertificateDer<'_>) -> Option<Life> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some(Life {
        from: at(validity.not_before)?,
        until: at(validity.not_after)?,
    })
}
