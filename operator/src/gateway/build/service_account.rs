//! The pods' identity. It has no rights and no token is mounted: a gateway needs nothing from the API server.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::gateway::validate::Validated;
use crate::names::Component;

pub(super) fn build(input: &Validated) -> ServiceAccount {
    ServiceAccount {
        metadata: input.meta(input.names.gateway(), Component::Gateway),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
