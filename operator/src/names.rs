//! `Names`: what every object of a gateway is called and labelled.
//!
//! One place derives all names, so that a bound on the resource's name is a bound on all of them and two objects cannot
//! meet. Pure; used by every builder, by pruning, and by the watches that map an object back to its gateway.

use std::collections::BTreeMap;

/// Where generated pods, `ReplicaSet`s and labels still fit into 63 characters: `-` + ten of the `ReplicaSet`'s hash + `-` +
/// five of the pod's for the Deployment, `-redis-` + ten of the revision's hash for the `StatefulSet`.
pub const MAX_NAME: usize = 46;

/// The field manager of everything this operator applies.
pub const MANAGER: &str = "wsc-operator";

/// Label: the gateway that an object belongs to.
pub const GATEWAY_LABEL: &str = "wsc.dev/gateway";

/// Label of a pod of the application that got a gateway beside it.
pub const INJECTED_LABEL: &str = "wsc.dev/injected";

/// The container of a gateway in a pod of the application.
pub const SIDECAR: &str = "wsc-gateway";

/// Label: who manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Annotation of the pod template: the configuration and keys that a pod runs.
pub const CONFIG_HASH: &str = "wsc.dev/config-hash";

/// Annotation of every owned object: what was last applied, so that a field dropped from the desired state is noticed.
pub const APPLIED_HASH: &str = "wsc.dev/applied-hash";

/// Annotation of the remembered revision: whose pods its gateways run in.
pub const REVISION_MODE: &str = "wsc.dev/mode";

/// Annotation of the remembered revision: which Redis its gateways use.
pub const REVISION_REDIS: &str = "wsc.dev/redis";

/// Annotation of the `PodTemplate` of sidecars: the application is asked by its gateway, and stays until that is empty.
pub const HOLDS_APPLICATION: &str = "wsc.dev/holds-application";

/// Annotation of a pod: Kubernetes takes away the pods with the lowest first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Key of the configuration file in its `ConfigMap`.
pub const CONFIG_FILE: &str = "gateway.yaml";

/// Key of the generated JWT key; also its file name in the pod.
pub const JWT_KEY: &str = "jwt-key";

/// The keys of tokens as a set, as the gateway looks for it.
pub const JWT_JWKS: &str = "jwt-jwks";

/// The authority that the certificate of the server of that set is judged by, as the gateway looks for it.
pub const JWT_JWKS_CA: &str = "jwt-jwks-ca";

/// Key of the generated key that contents are sealed with; also its file name in the pod.
pub const ENCRYPTION_KEY: &str = "encryption-key";

/// What is behind the name of a key that follows another, and of one that was followed, in Secrets and in the pod.
pub const ROTATION: [&str; 2] = ["-next", "-previous"];

/// Key of the generated API key; also its file name in the pod.
pub const API_KEY: &str = "api-key";

/// Key of the generated Redis password; also its file name in the pod.
pub const REDIS_PASSWORD: &str = "redis-password";

/// What the files begin with that hold the keys of hooks.
pub const HOOK_KEY: &str = "hook-key-";

/// What the files begin with that hold the authorities of hooks.
pub const HOOK_CA: &str = "hook-ca-";

/// The authority that Redis' certificate is judged by, as the gateway looks for it.
pub const REDIS_CA: &str = "redis-ca";

/// The password for etcd, as the gateway looks for it.
pub const ETCD_PASSWORD: &str = "etcd-password";

/// The authority that etcd's certificate is judged by, as the gateway looks for it.
pub const ETCD_CA: &str = "etcd-ca";

/// The certificate that the gateway shows to etcd, as it looks for it.
pub const ETCD_CERT: &str = "etcd-cert";

/// The key of that certificate, as the gateway looks for it.
pub const ETCD_KEY: &str = "etcd-key";

/// What a collector of traces is sent along, as the gateway looks for it.
pub const OTLP_HEADERS: &str = "otlp-headers";

/// Key with the same password as a line of Redis' own configuration.
pub const REDIS_AUTH: &str = "auth.conf";

/// What the volume with the managed Redis' data is called in its pods.
pub const REDIS_DATA: &str = "data";

/// Which part of a gateway an object or pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The gateway itself.
    Gateway,
    /// Its managed Redis.
    Redis,
}

impl Component {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Redis => "redis",
        }
    }
}

/// The names derived from one gateway resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(String);

impl Names {
    /// Names of the gateway resource called `gateway`.
    pub fn of(gateway: &str) -> Self {
        Self(gateway.to_owned())
    }

    /// The resource itself; also its Deployment, Service, `ServiceAccount` and `PodDisruptionBudget`.
    pub fn gateway(&self) -> &str {
        &self.0
    }

    /// The headless Service with every pod in it.
    pub fn nodes(&self) -> String {
        format!("{}-nodes", self.0)
    }

    /// The `ConfigMap` with the gateway's file.
    pub fn config(&self) -> String {
        format!("{}-config", self.0)
    }

    /// The Secret with generated keys.
    pub fn auth(&self) -> String {
        format!("{}-auth", self.0)
    }

    /// The managed Redis: `StatefulSet`, Service, `ConfigMap`, Secret and `PersistentVolumeClaim`.
    pub fn redis(&self) -> String {
        format!("{}-redis", self.0)
    }

    /// The headless Service by which the pods of a replicated Redis have names.
    pub fn redis_members(&self) -> String {
        format!("{}-redis-members", self.0)
    }

    /// The name of one of these pods, for everyone in the namespace.
    pub fn redis_member(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}.{}", self.redis(), self.redis_members())
    }

    /// The `PersistentVolumeClaim` of one of these pods, as its `StatefulSet` looks for it.
    pub fn redis_claim(&self, ordinal: i32) -> String {
        format!("{REDIS_DATA}-{}-{ordinal}", self.redis())
    }

    /// The `HTTPRoute` of the HTTP API; that of clients is called as the resource.
    pub fn http_api(&self) -> String {
        format!("{}-http", self.0)
    }

    /// The `ConfigMap` with the dashboard.
    pub fn dashboard(&self) -> String {
        format!("{}-dashboard", self.0)
    }

    /// The `ControllerRevision` that remembers what was realised, by the digest of that.
    pub fn revision(&self, digest: &str) -> String {
        format!("{}-accepted-{digest}", self.0)
    }

    /// The labels that a selector uses; they never change in an object's life.
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/component", component.as_str()),
            (GATEWAY_LABEL, self.gateway()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// The labels of pods of the application that got a gateway.
    pub fn injected(&self) -> BTreeMap<String, String> {
        [(GATEWAY_LABEL, self.gateway()), (INJECTED_LABEL, "true")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// Every label of an object.
    pub fn labels(&self, component: Component) -> BTreeMap<String, String> {
        let mut labels = self.selector(component);
        let common = [
            ("app.kubernetes.io/name", "wsc-gateway"),
            ("app.kubernetes.io/instance", self.gateway()),
            ("app.kubernetes.io/part-of", "wsc"),
            (MANAGED_BY_LABEL, MANAGER),
        ];
        labels.extend(common.map(|(key, value)| (key.to_owned(), value.to_owned())));
        labels
    }
}

/// Labels as a selector in text, as the scale subresource wants it.
pub fn selector_text(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_still_fits_where_kubernetes_appends_hashes() {
        let names = Names::of(&"a".repeat(MAX_NAME));
        assert!(names.gateway().len() + "-0123456789-01234".len() <= 63);
        assert!(names.redis().len() + "-0123456789".len() <= 63);
        assert!(names.redis_members().len() <= 63);
        assert!(
            names.nodes().len() <= 63 && names.config().len() <= 63 && names.auth().len() <= 63
        );
    }

    #[test]
    fn the_scale_selector_picks_gateway_pods_of_one_gateway_only() {
        assert_eq!(
            selector_text(&Names::of("chat").selector(Component::Gateway)),
            "app.kubernetes.io/component=gateway,wsc.dev/gateway=chat"
        );
        assert_eq!(
            selector_text(&Names::of("chat").injected()),
            "wsc.dev/gateway=chat,wsc.dev/injected=true"
        );
    }
}
