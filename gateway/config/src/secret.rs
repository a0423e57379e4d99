//! `SecretKeyRef`: where a secret value is. No type of this crate ever holds the value itself.
//!
//! The operator mounts what is referred to as a file; the gateway reads the file and never looks at the reference.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One key of a Secret in the resource's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::secret)]
pub struct SecretKeyRef {
    /// The Secret's name, in the namespace of the resource.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The key in the Secret's data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub key: String,
}
