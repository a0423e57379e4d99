//! `Registration`: keeps the `caBundle` of the `APIService`, so that the API server believes this listener.
//!
//! The `APIService` itself is the chart's. One that names another Service is somebody else's, such as KEDA's, and is left
//! alone: the cluster has the API then, but not from here.

use k8s_openapi::ByteString;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tracing::{info, warn};

use super::{API_SERVICE, Place};
use crate::certificate::bundle::{self, Others};
use crate::certificate::{self, Told};
use crate::error::Error;
use crate::kube_call::within;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// It is as it should be.
    Nothing,
    /// The bundle is another.
    Tell {
        /// What it has to be.
        bundle: String,
    },
    /// It is somebody else's.
    Leave {
        /// Whose.
        service: String,
    },
    /// There is none.
    Missing,
}

/// The `APIService`.
pub(super) struct Registration {
    api: Api<APIService>,
    place: Place,
    /// What was done last, so that the same is not said twice.
    last: Option<Step>,
}

impl certificate::Registration for Registration {
    const WHOSE: &'static str = "metrics API";

    async fn tell(&mut self, bundle: &str, others: Others) -> Result<Told, Error> {
        let action = format!("reading APIService {API_SERVICE}");
        let found = within(action, self.api.get_opt(API_SERVICE)).await?;
        let (step, told) = step(found.as_ref(), &self.place, bundle, others);
        if let Step::Tell { bundle } = &step {
            let patch = Patch::Merge(json!({
                "metadata": {"resourceVersion": found.and_then(|found| found.metadata.resource_version)},
                "spec": {"caBundle": ByteString(bundle.clone().into_bytes())},
            }));
            let params = PatchParams::default();
            let patched = self.api.patch(API_SERVICE, &params, &patch);
            let action = format!("writing the caBundle of APIService {API_SERVICE}");
            within(action, patched).await?;
        }
        self.say(step);
        Ok(told)
    }
}

impl Registration {
    /// The one that may lead there.
    pub(super) fn new(client: Client, place: Place) -> Self {
        Self {
            api: Api::all(client),
            place,
            last: None,
        }
    }

    fn say(&mut self, step: Step) {
        let name = API_SERVICE;
        match &step {
            Step::Tell { .. } => info!(name, "told the API server whom to believe"),
            _ if self.last.as_ref() == Some(&step) => {}
            Step::Nothing => info!(name, "the API server knows whom to believe"),
            Step::Leave { service } => warn!(
                name,
                service,
                "the APIService is somebody else's: nothing is asked here, nothing scales on connections"
            ),
            Step::Missing => warn!(name, "there is no APIService: the chart makes it"),
        }
        self.last = Some(step);
    }
}

fn step(found: Option<&APIService>, place: &Place, bundle: &str, others: Others) -> (Step, Told) {
    let Some(found) = found else {
        return (Step::Missing, Told::Missing);
    };
    let spec = found.spec.as_ref();
    let named = spec.and_then(|spec| spec.service.as_ref());
    let named = named.map(|service| {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        (part(&service.namespace), part(&service.name))
    });
    let (namespace, name) = named.unwrap_or_default();
    if (&namespace, &name) != (&place.namespace, &place.service) {
        let service = format!("{namespace}/{name}");
        return (Step::Leave { service }, Told::Elsewhere);
    }
    let standing = spec.and_then(|spec| spec.ca_bundle.as_ref());
    let standing = standing.map_or(&[][..], |standing| &standing.0);
    let due = bundle::due(standing, bundle, others);
    let told = Told::of([&due]);
    let step = match due.write {
        None => Step::Nothing,
        Some(bundle) => Step::Tell { bundle },
    };
    (step, told)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn place() -> Place {
        Place {
            namespace: "wsc-system".to_owned(),
            service: "wsc-operator-metrics-api".to_owned(),
        }
    }

    fn found(service: &str, bundle: &Value) -> APIService {
        serde_json::from_value(json!({
            "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
            "spec": {
                "groupPriorityMinimum": 100, "versionPriority": 100, "caBundle": bundle,
                "service": {"namespace": "wsc-system", "name": service},
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_the_own_api_service_is_written_and_only_when_it_differs() {
        let ours = "wsc-operator-metrics-api";
        let bundle = certificate::authority_in_pem();
        let told = json!(ByteString(bundle.clone().into_bytes()));
        let judge = |found: &APIService| step(Some(found), &place(), &bundle, Others::Stay).0;
        assert_eq!(judge(&found(ours, &told)), Step::Nothing);
        let tell = Step::Tell {
            bundle: bundle.clone(),
        };
        assert_eq!(judge(&found(ours, &json!("YWJk"))), tell);
        assert_eq!(judge(&found(ours, &Value::Null)), tell);
        let service = "wsc-system/keda-operator-metrics-apiserver".to_owned();
        assert_eq!(
            judge(&found("keda-operator-metrics-apiserver", &told)),
            Step::Leave { service }
        );
        let missing = step(None, &place(), &bundle, Others::Stay);
        assert_eq!(missing, (Step::Missing, Told::Missing));
    }
}
