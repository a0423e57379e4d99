//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::gateway::validate::PodUser;
use crate::names::MANAGER;

/// Runs the gateways that `WebSocketGateway` resources ask for.
#[derive(Debug, Parser)]
#[command(name = "wsc-operator", version, about)]
pub struct Cli {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub options: Options,
}

/// What to do instead of running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Prints the CRD.
    Crd,
    /// Checks that the CRD is installed and every permission is granted.
    Check,
}

/// How to run.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The gateway's image, where a resource names none.
    #[arg(long, env = "WSC_GATEWAY_IMAGE", default_value = concat!("wsc-gateway:", env!("CARGO_PKG_VERSION")))]
    pub gateway_image: String,
    /// The managed Redis' image, where a resource names none.
    #[arg(long, env = "WSC_REDIS_IMAGE", default_value = "redis:7.4-alpine")]
    pub redis_image: String,
    /// As which user the pods of gateways and of the managed Redis run: as 65532, or as whom the platform says.
    #[arg(long, env = "WSC_POD_USER", value_enum, default_value_t = PodUser::Fixed)]
    pub pod_user: PodUser,
    /// A namespace whose gateways are looked after; can be repeated. None: all.
    #[arg(
        long = "namespace",
        env = "WSC_NAMESPACES",
        value_delimiter = ',',
        global = true
    )]
    pub namespaces: Vec<String>,
    /// Hold a lease before writing anything; needed as soon as there are two replicas.
    #[arg(long, env = "WSC_LEADER_ELECTION")]
    pub leader_election: bool,
    /// The operator's own namespace, where the lease is.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default", global = true)]
    pub own_namespace: String,
    /// The name of the lease: one for each installation, as several may share a namespace.
    #[arg(long, env = "WSC_LEASE_NAME", default_value = MANAGER, global = true)]
    pub lease_name: String,
    /// The name of this replica, for the lease and for events.
    #[arg(long, env = "POD_NAME", default_value = "wsc-operator")]
    pub identity: String,
    /// The port of health and metrics.
    #[arg(long, env = "WSC_ADMIN_PORT", default_value_t = 9100)]
    pub admin_port: u16,
    /// The Service of health and metrics, at which KEDA asks how many connections a gateway has; absent: it cannot.
    #[arg(long, env = "WSC_METRICS_SERVICE")]
    pub metrics_service: Option<String>,
    /// The Service by which the API server asks for `external.metrics.k8s.io`; absent: that is not served. The Secret with
    /// the certificate is called the same.
    #[arg(long, env = "WSC_METRICS_API_SERVICE", global = true)]
    pub metrics_api_service: Option<String>,
    /// The port on which it is asked.
    #[arg(long, env = "WSC_METRICS_API_PORT", default_value_t = 9443)]
    pub metrics_api_port: u16,
    /// The Service by which the API server asks for gateways in pods of applications; absent: nobody puts them there. The
    /// Secret with the certificate is called the same.
    #[arg(long, env = "WSC_INJECTOR_SERVICE", global = true)]
    pub injector_service: Option<String>,
    /// The `MutatingWebhookConfiguration` that names that Service.
    #[arg(long, env = "WSC_INJECTOR_CONFIGURATION", default_value = MANAGER, global = true)]
    pub injector_configuration: String,
    /// The port on which it is asked.
    #[arg(long, env = "WSC_INJECTOR_PORT", default_value_t = 9444)]
    pub injector_port: u16,
    /// Where a span of each reconcile goes by OTLP over gRPC, such as `http://collector.monitoring:4317`; absent: nowhere.
    #[arg(long, env = "WSC_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// How much is logged: a level, or directives such as `info,wsc_operator=debug`.
    #[arg(long, env = "WSC_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// In which form.
    #[arg(long, env = "WSC_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
