//! Keys that only a reference can name, where what they are for is asked for: etcd and the collector of traces. A running
//! gateway keeps to those it began with.

use wsc_config::{NodeDiscovery, SecretKeyRef};

use super::{Fit, Planner, Rejection, Wanted, named};
use crate::names::{ETCD_CA, ETCD_CERT, ETCD_KEY, ETCD_PASSWORD, OTLP_HEADERS};

/// A key that may be referred to.
struct Further<'a> {
    wanted: bool,
    path: &'static str,
    reference: &'a Option<SecretKeyRef>,
    file: &'static str,
    fit: Fit,
}

impl Planner<'_> {
    pub(super) fn further(&mut self) -> Result<(), Rejection> {
        let spec = &self.input.gateway.spec;
        let (distributed, otlp) = (&spec.wsc.distributed, &spec.telemetry.otlp);
        let etcd = &distributed.etcd;
        let in_etcd = distributed.enabled && distributed.node_discovery == NodeDiscovery::Etcd;
        let by_tls = in_etcd && etcd.tls.enabled;
        let all = [
            Further {
                wanted: in_etcd,
                path: "spec.wsc.distributed.etcd.passwordSecretRef",
                reference: &etcd.password_secret_ref,
                file: ETCD_PASSWORD,
                fit: Fit::Shared(1),
            },
            Further {
                wanted: by_tls,
                path: "spec.wsc.distributed.etcd.tls.caSecretRef",
                reference: &etcd.tls.ca_secret_ref,
                file: ETCD_CA,
                fit: Fit::Certificates,
            },
            Further {
                wanted: by_tls,
                path: "spec.wsc.distributed.etcd.tls.certSecretRef",
                reference: &etcd.tls.cert_secret_ref,
                file: ETCD_CERT,
                fit: Fit::Certificates,
            },
            Further {
                wanted: by_tls,
                path: "spec.wsc.distributed.etcd.tls.keySecretRef",
                reference: &etcd.tls.key_secret_ref,
                file: ETCD_KEY,
                fit: Fit::Private,
            },
            Further {
                wanted: !otlp.endpoint.is_empty(),
                path: "spec.telemetry.otlp.headersSecretRef",
                reference: &otlp.headers_secret_ref,
                file: OTLP_HEADERS,
                fit: Fit::Shared(1),
            },
        ];
        for further in all.into_iter().filter(|further| further.wanted) {
            self.refer(&further)?;
        }
        Ok(())
    }

    fn refer(&mut self, further: &Further<'_>) -> Result<(), Rejection> {
        let Some(reference) = further.reference else {
            return Ok(());
        };
        let source = named(reference);
        let key = self.key(&Wanted {
            path: further.path,
            source,
            fit: further.fit,
        })?;
        // Somebody may have thought of it: the version tells of a change, and nothing of what it is.
        let facts = self.input.secrets.get(source.0);
        let version = facts.and_then(|facts| facts.version.clone());
        self.parts.push(version.unwrap_or_default().into_bytes());
        self.mount(key, further.file, false);
        Ok(())
    }
}
