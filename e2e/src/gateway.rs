//! One `WebSocketGateway` in a namespace: applying and changing it, its status, its pods, their ports, its keys.
//!
//! Handed to each test by [`crate::namespace::with_gateway`]. Knows the names the operator gives what it owns.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::forward::PodPort;
use crate::grpc::{self, ApiClient};
use crate::http::{self, Call};
use crate::resource;
use crate::tokens;
use crate::wait::{Probe, done_if, until};

/// Port of the WebSocket endpoint.
pub const WS_PORT: u16 = 8081;
/// Port of the HTTP API.
pub const HTTP_PORT: u16 = 8080;
/// Port of the gRPC API.
pub const GRPC_PORT: u16 = 9090;
/// Port of health, metrics and status.
pub const ADMIN_PORT: u16 = 9100;

/// A gateway resource and what belongs to it.
#[derive(Clone)]
pub struct Gateway {
    cluster: Cluster,
    namespace: String,
    name: String,
    /// What its pods are labelled with, beside its name.
    pods: &'static str,
}

impl Gateway {
    /// A handle; makes nothing.
    pub fn new(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            pods: "app.kubernetes.io/component=gateway",
        }
    }

    /// The same of one whose pods are the application's.
    #[must_use]
    pub fn beside_the_application(mut self) -> Self {
        self.pods = "wsc.dev/injected=true";
        self
    }

    /// The cluster it is in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The client for the API server.
    pub fn client(&self) -> Client {
        self.cluster.client()
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs kubectl in its namespace.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster
            .kubectl(&[&["--namespace", self.namespace.as_str()], args].concat())
            .await
    }

    /// Applies a whole resource as kubectl does; Redis does without a volume where the cluster has none to give.
    pub async fn apply(&self, resource: &Value) -> Result<()> {
        let storage = self.cluster.has_default_storage().await?;
        let volume = json!({"spec": {"managedRedis": {"persistence": {"enabled": storage}}}});
        let resource = resource::with(resource.clone(), &volume);
        let args = ["--namespace", &self.namespace, "apply", "-f", "-"];
        self.cluster
            .kubectl_with_input(&args, &resource.to_string())
            .await
            .map(drop)
    }

    /// Merges a change into the resource.
    pub async fn patch(&self, change: &Value) -> Result<DynamicObject> {
        let merge = Patch::Merge(change);
        Ok(self
            .resources()
            .patch(&self.name, &PatchParams::default(), &merge)
            .await?)
    }

    /// Deletes the resource.
    pub async fn delete(&self) -> Result<()> {
        self.resources()
            .delete(&self.name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// The resource as it is now.
    pub async fn get(&self) -> Result<DynamicObject> {
        Ok(self.resources().get(&self.name).await?)
    }

    /// Waits until the status says that `replicas` pods of the current generation are ready.
    pub async fn await_ready(&self, replicas: u32, within: Duration) -> Result<Value> {
        until(
            &format!("{} to be ready with {replicas} replicas", self.name),
            within,
            async || {
                let resource = self.get().await?;
                let generation = resource.metadata.generation.unwrap_or_default();
                let status = &resource.data["status"];
                let ready = is_true(status, "Ready", generation)
                    && status["readyReplicas"] == replicas
                    && status["replicas"] == replicas;
                Ok(done_if(ready, status.clone(), || {
                    format!("generation {generation}, status {status}")
                }))
            },
        )
        .await
    }

    /// Waits until a condition of the current generation has this status, and gives the condition.
    pub async fn await_condition(
        &self,
        kind: &str,
        status: &str,
        within: Duration,
    ) -> Result<Value> {
        until(
            &format!("condition {kind} of {} to be {status}", self.name),
            within,
            async || {
                let resource = self.get().await?;
                let found = condition(&resource.data["status"], kind);
                let observed = found["observedGeneration"].as_i64() == resource.metadata.generation;
                Ok(done_if(
                    found["status"] == status && observed,
                    found.clone(),
                    || format!("status {}", resource.data["status"]),
                ))
            },
        )
        .await
    }

    /// Waits until each of `nodes` pods is serving and sees all the others.
    pub async fn await_mesh(&self, nodes: usize, within: Duration) -> Result<Vec<String>> {
        until(
            &format!("{nodes} nodes that all see each other"),
            within,
            async || {
                let pods = self.ready_pods().await?;
                let mut complete = pods.len() == nodes;
                let mut seen = Vec::new();
                for pod in &pods {
                    let status = self.node_status(pod).await?;
                    let peers = status["peers"].as_array().map_or(0, Vec::len);
                    complete &= peers == nodes - 1
                        && status["phase"] == "serving"
                        && (status["redis"] == "up" || (nodes == 1 && status["redis"] == "none"));
                    seen.push(format!("{pod}: {status}"));
                }
                Ok(done_if(complete, pods, || {
                    format!("{} ready pods: [{}]", seen.len(), seen.join(", "))
                }))
            },
        )
        .await
    }

    /// The pods of the gateway, oldest first, without those that are going.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let params =
            ListParams::default().labels(&format!("wsc.dev/gateway={},{}", self.name, self.pods));
        let mut pods: Vec<Pod> = Api::<Pod>::namespaced(self.client(), &self.namespace)
            .list(&params)
            .await?
            .items
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect();
        pods.sort_by_key(|pod| {
            (
                pod.metadata.creation_timestamp.clone(),
                pod.metadata.name.clone(),
            )
        });
        Ok(pods)
    }

    /// The names of the pods a Service would send clients to.
    pub async fn ready_pods(&self) -> Result<Vec<String>> {
        Ok(self
            .pods()
            .await?
            .into_iter()
            .filter(is_ready)
            .filter_map(|pod| pod.metadata.name)
            .collect())
    }

    /// One of them.
    pub async fn any_ready_pod(&self) -> Result<String> {
        let pods = self.ready_pods().await?;
        pods.choose(&mut rand::rng())
            .cloned()
            .with_context(|| format!("no pod of {} is ready", self.name))
    }

    /// A port of a pod.
    pub fn port(&self, pod: &str, port: u16) -> PodPort {
        PodPort {
            namespace: self.namespace.clone(),
            pod: pod.to_owned(),
            port,
        }
    }

    /// What a node says of itself.
    pub async fn node_status(&self, pod: &str) -> Result<Value> {
        self.admin(pod, "/status")
            .await
            .and_then(|text| Ok(serde_json::from_str(&text)?))
    }

    /// The body of a page of a pod's admin port, whatever its status.
    pub async fn admin(&self, pod: &str, path: &str) -> Result<String> {
        let call = Call {
            to: self.port(pod, ADMIN_PORT),
            method: Method::GET,
            path: path.to_owned(),
            bearer: None,
            body: None,
        };
        http::request(&self.client(), call)
            .await
            .map(|(_, body)| body)
    }

    /// A call of the HTTP API at a pod.
    pub async fn http(
        &self,
        pod: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let bearer = Some(self.api_key().await?);
        let call = Call {
            to: self.port(pod, HTTP_PORT),
            method,
            path: path.to_owned(),
            bearer,
            body,
        };
        http::request_json(&self.client(), call).await
    }

    /// A client of the gRPC API at a pod.
    pub async fn grpc(&self, pod: &str) -> Result<ApiClient> {
        grpc::connect(
            &self.client(),
            self.port(pod, GRPC_PORT),
            &self.api_key().await?,
        )
        .await
    }

    /// The key that tokens are signed with.
    pub async fn jwt_key(&self) -> Result<String> {
        Ok(self.secret("jwt-key").await?.trim_end().to_owned())
    }

    /// A token for a user, signed with the gateway's key.
    pub async fn token(&self, user: &str, scope: &str) -> Result<String> {
        tokens::mint(self.jwt_key().await?.as_bytes(), user, scope)
    }

    /// The users a pod knows to be online anywhere.
    pub async fn online(&self, pod: &str) -> Result<Vec<String>> {
        let request = wsc_proto::v1::ListOnlineRequest {
            limit: 1000,
            cursor: String::new(),
        };
        Ok(self
            .grpc(pod)
            .await?
            .list_online(request)
            .await?
            .into_inner()
            .user_ids)
    }

    /// Kills a pod: no grace, no goodbye to its clients.
    pub async fn kill_pod(&self, pod: &str) -> Result<()> {
        self.cluster.kill_pod(&self.namespace, pod).await
    }

    /// Changes keys of a Secret, in the clear.
    pub async fn set_secret(&self, name: &str, keys: &Value) -> Result<()> {
        let patch = json!({"stringData": keys}).to_string();
        let args = ["patch", "secret", name, "--type=merge", "-p", &patch];
        self.kubectl(&args).await.map(drop)
    }

    async fn api_key(&self) -> Result<String> {
        Ok(self.secret("api-key").await?.trim_end().to_owned())
    }

    async fn secret(&self, key: &str) -> Result<String> {
        let name = format!("{}-auth", self.name);
        let secret = Api::<Secret>::namespaced(self.client(), &self.namespace)
            .get(&name)
            .await?;
        let value = secret.data.and_then(|mut data| data.remove(key));
        let value =
            value.with_context(|| format!("Secret {}/{name} has no key {key}", self.namespace))?;
        String::from_utf8(value.0)
            .with_context(|| format!("key {key} of Secret {}/{name}", self.namespace))
    }

    fn resources(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), &self.namespace, &resource::kind())
    }
}

/// A condition out of a status, `null` when it is not there.
pub fn condition(status: &Value, kind: &str) -> Value {
    let conditions = status["conditions"].as_array();
    conditions
        .and_then(|all| all.iter().find(|c| c["type"] == kind))
        .cloned()
        .unwrap_or(Value::Null)
}

fn is_true(status: &Value, kind: &str, generation: i64) -> bool {
    let found = condition(status, kind);
    found["status"] == "True" && found["observedGeneration"] == generation
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// The probe's shape for a check that only has an opinion.
pub fn held(holds: bool, instead: impl FnOnce() -> String) -> Probe<()> {
    done_if(holds, (), instead)
}
