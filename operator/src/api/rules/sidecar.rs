//! What `mode: Sidecar` excludes: the pods are the application's, so that what is said of pods is said there.

use super::Rule;

/// A rule that holds for sidecars only.
macro_rules! sidecar {
    ($cel:literal) => {
        concat!("self.mode != 'Sidecar' || (", $cel, ")")
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        cel: sidecar!("self.wsc.distributed.enabled"),
        message: "mode Sidecar needs wsc.distributed.enabled: true: the application says how many pods there are",
        path: ".wsc.distributed.enabled",
    },
    Rule {
        cel: sidecar!("self.wsc.distributed.nodeDiscovery != 'memory'"),
        message: "sidecars cannot find each other in memory: use redis or etcd",
        path: ".wsc.distributed.nodeDiscovery",
    },
    Rule {
        cel: sidecar!("self.replicas == 1"),
        message: "must be left out with mode Sidecar: scale the application's own workload",
        path: ".replicas",
    },
    Rule {
        cel: sidecar!("!self.autoscaling.enabled"),
        message: "must be false with mode Sidecar: scale the application's own workload",
        path: ".autoscaling.enabled",
    },
    Rule {
        cel: sidecar!(
            "size(self.scheduling.nodeSelector) == 0 && size(self.scheduling.tolerations) == 0 && size(self.scheduling.topologySpreadConstraints) == 0 && !has(self.scheduling.affinity) && !has(self.scheduling.priorityClassName)"
        ),
        message: "must be empty with mode Sidecar: the application's own pods say where they run",
        path: ".scheduling",
    },
    Rule {
        cel: sidecar!("!has(self.podTemplate)"),
        message: "must be left out with mode Sidecar: the pods are the application's own",
        path: ".podTemplate",
    },
    Rule {
        cel: sidecar!("!has(self.disruption.minAvailable) && !has(self.disruption.maxUnavailable)"),
        message: "must name no number with mode Sidecar: make a PodDisruptionBudget of the application's own pods",
        path: ".disruption",
    },
    Rule {
        cel: sidecar!(
            "size(self.networkPolicy.clients) == 0 && size(self.networkPolicy.apis) == 0 && size(self.networkPolicy.metrics) == 0 && !has(self.networkPolicy.egress)"
        ),
        message: "can only be switched on with mode Sidecar, for the managed Redis: a policy of the application's pods is the application's",
        path: ".networkPolicy",
    },
    Rule {
        cel: "self.mode == 'Sidecar' || self.hooks.all(hook, !has(hook.target.local))",
        message: "target.local needs mode Sidecar: there is no application in a pod of the gateway's own",
        path: ".hooks",
    },
    Rule {
        cel: "self.hooks.all(hook, !has(hook.target.local) || !(hook.target.local.port in [9100, self.listeners.http.port, self.listeners.grpc.port, self.wsc.nodePort]))",
        message: "target.local.port must be the application's: 9100, wsc.nodePort and the ports of listeners are the gateway's own",
        path: ".hooks",
    },
];
