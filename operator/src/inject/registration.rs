//! `Registration`: keeps the `caBundle` of the `MutatingWebhookConfiguration`, so that the API server believes the webhook.
//!
//! The configuration itself is the chart's. Of its webhooks only those are written that lead to this operator's Service.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tracing::{info, warn};

use super::Place;
use crate::certificate::bundle::{Due, Others, due};
use crate::certificate::{self, Told};
use crate::error::Error;
use crate::kube_call::within;
use crate::names::MANAGER;

/// The configuration.
pub(super) struct Registration {
    api: Api<MutatingWebhookConfiguration>,
    place: Place,
    /// Whether it was said that there is none.
    missed: bool,
}

impl Registration {
    /// The one that leads there.
    pub(super) fn new(client: Client, place: Place) -> Self {
        Self {
            api: Api::all(client),
            place,
            missed: false,
        }
    }
}

impl certificate::Registration for Registration {
    const WHOSE: &'static str = "webhook";

    async fn tell(&mut self, bundle: &str, others: Others) -> Result<Told, Error> {
        let name = &self.place.configuration;
        let action = format!("reading MutatingWebhookConfiguration {name}");
        let Some(found) = within(action, self.api.get_opt(name)).await? else {
            if !self.missed {
                warn!(
                    name,
                    "there is no MutatingWebhookConfiguration: the chart makes it"
                );
            }
            self.missed = true;
            return Ok(Told::Missing);
        };
        self.missed = false;
        let ours = ours(&found, &self.place, bundle, others);
        if ours.is_empty() {
            return Ok(Told::Elsewhere);
        }
        let told = Told::of(ours.iter().map(|(_, due)| due));
        // Lists of webhooks are merged by name; the rest of each stays.
        let untold = ours.iter().filter_map(|(webhook, due)| {
            let bundle = ByteString(due.write.clone()?.into_bytes());
            Some(json!({"name": webhook, "clientConfig": {"caBundle": bundle}}))
        });
        let untold: Vec<_> = untold.collect();
        if untold.is_empty() {
            return Ok(told);
        }
        let patch = json!({
            "metadata": {"resourceVersion": found.metadata.resource_version},
            "webhooks": untold,
        });
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Strategic(&patch);
        let action = format!("writing the caBundle of MutatingWebhookConfiguration {name}");
        within(action, self.api.patch(name, &params, &patch)).await?;
        info!(name, "told the API server whom to believe");
        Ok(told)
    }
}

/// The webhooks that lead here, and what is due about the bundle of each.
fn ours(
    found: &MutatingWebhookConfiguration,
    place: &Place,
    bundle: &str,
    others: Others,
) -> Vec<(String, Due)> {
    let webhooks = found.webhooks.iter().flatten();
    webhooks
        .filter(|webhook| {
            let service = webhook.client_config.service.as_ref();
            service.is_some_and(|service| {
                service.namespace == place.namespace && service.name == place.service
            })
        })
        .map(|webhook| {
            let standing = webhook.client_config.ca_bundle.as_ref();
            let standing = standing.map_or(&[][..], |standing| &standing.0);
            (webhook.name.clone(), due(standing, bundle, others))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_webhooks_that_lead_here_are_told_and_only_when_they_differ() {
        let place = Place {
            namespace: "wsc-system".to_owned(),
            service: "wsc-operator-injector".to_owned(),
            configuration: "wsc-operator".to_owned(),
        };
        let webhook = |name: &str, service: &str, bundle: Value| {
            json!({
                "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"caBundle": bundle, "service": {"namespace": "wsc-system", "name": service}},
            })
        };
        let service = "wsc-operator-injector";
        let bundle = certificate::authority_in_pem();
        let told = json!(ByteString(bundle.clone().into_bytes()));
        let found = serde_json::from_value(json!({
            "metadata": {"name": "wsc-operator"},
            "webhooks": [
                webhook("new", service, Value::Null),
                webhook("told", service, told),
                webhook("older", service, json!("YWJk")),
                webhook("theirs", "other", json!("YWJk")),
            ],
        }));
        let ours = ours(&found.unwrap(), &place, &bundle, Others::Stay);
        let told: Vec<_> = ours
            .iter()
            .map(|(name, due)| (name.as_str(), due.write.is_some()))
            .collect();
        assert_eq!(told, [("new", true), ("told", false), ("older", true)]);
    }
}
