//! The Ingress: the paths of clients on each host, with timeouts that do not cut long connections.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule,
    IngressServiceBackend, IngressSpec as Rules, IngressTLS, ServiceBackendPort,
};

use crate::api::IngressSpec;
use crate::gateway::validate::Validated;
use crate::names::Component;

/// ingress-nginx cuts after a minute without a byte; a heartbeat may be as rare as an hour.
const NGINX_TIMEOUTS: [&str; 2] = [
    "nginx.ingress.kubernetes.io/proxy-read-timeout",
    "nginx.ingress.kubernetes.io/proxy-send-timeout",
];

/// How ingress-nginx speaks to pods; it speaks in the clear unless told.
const NGINX_PROTOCOL: &str = "nginx.ingress.kubernetes.io/backend-protocol";

pub(super) fn build(input: &Validated) -> Option<Ingress> {
    let IngressSpec {
        enabled,
        class_name,
        annotations,
        hosts,
        tls_secret_name,
    } = &input.ingress;
    if !enabled || !input.config.wsc.enabled {
        return None;
    }
    let mut metadata = input.meta(input.names.gateway(), Component::Gateway);
    metadata.annotations = Some(with_timeouts(input, annotations));
    let rules = if hosts.is_empty() {
        vec![rule(input, None)]
    } else {
        hosts.iter().map(|host| rule(input, Some(host))).collect()
    };
    let tls = tls_secret_name.as_ref().map(|secret| IngressTLS {
        hosts: (!hosts.is_empty()).then(|| hosts.clone()),
        secret_name: Some(secret.clone()),
    });
    Some(Ingress {
        metadata,
        spec: Some(Rules {
            ingress_class_name: class_name.clone(),
            rules: Some(rules),
            tls: tls.map(|tls| vec![tls]),
            default_backend: None,
        }),
        status: None,
    })
}

/// A quiet connection lives as long as the gateway lets it.
fn with_timeouts(input: &Validated, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let quiet = input.config.wsc.client_timeout.get().as_secs().to_string();
    let mut all: BTreeMap<String, String> = NGINX_TIMEOUTS
        .map(|key| (key.to_owned(), quiet.clone()))
        .into();
    if input.config.tls.ws {
        all.insert(NGINX_PROTOCOL.to_owned(), "HTTPS".to_owned());
    }
    all.extend(
        given
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    all
}

fn rule(input: &Validated, host: Option<&String>) -> IngressRule {
    let wsc = &input.config.wsc;
    let paths = [&wsc.path, &wsc.sse.path].map(|path| HTTPIngressPath {
        path: Some(path.clone()),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: input.names.gateway().to_owned(),
                port: Some(ServiceBackendPort {
                    name: Some("ws".to_owned()),
                    number: None,
                }),
            }),
            resource: None,
        },
    });
    IngressRule {
        host: host.cloned(),
        http: Some(HTTPIngressRuleValue {
            paths: paths.into(),
        }),
    }
}
