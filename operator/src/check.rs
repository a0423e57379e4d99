//! `wsc-operator check`: whether the CRD is installed and every right is granted. The chart's own test runs it.

use std::fmt::Write;

use anyhow::{Context, bail};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};

use crate::access::{Access, Place, TABLE};
use crate::api::WebSocketGateway;
use crate::cli::Options;
use crate::metrics_api;
use crate::scope::Scope;

/// Checks each scope; prints a line for each, fails with everything that is missing.
pub async fn check(client: Client, options: &Options) -> anyhow::Result<String> {
    let mut missing = Vec::new();
    let mut report = String::new();
    for scope in Scope::of(&options.namespaces) {
        let gateways: Api<WebSocketGateway> = scope.api(&client);
        let found = gateways
            .list(&ListParams::default().limit(1))
            .await
            .with_context(|| format!("cannot list WebSocketGateways in {scope}"))?;
        let seen = found.items.len();
        writeln!(
            report,
            "{scope}: the CRD is installed, gateways can be listed ({seen} seen)"
        )?;
        for access in TABLE.iter().filter(|access| access.place == Place::Watched) {
            let namespace = match &scope {
                Scope::All => None,
                Scope::Namespace(name) => Some(name.as_str()),
            };
            let attributes = ResourceAttributes {
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            };
            missing.extend(denied(&client, access, &attributes).await?);
        }
    }
    for access in TABLE.iter().filter(|access| access.place == Place::Own) {
        // Granted for the one lease only.
        let attributes = ResourceAttributes {
            namespace: Some(options.own_namespace.clone()),
            name: Some(options.lease_name.clone()),
            ..ResourceAttributes::default()
        };
        missing.extend(denied(&client, access, &attributes).await?);
    }
    missing.extend(beside_denied(&client, options).await?);
    if !missing.is_empty() {
        bail!("not permitted: {}", missing.join("; "));
    }
    report.push_str("every permission is granted\n");
    Ok(report)
}

/// What the metrics API and the webhook lack, where there are these. What is granted there is granted for one object each.
async fn beside_denied(client: &Client, options: &Options) -> anyhow::Result<Vec<String>> {
    let named = |namespace: Option<&str>, name: &str| ResourceAttributes {
        namespace: namespace.map(str::to_owned),
        name: Some(name.to_owned()),
        ..ResourceAttributes::default()
    };
    let own = Some(options.own_namespace.as_str());
    let api = options.metrics_api_service.as_deref();
    let injector = options.injector_service.as_deref();
    let mut missing = Vec::new();
    for access in TABLE {
        let (system, proxy) = metrics_api::FRONT_PROXY;
        let attributes = match access.place {
            Place::Watched | Place::Own => None,
            Place::MetricsApi => api.map(|_| named(None, metrics_api::API_SERVICE)),
            Place::MetricsApiOwn => api.map(|service| named(own, service)),
            Place::MetricsApiSystem => api.map(|_| named(Some(system), proxy)),
            Place::Injector => injector.map(|_| named(None, &options.injector_configuration)),
            Place::InjectorOwn => injector.map(|service| named(own, service)),
        };
        if let Some(attributes) = attributes {
            missing.extend(denied(client, access, &attributes).await?);
        }
    }
    Ok(missing)
}

/// The verbs of an entry that are not granted in the place that `attributes` say.
async fn denied(
    client: &Client,
    access: &Access,
    attributes: &ResourceAttributes,
) -> anyhow::Result<Vec<String>> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let (resource, subresource) = match access.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (access.resource, None),
    };
    let mut missing = Vec::new();
    for verb in access.verbs {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(access.group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource: subresource.clone(),
                    verb: Some((*verb).to_owned()),
                    ..attributes.clone()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = reviews
            .create(&PostParams::default(), &review)
            .await
            .context("cannot ask which permissions there are")?;
        if !answer.status.is_some_and(|status| status.allowed) {
            let place = attributes.namespace.as_deref().unwrap_or("all namespaces");
            missing.push(format!("{verb} {} in {place}", access.resource));
        }
    }
    Ok(missing)
}
