//! Watches the configuration file and the secrets directory, and has the gateway go by what they say.
//!
//! They are read once a second and compared by content: the kubelet swaps a link and editors replace files, and neither
//! can be missed that way. What is wrong is told once, when it appears. The environment and the flags stay what they were.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use wsc_config::GatewayConfig;

use super::Arguments;
use crate::app::Gateway;
use crate::settings::Secrets;
use crate::telemetry::LogHandle;

/// How often files are read. The kubelet itself takes up to a minute to bring a change.
const PERIOD: Duration = Duration::from_secs(1);

/// How long what has changed must stay the same before it is gone by. The kubelet and careful editors replace a file
/// whole; a plain write empties it first, and an empty file is a right configuration: that of the defaults.
const SETTLED: Duration = Duration::from_millis(100);

/// What the files hold, or why they cannot be read.
#[derive(PartialEq, Eq)]
struct Files {
    config: Result<Option<String>, String>,
    secrets: Result<Secrets, String>,
}

impl Files {
    fn read(config: Option<&Path>, secrets: Option<&Path>) -> Self {
        let text = |path: &Path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| format!("--config {}: {error}", path.display()))
        };
        let keys = |dir: &Path| Secrets::read(dir).map_err(|error| chain(&error));
        Self {
            config: config.map(text).transpose(),
            secrets: secrets.map_or_else(|| Ok(Secrets::default()), keys),
        }
    }
}

impl Arguments {
    /// Never ends. With nothing to watch it waits for ever.
    pub async fn watch(&self, gateway: &Gateway, log: &LogHandle) -> std::convert::Infallible {
        if self.dev || (self.config.is_none() && self.secrets_dir.is_none()) {
            return std::future::pending().await;
        }
        // The first look is at what the gateway has just been started with.
        let mut gone_by = self.look().await;
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let files = self.look().await;
            if files.is_none() || files == gone_by {
                continue;
            }
            tokio::time::sleep(SETTLED).await;
            if self.look().await != files {
                continue;
            }
            if let Some(files) = &files
                && let Err(problems) = self.apply(files, gateway, log).await
            {
                gateway.reload_failed(problems);
            }
            gone_by = files;
        }
    }

    /// What the files hold now; nothing if the look itself was abandoned.
    async fn look(&self) -> Option<Files> {
        let (config, secrets) = (self.config.clone(), self.secrets_dir.clone());
        let read = move || Files::read(config.as_deref(), secrets.as_deref());
        tokio::task::spawn_blocking(read).await.ok()
    }

    async fn apply(
        &self,
        files: &Files,
        gateway: &Gateway,
        log: &LogHandle,
    ) -> Result<(), Vec<String>> {
        let text = files.config.as_ref().map_err(|why| vec![why.clone()])?;
        let secrets = files.secrets.as_ref().map_err(|why| vec![why.clone()])?;
        let config = GatewayConfig::load(text.as_deref(), std::env::vars(), &self.set);
        let config = config.map_err(|error| lines(&error.to_string()))?;
        let served = config.validate();
        served.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let level = config.log.level;
        let applied = gateway.reload_all(config, Arc::new(secrets.clone())).await;
        let changes = applied.map_err(|error| vec![chain(&error)])?;
        if let Err(error) = log.set_level(level) {
            tracing::error!(%error, "the log");
        }
        tracing::info!(live = ?changes.live, "reloaded");
        if !changes.restart.is_empty() {
            tracing::warn!(keys = ?changes.restart, "these changes wait for a restart");
        }
        Ok(())
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
