//! `HookTarget`: where a hook is. A URL is for what is outside of the cluster: it must not be a way around the namespace.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::join;
use crate::problems::Problems;
use crate::schema::{self, Rule};

const TARGET_RULES: &[Rule] = &[Rule {
    cel: "(has(self.service) ? 1 : 0) + (has(self.url) ? 1 : 0) + (has(self.local) ? 1 : 0) == 1",
    message: "must name one of service, url and local",
    path: ".url",
}];

/// Where a hook is: one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::rules(TARGET_RULES))]
pub struct HookTarget {
    /// A Service of the gateway's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<HookService>,
    /// An `http` or `https` URL outside of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^https?://[A-Za-z0-9.:\[\]_-]+(/[^\s#]*)?$")
    )]
    pub url: Option<String>,
    /// A port of the gateway's own pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<HookLocal>,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::kubernetes)]
pub struct HookService {
    /// Its name.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Its port.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// The path, for `http`.
    #[serde(default = "root_path")]
    #[schemars(length(min = 1, max = 256), regex(pattern = schema::PATH))]
    pub path: String,
}

/// A port of the pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::kubernetes)]
pub struct HookLocal {
    /// The port.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// The path, for `http`.
    #[serde(default = "root_path")]
    #[schemars(length(min = 1, max = 256), regex(pattern = schema::PATH))]
    pub path: String,
}

fn root_path() -> String {
    "/".to_owned()
}

impl HookTarget {
    /// Notes what its keys do not mean together.
    pub(super) fn rules(&self, at: &str, problems: &mut Problems) {
        let named = [
            self.service.is_some(),
            self.url.is_some(),
            self.local.is_some(),
        ];
        if named.iter().filter(|named| **named).count() != 1 {
            problems.invalid(join(at, "url"), "must name one of service, url and local");
        }
        if let Some(why) = self.url.as_deref().and_then(inside) {
            problems.invalid(join(at, "url"), why);
        }
    }
}

/// What a URL must not name: a way around the namespace, or the machine's own addresses.
fn inside(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next()?,
        None => authority.split(':').next()?,
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        let link_local = match address {
            IpAddr::V4(four) => four.is_link_local(),
            IpAddr::V6(six) => six.is_unicast_link_local(),
        };
        return link_local.then(|| format!("must not be a link-local address, is {host}"));
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<&str> = host.split('.').collect();
    let of_cluster = matches!(*labels, [_, .., "svc"] | [_, .., "cluster", "local"]);
    of_cluster
        .then(|| format!("must not name a Service, is {host}: use service, of its own namespace"))
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn a_url_cannot_lead_into_another_namespace() {
        for (url, fine) in [
            ("https://hooks.example.com/a?b=c", true),
            ("http://10.0.0.7:8080", true),
            ("http://chat.other.svc/", false),
            ("http://chat.other.svc.cluster.local:80", false),
            ("http://chat.other.SVC./x", false),
            ("http://169.254.169.254/latest", false),
            ("http://[fe80::1]/", false),
        ] {
            let said = inside(url);
            assert_eq!(said.is_none(), fine, "{url}: {said:?}");
        }
    }
}
