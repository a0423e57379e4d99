//! `Kind` and `Object`: what the operator owns, as a closed list, and one object of it ready to be applied.
//!
//! Adding a kind here makes the compiler ask for its API resource, its place in the order of application and whether it
//! is pruned; `access` and the watches follow the list. Kinds of extensions are not in every cluster: they are applied
//! where they are served.

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, PodTemplate, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::names::APPLIED_HASH;

/// A kind of object that gateways own and the operator applies. Generated Secrets are apart: they are made once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The pods' identity, without rights.
    ServiceAccount,
    /// The gateway's file, Redis' file.
    ConfigMap,
    /// Clients', peers' and Redis' addresses.
    Service,
    /// Who may reach which port.
    NetworkPolicy,
    /// The way in from outside.
    Ingress,
    /// The way in over a Gateway of Gateway API.
    HttpRoute,
    /// The way to the gRPC API over one.
    GrpcRoute,
    /// How Prometheus scrapes the gateways.
    PodMonitor,
    /// The alerts.
    PrometheusRule,
    /// What cert-manager issues for a listener.
    Certificate,
    /// Redis' volume.
    PersistentVolumeClaim,
    /// Redis.
    StatefulSet,
    /// How many gateways may be gone.
    PodDisruptionBudget,
    /// The gateways.
    Deployment,
    /// The gateways in pods of the application, each as it is put there.
    PodTemplate,
    /// What sets the resource's own number of replicas.
    HorizontalPodAutoscaler,
    /// The same by KEDA.
    ScaledObject,
    /// What was realised last, to be held when what comes next is rejected.
    ControllerRevision,
}

impl Kind {
    /// Every kind, in the order of application: what others need comes first.
    pub const ALL: [Self; 18] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::NetworkPolicy,
        Self::Ingress,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::PodMonitor,
        Self::PrometheusRule,
        Self::Certificate,
        Self::PersistentVolumeClaim,
        Self::StatefulSet,
        Self::PodDisruptionBudget,
        Self::Deployment,
        Self::PodTemplate,
        Self::HorizontalPodAutoscaler,
        Self::ScaledObject,
        Self::ControllerRevision,
    ];

    /// Group, version and plural.
    pub fn api_resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::Ingress => ApiResource::erase::<Ingress>(&()),
            Self::HttpRoute => gateway_api("HTTPRoute", "httproutes"),
            Self::GrpcRoute => gateway_api("GRPCRoute", "grpcroutes"),
            Self::PodMonitor => prometheus("PodMonitor", "podmonitors"),
            Self::PrometheusRule => prometheus("PrometheusRule", "prometheusrules"),
            Self::Certificate => cert_manager("Certificate", "certificates"),
            Self::PersistentVolumeClaim => ApiResource::erase::<PersistentVolumeClaim>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::PodTemplate => ApiResource::erase::<PodTemplate>(&()),
            Self::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
            Self::ScaledObject => keda("ScaledObject", "scaledobjects"),
            Self::ControllerRevision => ApiResource::erase::<ControllerRevision>(&()),
        }
    }

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::PodMonitor => "PodMonitor",
            Self::PrometheusRule => "PrometheusRule",
            Self::Certificate => "Certificate",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::StatefulSet => "StatefulSet",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Deployment => "Deployment",
            Self::PodTemplate => "PodTemplate",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::ScaledObject => "ScaledObject",
            Self::ControllerRevision => "ControllerRevision",
        }
    }

    /// What it is called where rights are given: `deployments.apps`.
    pub fn resource(self) -> String {
        let resource = self.api_resource();
        let dot = if resource.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}", resource.plural, resource.group)
    }

    /// What brings this kind, if it is none of Kubernetes' own: a cluster may do without.
    pub const fn extension(self) -> Option<&'static str> {
        match self {
            Self::HttpRoute | Self::GrpcRoute => Some("Gateway API"),
            Self::PodMonitor | Self::PrometheusRule => Some("Prometheus Operator"),
            Self::Certificate => Some("cert-manager"),
            Self::ScaledObject => Some("KEDA"),
            Self::ServiceAccount
            | Self::ConfigMap
            | Self::Service
            | Self::NetworkPolicy
            | Self::Ingress
            | Self::PersistentVolumeClaim
            | Self::StatefulSet
            | Self::PodDisruptionBudget
            | Self::Deployment
            | Self::PodTemplate
            | Self::HorizontalPodAutoscaler
            | Self::ControllerRevision => None,
        }
    }

    /// Whether an object of this kind must wait when one of kind `other` was refused: pods that start under a new hash
    /// would read the old file, and what is remembered as realised has to be so as a whole.
    pub const fn needs(self, other: Self) -> bool {
        match self {
            Self::Deployment | Self::PodTemplate | Self::StatefulSet => {
                matches!(other, Self::ConfigMap | Self::ServiceAccount)
            }
            Self::ControllerRevision => true,
            Self::ServiceAccount
            | Self::ConfigMap
            | Self::Service
            | Self::NetworkPolicy
            | Self::Ingress
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::PodMonitor
            | Self::PrometheusRule
            | Self::Certificate
            | Self::PersistentVolumeClaim
            | Self::PodDisruptionBudget
            | Self::HorizontalPodAutoscaler
            | Self::ScaledObject => false,
        }
    }

    /// Whether it sets the resource's own number of replicas.
    pub const fn is_autoscaler(self) -> bool {
        matches!(self, Self::HorizontalPodAutoscaler | Self::ScaledObject)
    }

    /// Whether an object of this kind may be deleted although others were refused: gateways do without it, and none of
    /// those was to take its place.
    pub fn may_go_despite(self, refused: &[Self]) -> bool {
        let place = |kind| match kind {
            Self::Ingress | Self::HttpRoute | Self::GrpcRoute => Some(0),
            Self::HorizontalPodAutoscaler | Self::ScaledObject => Some(1),
            Self::PodMonitor | Self::PrometheusRule => Some(2),
            Self::PodDisruptionBudget => Some(3),
            _ => None,
        };
        refused.is_empty()
            || place(self).is_some_and(|own| refused.iter().all(|kind| place(*kind) != Some(own)))
    }

    /// Whether an object of this kind is deleted when the resource no longer asks for it.
    ///
    /// Volumes stay until the resource goes, so that a Redis that is switched off and on again finds its data.
    pub const fn is_pruned(self) -> bool {
        match self {
            Self::ConfigMap
            | Self::Service
            | Self::NetworkPolicy
            | Self::Ingress
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::PodMonitor
            | Self::PrometheusRule
            | Self::Certificate
            | Self::StatefulSet
            | Self::PodDisruptionBudget
            | Self::Deployment
            | Self::PodTemplate
            | Self::HorizontalPodAutoscaler
            | Self::ScaledObject
            | Self::ControllerRevision => true,
            Self::ServiceAccount | Self::PersistentVolumeClaim => false,
        }
    }
}

fn gateway_api(kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

fn prometheus(kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

fn cert_manager(kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("cert-manager.io", "v1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

fn keda(kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("keda.sh", "v1alpha1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

/// One whole object, ready for server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The object itself, with the hash of what is in it as an annotation.
    pub body: Value,
}

impl Object {
    /// Takes a typed object; the hash makes a field that is no longer wanted show as a difference.
    pub fn new<K: Resource + Serialize>(kind: Kind, object: &K) -> Result<Self, serde_json::Error> {
        Ok(Self::of(
            kind,
            object.name_any(),
            serde_json::to_value(object)?,
        ))
    }

    /// The same for a kind of an extension, which has no type here.
    pub fn extension(
        kind: Kind,
        metadata: &ObjectMeta,
        spec: &Value,
    ) -> Result<Self, serde_json::Error> {
        let resource = kind.api_resource();
        let name = metadata.name.clone().unwrap_or_default();
        let body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": serde_json::to_value(metadata)?,
            "spec": spec,
        });
        Ok(Self::of(kind, name, body))
    }

    /// The same from a body as it was built once.
    pub fn of_body(body: Value) -> Option<Self> {
        let word = body.get("kind")?.as_str()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == word)?;
        let name = body.pointer("/metadata/name")?.as_str()?.to_owned();
        Some(Self::of(kind, name, body))
    }

    /// The body as it was built, before its digest came to it.
    pub fn without_digest(&self) -> Value {
        let mut body = self.body.clone();
        let metadata = body.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(metadata) = metadata
            && let Some(annotations) = metadata
                .get_mut("annotations")
                .and_then(Value::as_object_mut)
        {
            annotations.remove(APPLIED_HASH);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        body
    }

    /// The same from a body and what it is.
    pub fn of(kind: Kind, name: String, mut body: Value) -> Self {
        let hash = crate::digest::of_json(&body);
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            let annotations = metadata
                .entry("annotations")
                .or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(APPLIED_HASH.to_owned(), Value::from(hash));
            }
        }
        Self { kind, name, body }
    }

    /// `Deployment/chat`, as people write it.
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.name)
    }
}
