//! Generated Secrets: made or completed, never overwritten. What is in them is never logged.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::Run;
use crate::error::Error;
use crate::gateway::build::SecretWrite;
use crate::kube_call::within;
use crate::metrics::Verb;
use crate::names::MANAGER;
use crate::secrets::redis_pair;

impl Run<'_> {
    /// Makes or completes one.
    pub(super) async fn write_secret(&mut self, write: &SecretWrite) -> Result<(), Error> {
        let api: Api<Secret> =
            Api::namespaced(self.context.client.clone(), &self.desired.namespace);
        let secret = write.secret();
        let name = secret.metadata.name.clone().unwrap_or_default();
        let id = format!("Secret/{name}");
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let verb = match write {
            SecretWrite::Create(secret) => {
                let action = format!("creating {}", self.place(&id));
                within(action, api.create(&params, secret)).await?;
                Verb::Created
            }
            SecretWrite::Complete(secret) => {
                // Not if somebody wrote it meanwhile: what was missing may be there now.
                let missing = json!({
                    "metadata": { "resourceVersion": secret.metadata.resource_version },
                    "stringData": secret.string_data,
                });
                self.merge_secret(&name, &missing).await?;
                Verb::Updated
            }
            SecretWrite::Agree(_) => {
                let action = format!("reading {}", self.place(&id));
                let found = within(action, api.get(&name)).await?;
                let Some(pair) = redis_pair(&found) else {
                    return Ok(());
                };
                let agreed = json!({
                    "metadata": { "resourceVersion": found.metadata.resource_version },
                    "data": pair,
                });
                self.merge_secret(&name, &agreed).await?;
                Verb::Updated
            }
        };
        // The watch may be behind: the next look is at the Secret itself.
        self.context.forget_secret(&self.desired.namespace, &name);
        self.note(verb, "Secret", id);
        Ok(())
    }

    async fn merge_secret(&self, name: &str, body: &Value) -> Result<(), Error> {
        let api: Api<Secret> =
            Api::namespaced(self.context.client.clone(), &self.desired.namespace);
        let action = format!("completing {}", self.place(&format!("Secret/{name}")));
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(body);
        within(action, api.patch(name, &params, &patch))
            .await
            .map(drop)
    }
}
