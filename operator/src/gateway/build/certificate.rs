//! The Certificates of cert-manager: one for each Secret that a listener wants issued.
//!
//! cert-manager writes the Secret and renews it; what is in it reaches running pods as that of any other Secret does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{IssuerRef, ListenerTls};
use crate::gateway::validate::Validated;
use crate::names::Component;
use crate::owned::{Kind, Object};

/// An issuer and the names that a certificate is for.
type Wanted<'a> = (&'a IssuerRef, Vec<&'a str>);

/// The Certificates, by the name of their Secret.
pub(super) fn build(input: &Validated) -> Result<Vec<Object>, serde_json::Error> {
    let mut wanted: BTreeMap<&str, Wanted<'_>> = BTreeMap::new();
    for (_, _, tls) in input.listeners.tls() {
        let ListenerTls {
            secret_name,
            issuer_ref,
            dns_names,
        } = tls;
        let Some(issuer) = issuer_ref else { continue };
        // Listeners that share a Secret share the issuer: the schema sees to that.
        let (_, names) = wanted.entry(secret_name).or_insert((issuer, Vec::new()));
        for name in dns_names {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    wanted
        .into_iter()
        .map(|(secret, (issuer, names))| {
            let meta = input.meta(secret, Component::Gateway);
            let spec = spec(input, secret, (issuer, names));
            Object::extension(Kind::Certificate, &meta, &spec)
        })
        .collect()
}

fn spec(input: &Validated, secret: &str, (issuer, names): Wanted<'_>) -> Value {
    let names = if names.is_empty() {
        within_the_cluster(input)
    } else {
        names.into_iter().map(str::to_owned).collect()
    };
    json!({
        "secretName": secret,
        "dnsNames": names,
        "issuerRef": issuer,
        "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always" },
        "usages": ["digital signature", "server auth"],
    })
}

/// What the Service is called, from near to far.
fn within_the_cluster(input: &Validated) -> Vec<String> {
    let (name, namespace) = (input.names.gateway(), &input.namespace);
    vec![
        name.to_owned(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.cluster.local"),
    ]
}
