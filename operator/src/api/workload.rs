//! Small parts of the spec about the pods: pull policy, pull secrets, and what the gateway calls itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PullPolicy {
    #[allow(missing_docs)]
    Always,
    #[allow(missing_docs)]
    IfNotPresent,
    #[allow(missing_docs)]
    Never,
}

impl PullPolicy {
    /// The word that Kubernetes has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// A Secret with which images are pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullSecret {
    /// The Secret's name, in the namespace of the resource.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// What can stand as a label's value, or nothing.
const LABEL: &str = "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$";

/// What the gateway calls itself in logs and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IdentitySpec {
    /// The name of the service. Empty: the resource's own.
    #[schemars(length(max = 63), regex(pattern = LABEL))]
    pub name: String,
    /// The version of the service as its owner counts it. Empty: left out.
    #[schemars(length(max = 63), regex(pattern = LABEL))]
    pub version: String,
    /// Where it runs, such as `production`. Empty: left out.
    #[schemars(length(max = 63), regex(pattern = LABEL))]
    pub environment: String,
}
