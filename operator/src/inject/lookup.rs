//! What a pod is to get: the `PodTemplate` that a reconcile applied, or why there is none.

use k8s_openapi::api::core::v1::PodTemplate;
use kube::{Api, Client, Resource};

use super::refusal::Refusal;
use crate::api::{Mode, WebSocketGateway};
use crate::error::Error;
use crate::kube_call::within;
use crate::names::MAX_NAME;

/// Why a pod gets nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Whoever made the pod can mend it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is not known: the API server did not answer.
    #[error("{}", .0.chain())]
    Unknown(Error),
    /// The same, within the time that whoever makes the pod waits.
    #[error("the API server did not say in time what is to be injected; try again")]
    Late,
}

/// The template of a gateway in the pod's namespace.
pub(super) async fn template(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<PodTemplate, Failure> {
    // A webhook is asked before anything is judged: this may be any text, and is about to become part of a path.
    if !is_name(name) {
        return Err(Refusal::BadName(name.to_owned()).into());
    }
    let templates: Api<PodTemplate> = Api::namespaced(client.clone(), namespace);
    let action = format!("reading PodTemplate {namespace}/{name}");
    let found = within(action, templates.get_opt(name)).await;
    match found.map_err(Failure::Unknown)? {
        Some(template) if is_of(&template, name) => Ok(template),
        Some(_) => Err(Refusal::Foreign(name.to_owned()).into()),
        None => Err(why_not(client, namespace, name).await?.into()),
    }
}

async fn why_not(client: &Client, namespace: &str, name: &str) -> Result<Refusal, Failure> {
    let gateways: Api<WebSocketGateway> = Api::namespaced(client.clone(), namespace);
    let action = format!("reading WebSocketGateway {namespace}/{name}");
    let found = within(action, gateways.get_opt(name)).await;
    Ok(explain(
        found.map_err(Failure::Unknown)?.as_ref(),
        namespace,
        name,
    ))
}

/// Why nothing is there to be injected, by what the gateway says of itself.
fn explain(gateway: Option<&WebSocketGateway>, namespace: &str, name: &str) -> Refusal {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    let Some(gateway) = gateway else {
        return Refusal::Missing { namespace, name };
    };
    match gateway.spec.mode {
        Mode::Standalone => Refusal::Standalone { name },
        Mode::Sidecar => {
            let conditions = gateway.status.iter().flat_map(|status| &status.conditions);
            let refused = conditions
                .filter(|condition| condition.type_ == "Accepted" && condition.status == "False")
                .map(|condition| condition.message.clone())
                .next();
            let why = refused.unwrap_or_else(|| "the operator has not made it yet".to_owned());
            Refusal::NotRealised { name, why }
        }
    }
}

/// What the schema of the resource lets through as a name.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= MAX_NAME
        && name.bytes().all(fits)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
}

fn is_of(template: &PodTemplate, name: &str) -> bool {
    let owners = template.metadata.owner_references.iter().flatten();
    let kind = WebSocketGateway::kind(&());
    owners
        .filter(|owner| owner.controller == Some(true))
        .any(|owner| owner.kind == kind && owner.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_name_becomes_part_of_a_path() {
        for name in ["chat", "c", "a-1"] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(MAX_NAME + 1);
        for name in [
            "",
            "1a",
            "-a",
            "a-",
            "A",
            "a.b",
            "../secrets/key",
            "a/b",
            "a%2fb",
            &long,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
