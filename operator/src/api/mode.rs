//! `Mode`: whose pods the gateways run in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose pods the gateways run in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Mode {
    /// Their own, of a Deployment.
    #[default]
    Standalone,
    /// The application's: each of its pods that asks for it gets a gateway beside it.
    Sidecar,
}
