//! Every right that the operator uses, as one table.
//!
//! The chart's rules are compared with it in `tests/rbac.rs`, the requests of the tests against a mock API server must
//! stay within it, and `wsc-operator check` asks a real API server for each entry.

/// Where a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the namespaces whose gateways are watched.
    Watched,
    /// In the operator's own namespace.
    Own,
    /// In the whole cluster, where the metrics API is served.
    MetricsApi,
    /// In the operator's own namespace, where the metrics API is served.
    MetricsApiOwn,
    /// In `kube-system`, where the metrics API is served: by a Role that Kubernetes brings.
    MetricsApiSystem,
    /// In the whole cluster, where gateways are put into pods of applications.
    Injector,
    /// In the operator's own namespace, where gateways are put into pods of applications.
    InjectorOwn,
}

/// Some verbs on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The API group.
    pub group: &'static str,
    /// The resource, with its subresource.
    pub resource: &'static str,
    /// What is done with it.
    pub verbs: &'static [&'static str],
    /// Where.
    pub place: Place,
}

const fn watched(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
) -> Access {
    Access {
        group,
        resource,
        verbs,
        place: Place::Watched,
    }
}

/// Looked at and applied, never deleted.
const KEPT: &[&str] = &["create", "get", "list", "patch", "watch"];

/// Looked at, applied, and deleted when no longer wanted.
const PRUNED: &[&str] = &["create", "delete", "get", "list", "patch", "watch"];

/// Every right.
pub const TABLE: &[Access] = &[
    watched("", "configmaps", PRUNED),
    watched("", "persistentvolumeclaims", KEPT),
    watched("", "pods", &["list", "patch", "watch"]),
    watched("", "podtemplates", PRUNED),
    watched("", "secrets", KEPT),
    watched("", "serviceaccounts", KEPT),
    watched("", "services", PRUNED),
    watched("apps", "controllerrevisions", PRUNED),
    watched("apps", "deployments", PRUNED),
    watched("apps", "statefulsets", PRUNED),
    watched("autoscaling", "horizontalpodautoscalers", PRUNED),
    watched("cert-manager.io", "certificates", PRUNED),
    watched("events.k8s.io", "events", &["create"]),
    watched("gateway.networking.k8s.io", "grpcroutes", PRUNED),
    watched("gateway.networking.k8s.io", "httproutes", PRUNED),
    watched("keda.sh", "scaledobjects", PRUNED),
    watched("monitoring.coreos.com", "podmonitors", PRUNED),
    watched("monitoring.coreos.com", "prometheusrules", PRUNED),
    watched("networking.k8s.io", "ingresses", PRUNED),
    watched("networking.k8s.io", "networkpolicies", PRUNED),
    watched("policy", "poddisruptionbudgets", PRUNED),
    watched("wsc.dev", "websocketgateways", &["get", "list", "watch"]),
    watched("wsc.dev", "websocketgateways/status", &["patch"]),
    Access {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["create", "get", "update"],
        place: Place::Own,
    },
    // Whether who asks for a metric may.
    Access {
        group: "authorization.k8s.io",
        resource: "subjectaccessreviews",
        verbs: &["create"],
        place: Place::MetricsApi,
    },
    // The one APIService: whom the API server believes.
    Access {
        group: "apiregistration.k8s.io",
        resource: "apiservices",
        verbs: &["get", "patch"],
        place: Place::MetricsApi,
    },
    // The one Secret of the certificate.
    Access {
        group: "",
        resource: "secrets",
        verbs: &["get", "patch", "watch"],
        place: Place::MetricsApiOwn,
    },
    // By what the API server's front proxy is known.
    Access {
        group: "",
        resource: "configmaps",
        verbs: &["get"],
        place: Place::MetricsApiSystem,
    },
    // The one configuration of the webhook: whom the API server believes.
    Access {
        group: "admissionregistration.k8s.io",
        resource: "mutatingwebhookconfigurations",
        verbs: &["get", "patch"],
        place: Place::Injector,
    },
    // The one Secret of the webhook's certificate.
    Access {
        group: "",
        resource: "secrets",
        verbs: &["get", "patch", "watch"],
        place: Place::InjectorOwn,
    },
];

/// Whether the table allows a request.
pub fn allows(group: &str, resource: &str, verb: &str) -> bool {
    TABLE.iter().any(|access| {
        access.group == group && access.resource == resource && access.verbs.contains(&verb)
    })
}
