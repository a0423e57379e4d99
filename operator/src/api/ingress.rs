//! `IngressSpec`: the way in from outside over an Ingress controller.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The way in from outside over an Ingress controller. Only what clients use is reached by it, not the APIs of backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::ingress)]
pub struct IngressSpec {
    /// Whether there is an Ingress.
    pub enabled: bool,
    /// The class. Absent: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Annotations for the controller. Those that keep ingress-nginx from cutting quiet connections are there already;
    /// the same key here replaces one.
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// The host names. Empty: every host.
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub hosts: Vec<String>,
    /// The Secret with the certificate of these hosts. Absent: no TLS here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
}
