//! A namespace of a test's own with resources in it, and waiting for what is to come.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, ObjectMeta};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;
use wsc_operator::api::WebSocketGateway;

use crate::plane;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(50);

/// Awaits something that can only be looked for.
pub async fn eventually<T>(within: Duration, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A namespace.
#[derive(Clone)]
pub struct Ground {
    pub client: Client,
    pub namespace: String,
}

impl Ground {
    pub async fn new(namespace: &str) -> Self {
        Self::on(plane::client().await, namespace).await
    }

    /// One before this API server.
    pub async fn on(client: Client, namespace: &str) -> Self {
        let all: Api<Namespace> = Api::all(client.clone());
        let metadata = ObjectMeta {
            name: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        };
        let made = Namespace {
            metadata,
            ..Namespace::default()
        };
        all.create(&PostParams::default(), &made).await.unwrap();
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    pub fn gateways(&self) -> Api<WebSocketGateway> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The resources as they are, whatever is in them.
    fn raw(&self) -> Api<DynamicObject> {
        let kind = kube::core::ApiResource::erase::<WebSocketGateway>(&());
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// What a user does with `kubectl apply`.
    pub async fn try_apply(&self, name: &str, spec: &Value) -> kube::Result<()> {
        let body = json!({
            "apiVersion": "wsc.dev/v1alpha1", "kind": "WebSocketGateway",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        });
        let params = PatchParams::apply("user").force();
        let applied = self.raw().patch(name, &params, &Patch::Apply(&body)).await;
        applied.map(drop)
    }

    pub async fn apply(&self, name: &str, spec: &Value) {
        self.try_apply(name, spec).await.unwrap();
    }

    /// Awaits that the operator has said something of the resource as it is now.
    pub async fn observed(&self, name: &str, within: Duration) -> WebSocketGateway {
        let what = format!("{}/{name} is observed", self.namespace);
        eventually(within, &what, async || {
            let found = self.gateways().get(name).await.ok()?;
            let seen = found.status.as_ref()?.observed_generation;
            (Some(seen) == found.metadata.generation).then_some(found)
        })
        .await
    }
}
