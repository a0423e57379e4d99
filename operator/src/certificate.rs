//! A serving certificate of an authority of our own, for callers that can be told whom to believe (`caBundle`).
//!
//! Authority, certificate and keys lie in one Secret that all replicas share and that the chart makes, empty: so nobody
//! needs the right to create Secrets. `Keeper` fills it, renews what is in it, and hands on what is to be shown; `Shown`
//! is how a TLS listener shows it, without a restart, once `Teller` has told the API server whom to believe. Whoever wins a
//! race between replicas is believed by all. A new authority is in the bundle an hour before anything is shown that it signed,
//! so that callers know it by then; one that is made because the Secret was emptied at least seconds before.

pub mod bundle;
mod material;
mod renewal;
mod telling;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use self::material::Material;
use self::renewal::{Due, due, renew};
use crate::backoff::jittered;
use crate::error::Error;
use crate::kube_call::within;

pub use self::telling::{Registration, Teller, Telling, Told};

/// From one look at the Secret to the next. What another replica renewed is heard of at once, by a watch.
const LOOK: Duration = Duration::from_secs(30);

/// The same after a look that failed, or when the watch has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How often a look begins anew because another replica wrote meanwhile.
const RACES: usize = 3;

/// Which certificate is wanted, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The namespace of the Secret.
    pub namespace: String,
    /// The Secret's name.
    pub secret: String,
    /// The names by which callers know the listener.
    pub names: Vec<String>,
}

impl Wanted {
    /// That of a listener behind this Service: the Secret is called the same, and callers know it as the API server does.
    pub fn of_service(namespace: &str, service: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            secret: service.to_owned(),
            names: vec![format!("{service}.{namespace}.svc")],
        }
    }
}

/// What a listener shows, and what its callers are to believe.
pub struct Identity {
    authorities: String,
    shown: Arc<CertifiedKey>,
}

impl Identity {
    /// The authorities in PEM: a `caBundle`.
    pub fn authorities(&self) -> &str {
        &self.authorities
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// What is to be shown now; `None` until the Secret was read for the first time.
pub type Current = watch::Receiver<Option<Arc<Identity>>>;

/// Shows what is current, to each connection that begins.
#[derive(Debug)]
pub struct Shown(pub Current);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.borrow();
        current.as_ref().map(|identity| Arc::clone(&identity.shown))
    }
}

/// Why there is no certificate, or no renewed one.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The API server refused or did not answer.
    #[error("{}", .0.chain())]
    Api(Error),
    /// There is no Secret to keep it in.
    #[error("Secret {namespace}/{name} is not there: the chart makes it, see helm upgrade")]
    NoSecret {
        /// The namespace of the Secret.
        namespace: String,
        /// The Secret's name.
        name: String,
    },
    /// Other replicas wrote it again and again.
    #[error("Secret {namespace}/{name} was written by others meanwhile")]
    Raced {
        /// The namespace of the Secret.
        namespace: String,
        /// The Secret's name.
        name: String,
    },
    /// A certificate cannot be made.
    #[error("a certificate cannot be made")]
    Issue(#[from] rcgen::Error),
    /// What was made cannot be used: only a name that no certificate can carry leads here.
    #[error("the certificate made for {0} cannot be used")]
    Unfit(String),
}

/// Changes of the Secret.
type Changes = BoxStream<'static, kube::Result<WatchEvent<Secret>>>;

/// Keeps one certificate.
pub struct Keeper {
    api: Api<Secret>,
    wanted: Wanted,
    current: watch::Sender<Option<Arc<Identity>>>,
    last: Option<Material>,
    /// The version of the Secret that was looked at.
    version: Option<String>,
}

/// Keeps a certificate, and the API server told of it, until the token says stop.
pub fn keep(
    client: Client,
    wanted: Wanted,
    registration: impl Registration,
    tracker: &TaskTracker,
    token: &CancellationToken,
) -> Telling {
    let (keeper, kept) = Keeper::new(client, wanted);
    let (teller, telling) = Teller::new(registration, kept);
    tracker.spawn(keeper.run(token.clone()));
    tracker.spawn(teller.run(token.clone()));
    telling
}

impl Keeper {
    /// Keeps this certificate; the receiver has what is to be shown.
    pub fn new(client: Client, wanted: Wanted) -> (Self, Current) {
        let (current, shown) = watch::channel(None);
        let keeper = Self {
            api: Api::namespaced(client, &wanted.namespace),
            wanted,
            current,
            last: None,
            version: None,
        };
        (keeper, shown)
    }

    /// Looks after the certificate until the token says stop. What was shown stays while the API server is away.
    pub async fn run(mut self, token: CancellationToken) {
        let mut changes = None;
        loop {
            let wait = match self.look(Timestamp::now()).await {
                Ok(()) => LOOK,
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    warn!(secret = self.wanted.secret, %error, cause, "a certificate is not kept");
                    LOOK_AGAIN
                }
            };
            if changes.is_none() {
                changes = self.changes().await;
            }
            tokio::select! {
                () = token.cancelled() => return,
                () = changed(&mut changes) => {}
                () = tokio::time::sleep(jittered(wait)) => {}
            }
        }
    }

    /// A watch of the Secret from the version on that was looked at. Without it there are the looks.
    async fn changes(&self) -> Option<Changes> {
        let Wanted {
            namespace, secret, ..
        } = &self.wanted;
        let version = self.version.as_deref()?;
        let params = WatchParams::default().fields(&format!("metadata.name={secret}"));
        let action = format!("watching Secret {namespace}/{secret}");
        match within(action, self.api.watch(&params, version)).await {
            Ok(changes) => Some(changes.boxed()),
            Err(error) => {
                let error = error.chain();
                debug!(error, "a certificate is looked at without a watch");
                None
            }
        }
    }

    /// One look at the Secret: renews what is due, and shows what is there then.
    pub async fn look(&mut self, now: Timestamp) -> Result<(), CertificateError> {
        for _ in 0..RACES {
            let secret = self.read().await?;
            let found = Material::of(&secret);
            let due = due(found.as_ref(), &self.wanted.names, now);
            let material = match (found, due) {
                (Some(found), Due::Nothing) => found,
                (found, due) => {
                    let renewed = renew(found.as_ref(), &self.wanted.names, due, now)?;
                    match self.write(&secret, &renewed).await {
                        Ok(()) => info!(secret = self.wanted.secret, ?due, "renewed"),
                        // Another replica was faster; what it wrote counts.
                        Err(Error::Conflict { .. }) => continue,
                        Err(error) => return Err(CertificateError::Api(error)),
                    }
                    renewed
                }
            };
            return self.show(material, now);
        }
        Err(CertificateError::Raced {
            namespace: self.wanted.namespace.clone(),
            name: self.wanted.secret.clone(),
        })
    }

    fn show(&mut self, material: Material, now: Timestamp) -> Result<(), CertificateError> {
        if self.last.as_ref() == Some(&material) {
            return Ok(());
        }
        let Some(identity) = material.identity(&self.wanted.names, now) else {
            return Err(CertificateError::Unfit(self.wanted.names.join(", ")));
        };
        self.current.send_replace(Some(Arc::new(identity)));
        self.last = Some(material);
        Ok(())
    }

    async fn read(&mut self) -> Result<Secret, CertificateError> {
        let Wanted {
            namespace, secret, ..
        } = &self.wanted;
        let action = format!("reading Secret {namespace}/{secret}");
        let found = within(action, self.api.get_opt(secret)).await;
        let found =
            found
                .map_err(CertificateError::Api)?
                .ok_or_else(|| CertificateError::NoSecret {
                    namespace: namespace.clone(),
                    name: secret.clone(),
                })?;
        self.version.clone_from(&found.metadata.resource_version);
        Ok(found)
    }

    /// Writes over the version that was read and no other.
    async fn write(&mut self, over: &Secret, material: &Material) -> Result<(), Error> {
        let Wanted {
            namespace, secret, ..
        } = &self.wanted;
        let patch = Patch::Merge(material.patch(over.metadata.resource_version.as_deref()));
        let params = PatchParams::default();
        let patched = self.api.patch(secret, &params, &patch);
        let action = format!("renewing the certificate in Secret {namespace}/{secret}");
        self.version = within(action, patched).await?.metadata.resource_version;
        Ok(())
    }
}

/// Awaits the next change. A watch that has ended is begun anew after a while, since one may end at once each time.
async fn changed(changes: &mut Option<Changes>) {
    let Some(events) = changes else {
        return std::future::pending().await;
    };
    loop {
        match events.next().await {
            Some(Ok(WatchEvent::Added(_) | WatchEvent::Modified(_) | WatchEvent::Deleted(_))) => {
                return;
            }
            Some(Ok(WatchEvent::Bookmark(_))) => {}
            Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => break,
        }
    }
    *changes = None;
    tokio::time::sleep(jittered(LOOK_AGAIN)).await;
}

/// One authority, for tests of what is done with bundles.
#[cfg(test)]
pub(crate) fn authority_in_pem() -> String {
    let made = renew(None, &["api".to_owned()], Due::Everything, Timestamp::now());
    made.unwrap().authorities
}
