//! `Question`: what a request asks, from its method, path and query, and what has to be allowed for it. Pure.

use hyper::Method;
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, ResourceAttributes};
use kube::core::Selector;
use percent_encoding::percent_decode_str;

use super::refusal::Refusal;
use super::{CONNECTIONS, GROUP, VERSION, selector};

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Question {
    /// Whether the listener lives: anybody may know.
    Health,
    /// Which groups there are.
    Groups,
    /// Which versions of the group.
    Versions,
    /// Which metrics there are.
    Resources,
    /// Its description, in the second form of `OpenAPI`.
    Swagger,
    /// Where descriptions in the third form are.
    Descriptions,
    /// Its description in that form.
    Description,
    /// The values of a metric.
    Values {
        /// In which namespace.
        namespace: String,
        /// Which one.
        metric: String,
        /// Of which gateways.
        selector: Selector,
    },
    /// Something that there is not.
    Nothing {
        /// Where.
        path: String,
    },
}

/// What must be allowed; of one question it is always the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// Reading a path.
    Read {
        /// Which one.
        path: String,
    },
    /// Listing the values of a metric.
    List {
        /// In which namespace.
        namespace: String,
        /// Which one.
        metric: String,
    },
}

impl Question {
    /// What a request asks.
    pub(super) fn of(method: &Method, path: &str, query: Option<&str>) -> Result<Self, Refusal> {
        if method != Method::GET {
            return Err(Refusal::Method);
        }
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        Ok(match parts[..] {
            ["livez" | "readyz" | "healthz"] => Self::Health,
            ["apis"] => Self::Groups,
            ["apis", GROUP] => Self::Versions,
            ["apis", GROUP, VERSION] => Self::Resources,
            ["openapi", "v2"] => Self::Swagger,
            ["openapi", "v3"] => Self::Descriptions,
            ["openapi", "v3", "apis", GROUP, VERSION] => Self::Description,
            ["apis", GROUP, VERSION, "namespaces", namespace, metric]
                if is_label(namespace) && is_metric(metric) =>
            {
                Self::Values {
                    namespace: namespace.to_owned(),
                    metric: metric.to_owned(),
                    selector: selected(query.unwrap_or_default())?,
                }
            }
            _ => Self::Nothing {
                path: path.to_owned(),
            },
        })
    }

    /// What must be allowed; `None`: nothing.
    pub(super) fn deed(&self) -> Option<Deed> {
        let read = |path: String| Some(Deed::Read { path });
        match self {
            Self::Health => None,
            Self::Groups => read("/apis".to_owned()),
            Self::Versions => read(format!("/apis/{GROUP}")),
            Self::Resources => read(format!("/apis/{GROUP}/{VERSION}")),
            Self::Swagger => read("/openapi/v2".to_owned()),
            Self::Descriptions => read("/openapi/v3".to_owned()),
            Self::Description => read(format!("/openapi/v3/apis/{GROUP}/{VERSION}")),
            Self::Values {
                namespace, metric, ..
            } => Some(Deed::List {
                namespace: namespace.clone(),
                metric: metric.clone(),
            }),
            Self::Nothing { path } => read(path.clone()),
        }
    }
}

impl Deed {
    /// As a `SubjectAccessReview` puts it.
    pub(super) fn attributes(&self) -> (Option<ResourceAttributes>, Option<NonResourceAttributes>) {
        match self {
            Self::Read { path } => {
                let attributes = NonResourceAttributes {
                    path: Some(path.clone()),
                    verb: Some("get".to_owned()),
                };
                (None, Some(attributes))
            }
            Self::List { namespace, metric } => {
                let attributes = ResourceAttributes {
                    namespace: Some(namespace.clone()),
                    verb: Some("list".to_owned()),
                    group: Some(GROUP.to_owned()),
                    version: Some(VERSION.to_owned()),
                    resource: Some(metric.clone()),
                    ..ResourceAttributes::default()
                };
                (Some(attributes), None)
            }
        }
    }

    /// In words, for who may not.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Read { path } => format!("cannot get path {path:?}"),
            Self::List { namespace, metric } => format!(
                "cannot list resource {metric:?} in API group {GROUP:?} in the namespace {namespace:?}"
            ),
        }
    }
}

/// Whether the one metric is meant.
pub(super) fn is_known(metric: &str) -> bool {
    metric == CONNECTIONS
}

fn selected(query: &str) -> Result<Selector, Refusal> {
    let mut selected = Selector::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value)
            .decode_utf8()
            .map_err(|_| Refusal::Malformed(format!("{name} is not written in UTF-8")))?;
        match name {
            "labelSelector" => {
                let read = selector::parse(&value);
                let read = read
                    .map_err(|part| Refusal::Malformed(format!("labelSelector: {part:?} is none")));
                selected.extend(read?);
            }
            "watch" if value == "true" || value == "1" => {
                return Err(Refusal::Malformed("values cannot be watched".to_owned()));
            }
            _ => {}
        }
    }
    Ok(selected)
}

/// Whether a namespace can be called so.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether a metric can be called so.
fn is_metric(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRIC: &str =
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/wsc_gateway_connections";

    fn ask(path: &str, query: Option<&str>) -> Result<Question, Refusal> {
        Question::of(&Method::GET, path, query)
    }

    #[test]
    fn paths_are_questions_and_what_is_none_is_nothing() {
        assert_eq!(ask("/livez", None), Ok(Question::Health));
        assert_eq!(ask("/apis", None), Ok(Question::Groups));
        assert_eq!(
            ask("/apis/external.metrics.k8s.io/v1beta1", None),
            Ok(Question::Resources)
        );
        for path in [
            "/",
            "/api",
            "/openapi/v1",
            "/apis/external.metrics.k8s.io/v1",
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/Default/a",
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/a/b",
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/a%2Fb",
        ] {
            assert!(
                matches!(ask(path, None), Ok(Question::Nothing { .. })),
                "{path}"
            );
        }
        let deed = ask(METRIC, None).unwrap().deed().unwrap();
        let (resource, other) = deed.attributes();
        let resource = resource.unwrap();
        assert_eq!(resource.verb.as_deref(), Some("list"));
        assert_eq!(resource.resource.as_deref(), Some(CONNECTIONS));
        assert_eq!(other, None);
    }

    #[test]
    fn a_selector_is_read_as_the_autoscaler_writes_it() {
        let asked = ask(METRIC, Some("labelSelector=wsc.dev%2Fgateway%3Dchat"));
        let Ok(Question::Values { selector, .. }) = asked else {
            panic!("{asked:?}")
        };
        assert_eq!(selector.to_string(), "wsc.dev/gateway=chat");
        let spaced = ask(METRIC, Some("labelSelector=a+in+%28b%29&timeout=1s"));
        assert!(spaced.is_ok());
        for query in [
            "labelSelector=%3Db",
            "labelSelector=%ff",
            "watch=true",
            "labelSelector=a+b",
        ] {
            assert!(
                matches!(ask(METRIC, Some(query)), Err(Refusal::Malformed(_))),
                "{query}"
            );
        }
        let post = Question::of(&Method::POST, METRIC, None);
        assert_eq!(post, Err(Refusal::Method));
    }
}
