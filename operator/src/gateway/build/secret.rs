//! Generated Secrets: made once with keys that were drawn before this pure part began, never applied again.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::gateway::validate::GeneratedSecret;
use crate::names::{Component, Names};

/// What is done about a generated Secret.
#[derive(Clone)]
pub enum SecretWrite {
    /// It is made; that it exists already is a reason to look again.
    Create(Secret),
    /// The keys it lacks are added, if it is still the version that lacked them.
    Complete(Secret),
    /// Redis' line is made from the password beside it.
    Agree(Secret),
}

impl std::fmt::Debug for SecretWrite {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.secret().metadata.name.as_deref().unwrap_or_default();
        match self {
            Self::Create(_) => write!(out, "Create({name})"),
            Self::Complete(_) => write!(out, "Complete({name})"),
            Self::Agree(_) => write!(out, "Agree({name})"),
        }
    }
}

/// Whose keys are in a generated Secret.
pub(in crate::gateway) fn component(names: &Names, secret: &str) -> Component {
    if secret == names.redis() {
        Component::Redis
    } else {
        Component::Gateway
    }
}

pub(in crate::gateway) fn build(metadata: ObjectMeta, generated: &GeneratedSecret) -> SecretWrite {
    let secret = Secret {
        metadata: ObjectMeta {
            resource_version: generated.version.clone(),
            ..metadata
        },
        type_: Some("Opaque".to_owned()),
        string_data: (!generated.missing.is_empty()).then(|| generated.missing.clone()),
        ..Secret::default()
    };
    if generated.disagrees {
        SecretWrite::Agree(secret)
    } else if generated.exists {
        SecretWrite::Complete(secret)
    } else {
        SecretWrite::Create(secret)
    }
}
