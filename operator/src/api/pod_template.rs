//! `PodTemplateOverlay`: what is laid over the pods that the operator makes, in Kubernetes' own words.
//!
//! The CRD leaves `spec` open: pods have hundreds of fields, and Kubernetes adds some with each release. What of it means
//! something is decided in `gateway/validate/pod_template.rs`.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is laid over the template of the gateway pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PodTemplateOverlay {
    /// Labels and annotations of the pods, beside the operator's own.
    pub metadata: OverlayMetadata,
    /// Fields of a pod's spec. The gateway's container is called `gateway`.
    #[schemars(schema_with = "open")]
    pub spec: Map<String, Value>,
}

/// What pods carry beside the operator's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = super::rules::overlay)]
pub struct OverlayMetadata {
    /// Labels; not those by which the operator finds the pods.
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Annotations; not the operator's own.
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

/// An object with any fields.
fn open(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Fields of a pod's spec. The gateway's container is called `gateway`.",
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}
