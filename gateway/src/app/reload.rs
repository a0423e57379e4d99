//! Going by another configuration while running: all of it or nothing, and no connection ends for it.

use std::sync::Arc;

use wsc_config::{Changes, GatewayConfig};

use super::Gateway;
use crate::admin::ReloadStatus;
use crate::admission::Rules;
use crate::cluster::Password;
use crate::service::HookPlan;
use crate::settings::{Secrets, SettingsError};
use crate::telemetry::ReloadOutcome;
use crate::tls::TlsPairs;

impl Gateway {
    /// Goes by another configuration from now on. What needs a new process is told, and stays as it was until then.
    pub async fn reload(&self, config: GatewayConfig) -> Result<Changes, SettingsError> {
        let secrets = self.secrets.load_full();
        self.reload_all(config, secrets).await
    }

    /// The same with other secrets. The password of Redis is what the next connection to it is made with.
    pub async fn reload_all(
        &self,
        config: GatewayConfig,
        secrets: Arc<Secrets>,
    ) -> Result<Changes, SettingsError> {
        let waiting = self.started.changes(&config).restart;
        let config = self.started.with_live_of(&config);
        // Everything that can be refused comes first: what follows cannot fail half-way.
        let fetched = self.fetched.clone();
        let settings = self.options.settings(&config, &secrets, fetched)?;
        let pairs = TlsPairs::resolve(&config.tls, &secrets.tls)?;
        let api_keys = secrets.api_keys()?;
        let seal_keys = secrets.seal_keys(config.wsc.security.enable_encryption)?;
        let plans = HookPlan::all(&config, &secrets)?;
        self.hooks.apply(plans)?;
        Self::look_at_drain(&config);
        let settings = Arc::new(settings);
        self.settings.store(settings.clone());
        self.admission.replace(Rules::new(&config.wsc));
        if let Some(link) = self.shared.cluster.redis() {
            link.go_by(secrets.redis_password.as_deref().map(Password::new));
        }
        self.secrets.store(secrets);
        self.guard.replace(api_keys);
        self.tls.replace(pairs);
        self.sealer.replace(seal_keys);
        self.instruments.apply(&config.wsc.performance);
        let live = self.config().changes(&config).live;
        self.shared.tickets.go_by(&config.wsc);
        self.shared.delivery.go_by(&config.wsc);
        self.max_body
            .set(config.wsc.security.max_message_size.len());
        self.config.store(Arc::new(config));
        self.hub.reload(&settings).await;
        self.instruments.reloaded(ReloadOutcome::Applied);
        self.reloaded.store(Arc::new(ReloadStatus {
            problems: Vec::new(),
            waiting_for_restart: waiting.clone(),
        }));
        Ok(Changes {
            live,
            restart: waiting,
        })
    }

    /// Notes that a new configuration cannot be served; the old one goes on.
    pub fn reload_failed(&self, problems: Vec<String>) {
        for problem in &problems {
            tracing::error!(%problem, "the new configuration is refused, the old one goes on");
        }
        self.instruments.reloaded(ReloadOutcome::Refused);
        let waiting = self.reloaded.load().waiting_for_restart.clone();
        self.reloaded.store(Arc::new(ReloadStatus {
            problems,
            waiting_for_restart: waiting,
        }));
    }
}
