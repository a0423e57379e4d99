//! `spec.podTemplate`, read into Kubernetes' own types. Pure; `build/deployment` lays it over its own template.
//!
//! Refused with its path is what would have no effect (a field that pods have not, a `null`), since the CRD cannot know, and
//! what would break a promise of the operator's. Everything else is the user's to say, and the API server's to judge.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::Rejection;
use crate::api::{OverlayMetadata, PodTemplateOverlay};

/// Where the fields of a pod are in the resource.
const SPEC: &str = "spec.podTemplate.spec";

/// What would cut a drain short.
const GRACE: &str = "terminationGracePeriodSeconds";

/// The overlay; empty where none is given.
pub(super) fn overlay(given: Option<&PodTemplateOverlay>) -> Result<PodTemplateSpec, Rejection> {
    let Some(PodTemplateOverlay { metadata, spec }) = given else {
        return Ok(PodTemplateSpec::default());
    };
    if spec.contains_key(GRACE) {
        return Err(unfit(
            format!("{SPEC}.{GRACE}"),
            "follows from spec.drain.deadline",
        ));
    }
    let given = Value::Object(spec.clone());
    let read: PodSpec = serde_path_to_error::deserialize(&given).map_err(|error| {
        let path = format!("{SPEC}.{}", error.path());
        unfit(path, &error.into_inner().to_string())
    })?;
    let kept = serde_json::to_value(&read).unwrap_or_default();
    if let Some((path, problem)) = lost(SPEC, &given, &kept) {
        return Err(unfit(path, problem));
    }
    let OverlayMetadata {
        labels,
        annotations,
    } = metadata.clone();
    Ok(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: (!labels.is_empty()).then_some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(read),
    })
}

fn unfit(path: String, problem: &str) -> Rejection {
    Rejection::PodTemplateUnfit {
        path,
        problem: problem.to_owned(),
    }
}

/// The first field of `given` that is not in what was read of it, and why.
fn lost(path: &str, given: &Value, kept: &Value) -> Option<(String, &'static str)> {
    match (given, kept) {
        (Value::Null, _) => Some((
            path.to_owned(),
            "null takes nothing away here: leave it out",
        )),
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match kept.get(key) {
                Some(kept) => lost(&path, value, kept),
                None if value.is_null() => lost(&path, value, value),
                None => Some((path, "is no field of a pod in Kubernetes 1.33")),
            }
        }),
        (Value::Array(given), Value::Array(kept)) => {
            (0..)
                .zip(given.iter().zip(kept))
                .find_map(|(index, (given, kept)): (usize, _)| {
                    lost(&format!("{path}[{index}]"), given, kept)
                })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: &Value) -> Result<PodTemplateSpec, String> {
        let overlay = PodTemplateOverlay {
            spec: spec.as_object().unwrap().clone(),
            ..PodTemplateOverlay::default()
        };
        super::overlay(Some(&overlay)).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn what_would_have_no_effect_is_refused_with_its_path() {
        for (spec, said) in [
            (
                json!({"containers": [{"name": "a"}, {"name": "gateway", "imagee": "x"}]}),
                "spec.podTemplate.spec.containers[1].imagee: is no field of a pod in Kubernetes 1.33",
            ),
            (
                json!({"securityContext": {"runAsUser": null}}),
                "spec.podTemplate.spec.securityContext.runAsUser: null takes nothing away here: leave it out",
            ),
            (
                json!({"volumes": [{"name": "config", "$patch": "delete"}]}),
                "spec.podTemplate.spec.volumes[0].$patch: is no field of a pod in Kubernetes 1.33",
            ),
            (
                json!({"terminationGracePeriodSeconds": 5}),
                "spec.podTemplate.spec.terminationGracePeriodSeconds: follows from spec.drain.deadline",
            ),
        ] {
            assert_eq!(read(&spec).unwrap_err(), said);
        }
    }

    #[test]
    fn what_is_of_the_wrong_type_is_refused_with_its_path() {
        let spec = json!({"containers": [{"name": "gateway", "tty": "yes"}]});
        let said = read(&spec).unwrap_err();
        assert!(
            said.starts_with("spec.podTemplate.spec.containers[0].tty: invalid type"),
            "{said}"
        );
    }

    #[test]
    fn without_an_overlay_nothing_is_laid_over_anything() {
        assert_eq!(super::overlay(None), Ok(PodTemplateSpec::default()));
        assert_eq!(read(&json!({})).unwrap().spec, Some(PodSpec::default()));
    }
}
