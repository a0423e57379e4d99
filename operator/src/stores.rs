//! `Stores`: what the watches of one scope know, indexed by gateway.
//!
//! Fed by `watch`, read by reconciles and by the census. The index makes a reconcile cost as much as its own objects,
//! however many gateways there are; what is kept of a pod or a Secret is only what somebody reads.

mod cache;
mod forbidden;
mod pod_view;

pub use cache::{Before, Cache, Change, Key, Sight};
pub use forbidden::Forbidden;
pub use pod_view::{PodView, Role, Trouble};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;

use crate::error::Error;
use crate::gateway::live::Live;
use crate::owned::Kind;

/// How long a reconcile waits for the first lists.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// What the watches of one scope know.
#[derive(Clone, Default)]
pub struct Stores {
    owned: [Arc<Cache<DynamicObject>>; Kind::ALL.len()],
    pods: Arc<Cache<PodView>>,
    secrets: Arc<Cache<String>>,
    gateways: Arc<Forbidden>,
}

impl Stores {
    /// The objects of one kind.
    pub fn owned(&self, kind: Kind) -> &Arc<Cache<DynamicObject>> {
        let [
            account,
            config,
            service,
            policy,
            ingress,
            http_route,
            grpc_route,
            monitor,
            alerts,
            certificate,
            volume,
            set,
            budget,
            deployment,
            template,
            autoscaler,
            scaled_object,
            revision,
        ] = &self.owned;
        match kind {
            Kind::ServiceAccount => account,
            Kind::ConfigMap => config,
            Kind::Service => service,
            Kind::NetworkPolicy => policy,
            Kind::Ingress => ingress,
            Kind::HttpRoute => http_route,
            Kind::GrpcRoute => grpc_route,
            Kind::PodMonitor => monitor,
            Kind::PrometheusRule => alerts,
            Kind::Certificate => certificate,
            Kind::PersistentVolumeClaim => volume,
            Kind::StatefulSet => set,
            Kind::PodDisruptionBudget => budget,
            Kind::Deployment => deployment,
            Kind::PodTemplate => template,
            Kind::HorizontalPodAutoscaler => autoscaler,
            Kind::ScaledObject => scaled_object,
            Kind::ControllerRevision => revision,
        }
    }

    /// The kinds that the cluster has, as far as is known: those of extensions may be missing, or not be for the operator to see.
    pub fn served(&self) -> BTreeSet<Kind> {
        Kind::ALL
            .into_iter()
            .filter(|kind| !self.owned(*kind).is_absent())
            .collect()
    }

    /// What the operator has never been allowed to see and can do nothing without, in the words of its rights:
    /// `list and watch deployments.apps`.
    pub fn refused(&self) -> Vec<String> {
        in_words(self.resources(|sight| sight == Sight::Blind))
    }

    /// The same, and also what it could see once: that hinders nothing, and what is known of it grows old.
    pub fn lacking(&self) -> Vec<String> {
        in_words(self.unseen())
    }

    /// What it may not list and watch, whether or not it ever could: `deployments.apps`.
    pub fn unseen(&self) -> Vec<String> {
        let mut all = self.resources(|sight| sight != Sight::Clear);
        if self.gateways.stands() {
            all.push("websocketgateways.wsc.dev".to_owned());
        }
        all
    }

    fn resources(&self, is_lacking: fn(Sight) -> bool) -> Vec<String> {
        let owned = Kind::ALL.into_iter();
        let owned = owned.filter(|kind| is_lacking(self.owned(*kind).sight()));
        let others = [
            ("pods", self.pods.sight()),
            ("secrets", self.secrets.sight()),
        ];
        let others = others.into_iter().filter(|(_, sight)| is_lacking(*sight));
        owned
            .map(Kind::resource)
            .chain(others.map(|(plural, _)| plural.to_owned()))
            .collect()
    }

    /// Whether the resources themselves may be seen. Their watch is the controller's own.
    pub const fn gateways(&self) -> &Arc<Forbidden> {
        &self.gateways
    }

    /// The pods of gateways and of their Redis.
    pub const fn pods(&self) -> &Arc<Cache<PodView>> {
        &self.pods
    }

    /// The versions of all Secrets; their group is empty.
    pub const fn secrets(&self) -> &Arc<Cache<String>> {
        &self.secrets
    }

    /// Waits until every watch has delivered its first list: before that, what is missing may only not be known yet.
    pub async fn ready(&self) -> Result<(), Error> {
        let all = async {
            for kind in Kind::ALL {
                self.owned(kind).ready().await;
            }
            self.pods.ready().await;
            self.secrets.ready().await;
        };
        match tokio::time::timeout(READY_WITHIN, all).await {
            // What cannot be seen would be taken for missing, and what hangs on it for unwanted.
            Ok(()) => match self.refused() {
                refused if refused.is_empty() => Ok(()),
                refused => Err(Error::NotPermitted(refused)),
            },
            Err(_) => Err(Error::NotWatchingYet {
                kind: self.behind().unwrap_or("everything"),
            }),
        }
    }

    /// A kind whose watch has not delivered its first list.
    pub fn behind(&self) -> Option<&'static str> {
        let owned = Kind::ALL
            .into_iter()
            .find(|kind| !self.owned(*kind).is_ready())
            .map(Kind::as_str);
        owned
            .or_else(|| (!self.pods.is_ready()).then_some("Pod"))
            .or_else(|| (!self.secrets.is_ready()).then_some("Secret"))
    }

    /// The owned objects of one gateway.
    pub fn live(&self, namespace: &str, gateway: &str) -> Live {
        let mut live = Live::default();
        for kind in Kind::ALL {
            for object in self.owned(kind).group(namespace, gateway) {
                live.insert(kind, object);
            }
        }
        live
    }

    /// The version of a Secret, if the watch knows it.
    pub fn secret_version(&self, namespace: &str, name: &str) -> Option<String> {
        self.secrets
            .get(namespace, "", name)
            .map(|version| version.as_ref().clone())
    }
}

/// The rights to see these.
fn in_words(resources: Vec<String>) -> Vec<String> {
    let resources = resources.into_iter();
    resources
        .map(|resource| format!("list and watch {resource}"))
        .collect()
}
