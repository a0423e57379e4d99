//! The binary's arguments, and what follows from them before anything runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use wsc_config::GatewayConfig;

use crate::admission::MemoryGauge;
use crate::app::Options;
use crate::dev::{self, Dev};
use crate::security::{JwtSettings, KeySet, Keys, TokenVerifier};
use crate::service::Extensions;
use crate::settings::Secrets;
use crate::telemetry::{LogHandle, LogSettings, init_logs};

mod drain;
mod token;
mod watch;

pub use drain::DrainArguments;
pub use token::TokenArguments;

/// A WebSocket gateway: chat, notifications and customer service over WebSocket, HTTP and gRPC.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    /// The configuration file (YAML). Without one, defaults and the environment (`WSC__WSC__NODE_PORT=9000`) hold.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A directory with the files jwt-key, api-key and encryption-key, each also with -previous and the like behind it,
    /// redis-password, redis-ca, etcd-password, etcd-ca, etcd-cert, etcd-key, otlp-headers, and hook-key-NAME and
    /// hook-ca-NAME of hooks; missing ones are not configured.
    #[arg(long, global = true, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// Sets one key over file and environment, as often as needed: --set wsc.nodePort=9000
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// This node's name; no two nodes of a cluster may share one.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    node: Option<String>,
    /// The host other nodes are told.
    #[arg(long, env = "POD_IP", value_name = "HOST")]
    host: Option<String>,
    /// Threads that hold sessions; 0: one per core.
    #[arg(long, default_value_t = 0, value_name = "N")]
    shards: usize,
    /// On this machine only, with keys made up for this run: prints tokens and a page where two tabs can chat.
    #[arg(long)]
    dev: bool,
    /// Echo every data frame instead of serving, for protocol suites such as Autobahn. Refused in a pod.
    #[arg(long)]
    conformance_echo: bool,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the arguments come to.
pub struct Resolved {
    /// The configuration, validated.
    pub config: GatewayConfig,
    /// The particulars of this process.
    pub options: Options,
    /// Tokens and a page for a developer, with `--dev`.
    pub dev: Option<Dev>,
}

/// What the binary does beside serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints a token signed with the configured jwt-key.
    Token(TokenArguments),
    /// Tells the gateway that runs in this pod to leave: what the kubelet calls before a sidecar's pod ends.
    Drain(DrainArguments),
}

impl Arguments {
    /// The configuration and the particulars of this process.
    pub fn resolve(&self) -> anyhow::Result<Resolved> {
        let in_a_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        if in_a_pod && (self.dev || self.conformance_echo) {
            bail!(
                "--dev and --conformance-echo are for machines without users, and refused in a pod"
            );
        }
        let (mut config, mut secrets) = (self.load()?, self.secrets()?);
        let mut dev = None;
        if self.dev {
            dev::only_here(&mut config);
            secrets = dev::secrets();
            dev = Some(Dev::new(&verifier(&config, &secrets)?)?);
        }
        config.validate()?;
        let options = Options {
            node: self
                .node
                .clone()
                .or_else(|| std::env::var("HOSTNAME").ok())
                .unwrap_or_else(|| "gateway".to_owned()),
            host: self.host.clone().unwrap_or_default(),
            secrets,
            shards: self.shards,
            echo: self.conformance_echo,
            pages: dev.as_ref().map(Dev::pages),
            memory: None,
            gauge: MemoryGauge::default(),
            extensions: Extensions::default(),
            codecs: Vec::new(),
        };
        Ok(Resolved {
            config,
            options,
            dev,
        })
    }

    /// Sets up the log.
    pub fn log(&self, config: &GatewayConfig, node: &str) -> anyhow::Result<LogHandle> {
        Ok(init_logs(&LogSettings::from_config(config, node))?)
    }

    /// Prints a token.
    pub fn token(&self, token: &TokenArguments) -> anyhow::Result<()> {
        println!("{}", token.mint(&self.load()?, &self.secrets()?)?);
        Ok(())
    }

    fn load(&self) -> anyhow::Result<GatewayConfig> {
        let text = match &self.config {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("--config {}", path.display()))?,
            ),
            None => None,
        };
        Ok(GatewayConfig::load(
            text.as_deref(),
            std::env::vars(),
            &self.set,
        )?)
    }

    fn secrets(&self) -> anyhow::Result<Secrets> {
        match &self.secrets_dir {
            Some(dir) => Ok(Secrets::read(dir)?),
            None => Ok(Secrets::default()),
        }
    }
}

/// Who makes tokens: always by `jwt-key`, wherever the gateway itself finds the keys that it checks them with.
fn verifier(config: &GatewayConfig, secrets: &Secrets) -> anyhow::Result<TokenVerifier> {
    let security = &config.wsc.security;
    let key = secrets.jwt_key.as_ref();
    let key = key.context("no jwt-key: give --secrets-dir")?;
    let keys = KeySet::one(security.jwt.algorithm, key)?;
    let settings = JwtSettings::from_config(security);
    Ok(TokenVerifier::new(settings, Keys::Fixed(Arc::new(keys))))
}
