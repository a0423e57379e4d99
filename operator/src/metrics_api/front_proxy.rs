//! `FrontProxy`: by what the API server is known that passes requests on, as it says itself in a `ConfigMap`.
//!
//! The `ConfigMap` `extension-apiserver-authentication` in `kube-system` is written by the API server and can be changed by
//! who may change the cluster's own parts only. It is looked at again and again, since authorities are replaced.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::caller::{Caller, Headers};
use super::refusal::Refusal;
use crate::backoff::jittered;
use crate::error::Error;
use crate::kube_call::within;

/// Where the API server says by what it is known.
const NAMESPACE: &str = super::FRONT_PROXY.0;
const CONFIG_MAP: &str = super::FRONT_PROXY.1;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(30);

/// The same until the first one was good.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// What is believed now; `None`: nobody.
pub(super) type Current = watch::Receiver<Option<Arc<FrontProxy>>>;

/// By what the API server is known.
#[derive(Debug)]
pub(super) struct FrontProxy {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Common names of certificates; none: any that the authorities signed.
    names: BTreeSet<String>,
    headers: Headers,
    /// What it was made of.
    text: ConfigMapText,
}

type ConfigMapText = std::collections::BTreeMap<String, String>;

/// Why nobody can be believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrontProxyError {
    #[error("{}", .0.chain())]
    Api(Error),
    #[error("ConfigMap {NAMESPACE}/{CONFIG_MAP} has no {0}: the API server passes no requests on")]
    Missing(&'static str),
    #[error("{0} in ConfigMap {NAMESPACE}/{CONFIG_MAP} cannot be used")]
    Unfit(&'static str),
}

impl FrontProxy {
    /// Reads the `ConfigMap`.
    pub(super) fn of(data: &ConfigMapText) -> Result<Self, FrontProxyError> {
        const AUTHORITIES: &str = "requestheader-client-ca-file";
        const NAMES: &str = "requestheader-allowed-names";
        const USER: &str = "requestheader-username-headers";
        let pem = data
            .get(AUTHORITIES)
            .ok_or(FrontProxyError::Missing(AUTHORITIES))?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let authority = authority.map_err(|_| FrontProxyError::Unfit(AUTHORITIES))?;
            roots
                .add(authority)
                .map_err(|_| FrontProxyError::Unfit(AUTHORITIES))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|_| FrontProxyError::Unfit(AUTHORITIES))?;
        let headers = Headers {
            user: list(data, USER)?,
            uid: list(data, "requestheader-uid-headers")?,
            groups: list(data, "requestheader-group-headers")?,
            extra: list(data, "requestheader-extra-headers-prefix")?,
        };
        if headers.user.is_empty() {
            return Err(FrontProxyError::Missing(USER));
        }
        Ok(Self {
            verifier,
            names: list(data, NAMES)?.into_iter().collect(),
            headers,
            text: data.clone(),
        })
    }

    /// Whether a certificate is that of the front proxy. That its holder has the key was shown in the handshake.
    pub(super) fn knows(&self, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        let (certificate, between) = chain
            .split_first()
            .ok_or(Refusal::Unauthenticated("no client certificate was shown"))?;
        self.verifier
            .verify_client_cert(certificate, between, UnixTime::now())
            .map_err(|_| {
                Refusal::Unauthenticated(
                    "the client certificate is not one of the front proxy's authority",
                )
            })?;
        if self.names.is_empty() || self.is_named(certificate) {
            return Ok(());
        }
        Err(Refusal::Unauthenticated(
            "the client certificate has not the name of the front proxy",
        ))
    }

    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
            return false;
        };
        parsed
            .subject()
            .iter_common_name()
            .filter_map(|name| name.as_str().ok())
            .any(|name| self.names.contains(name))
    }

    /// For whom it asks.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        self.headers.caller(headers)
    }
}

/// A list in JSON; none where there is no such key.
fn list(data: &ConfigMapText, key: &'static str) -> Result<Vec<String>, FrontProxyError> {
    match data.get(key) {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(text).map_err(|_| FrontProxyError::Unfit(key)),
    }
}

/// Keeps what is believed current.
pub(super) struct Keeper {
    api: Api<ConfigMap>,
    current: watch::Sender<Option<Arc<FrontProxy>>>,
}

impl Keeper {
    /// Nobody is believed yet.
    pub(super) fn new(client: Client) -> (Self, Current) {
        let (current, believed) = watch::channel(None);
        let api = Api::namespaced(client, NAMESPACE);
        (Self { api, current }, believed)
    }

    /// Looks again and again until the token says stop. While the API server is away what it said last stands.
    pub(super) async fn run(self, token: CancellationToken) {
        loop {
            if let Err(error) = self.look().await {
                warn!(%error, "the API server's front proxy is not known");
                if !matches!(error, FrontProxyError::Api(_)) {
                    self.current.send_replace(None);
                }
            }
            let known = self.current.borrow().is_some();
            let wait = if known { LOOK } else { LOOK_AGAIN };
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(jittered(wait)) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), FrontProxyError> {
        let action = format!("reading ConfigMap {NAMESPACE}/{CONFIG_MAP}");
        let found = within(action, self.api.get(CONFIG_MAP)).await;
        let data = found
            .map_err(FrontProxyError::Api)?
            .data
            .unwrap_or_default();
        let same = |known: &Arc<FrontProxy>| known.text == data;
        if !self.current.borrow().as_ref().is_some_and(same) {
            let read = FrontProxy::of(&data)?;
            self.current.send_replace(Some(Arc::new(read)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(changes: &[(&str, &str)]) -> ConfigMapText {
        let authority = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let pem = authority.cert.pem();
        let mut data: ConfigMapText = [
            ("requestheader-client-ca-file", pem.as_str()),
            ("requestheader-allowed-names", r#"["front-proxy"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            (
                "requestheader-extra-headers-prefix",
                r#"["X-Remote-Extra-"]"#,
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        for (key, value) in changes {
            data.insert((*key).to_owned(), (*value).to_owned());
        }
        data
    }

    #[test]
    fn what_the_api_server_writes_is_read() {
        let read = FrontProxy::of(&data(&[])).unwrap();
        assert!(read.names.contains("front-proxy"));
        assert_eq!(read.headers.user, ["X-Remote-User"]);
        assert!(read.headers.uid.is_empty());
        assert!(read.knows(&[]).is_err());
    }

    #[test]
    fn what_cannot_be_used_is_named_and_nobody_is_believed() {
        let mut bare = data(&[]);
        bare.remove("requestheader-client-ca-file");
        let error = FrontProxy::of(&bare).unwrap_err().to_string();
        assert!(error.contains("requestheader-client-ca-file"), "{error}");
        for (key, value) in [
            ("requestheader-allowed-names", "front-proxy"),
            ("requestheader-client-ca-file", "nothing"),
            ("requestheader-username-headers", "[]"),
        ] {
            let error = FrontProxy::of(&data(&[(key, value)])).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
