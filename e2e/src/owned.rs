//! What the operator made for a gateway, whatever kinds that may be: found by discovery, not from a list that a new
//! owned object could be missing from.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope, verbs};

use crate::gateway::{Gateway, held};
use crate::wait::until;

/// Groups whose objects are observations, not things anyone owns.
const IGNORED_GROUPS: [&str; 2] = ["events.k8s.io", "metrics.k8s.io"];

/// An object's kind and name.
pub type Identity = (String, String);

/// Finds objects that belong to a gateway.
pub struct Inventory {
    gateway: Gateway,
    kinds: Vec<ApiResource>,
}

impl Inventory {
    /// Learns the kinds of the cluster.
    pub async fn new(gateway: &Gateway) -> Result<Self> {
        let discovery = Discovery::new(gateway.client())
            .exclude(&IGNORED_GROUPS)
            .run()
            .await?;
        let kinds = discovery
            .groups()
            .flat_map(kube::discovery::ApiGroup::recommended_resources)
            .filter(|(kind, can)| {
                can.scope == Scope::Namespaced
                    && can.supports_operation(verbs::LIST)
                    && kind.kind != "Event"
            })
            .map(|(kind, _)| kind)
            .collect();
        Ok(Self {
            gateway: gateway.clone(),
            kinds,
        })
    }

    /// Everything in the namespace that carries the gateway's label: also pods, slices and revisions others made for it.
    pub async fn labelled(&self) -> Result<BTreeMap<Identity, DynamicObject>> {
        let label = format!("wsc.dev/gateway={}", self.gateway.name());
        let params = ListParams::default().labels(&label);
        let mut found = BTreeMap::new();
        for kind in &self.kinds {
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.gateway.client(), self.gateway.namespace(), kind);
            for object in api.list(&params).await? {
                found.insert(
                    (
                        kind.kind.clone(),
                        object.metadata.name.clone().unwrap_or_default(),
                    ),
                    object,
                );
            }
        }
        Ok(found)
    }

    /// What the operator itself made: owned by the resource directly.
    pub async fn children(&self) -> Result<BTreeMap<Identity, DynamicObject>> {
        let mut found = self.labelled().await?;
        found.retain(|_, object| {
            let owners = object
                .metadata
                .owner_references
                .as_deref()
                .unwrap_or_default();
            owners
                .iter()
                .any(|o| o.kind == "WebSocketGateway" && o.name == self.gateway.name())
        });
        Ok(found)
    }

    /// Nothing is left of what carries the gateway's label.
    pub async fn await_nothing(&self, within: Duration) -> Result<()> {
        until("everything to be gone", within, async || {
            let left: Vec<Identity> = self.labelled().await?.into_keys().collect();
            Ok(held(left.is_empty(), || format!("{left:?}")))
        })
        .await
    }

    /// Deletes an object of a kind by name.
    pub async fn delete(&self, (kind, name): &Identity) -> Result<()> {
        let of = format!("{}/{name}", kind.to_lowercase());
        self.gateway
            .kubectl(&["delete", &of, "--wait=false"])
            .await
            .map(drop)
    }
}
