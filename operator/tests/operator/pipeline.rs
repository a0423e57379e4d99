//! The pure middle of a reconcile, from a resource and the Secrets around it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use wsc_operator::api::WebSocketGateway;
use wsc_operator::gateway::build::{Desired, build};
use wsc_operator::gateway::dereference::Dereferenced;
use wsc_operator::gateway::live::Live;
use wsc_operator::gateway::validate::{
    Counted, Defaults, ExternalMetrics, PodUser, Rejection, validate,
};
use wsc_operator::names::Names;
use wsc_operator::owned::Kind;
use wsc_operator::secrets::{FreshKeys, SecretFacts};

/// The uid of every resource in these tests.
pub const UID: &str = "00000000-0000-0000-0000-000000000001";

/// What the operator is started with in these tests.
pub fn defaults() -> Defaults {
    Defaults {
        gateway_image: "wsc-gateway:test".to_owned(),
        redis_image: "redis:test".to_owned(),
        pod_user: PodUser::Fixed,
        injects: true,
        operator_namespace: "wsc-system".to_owned(),
        counted: Counted {
            external_metrics: ExternalMetrics::Served,
            address: Some("http://wsc-operator-metrics.wsc-system.svc:9100".to_owned()),
        },
    }
}

/// Validates and builds, in a cluster that has these kinds.
pub fn desired(
    gateway: WebSocketGateway,
    secrets: &[Secret],
    served: BTreeSet<Kind>,
) -> Result<Desired, Rejection> {
    let mut dereferenced = dereferenced(gateway, secrets);
    dereferenced.served = served;
    let validated = validate(&dereferenced, &defaults())?;
    Ok(build(&validated).unwrap())
}

/// The same where the platform says as whom pods run.
pub fn desired_where_users_are_assigned(gateway: WebSocketGateway) -> Desired {
    let assigned = Defaults {
        pod_user: PodUser::Assigned,
        ..defaults()
    };
    let validated = validate(&dereferenced(gateway, &[]), &assigned).unwrap();
    build(&validated).unwrap()
}

fn dereferenced(gateway: WebSocketGateway, secrets: &[Secret]) -> Dereferenced {
    let key = |letter: &str| letter.repeat(43);
    Dereferenced {
        namespace: gateway.namespace().unwrap(),
        names: Names::of(&gateway.name_any()),
        owner: OwnerReference {
            api_version: "wsc.dev/v1alpha1".to_owned(),
            kind: "WebSocketGateway".to_owned(),
            name: gateway.name_any(),
            uid: UID.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        },
        secrets: secrets
            .iter()
            .map(|secret| (secret.name_any(), SecretFacts::of(secret)))
            .collect::<BTreeMap<_, _>>(),
        served: Kind::ALL.into(),
        fresh: FreshKeys {
            jwt: "J".repeat(86),
            api: key("A"),
            redis: key("R"),
            encryption: key("E"),
        },
        live: Live::default(),
        gateway: Arc::new(gateway),
    }
}
