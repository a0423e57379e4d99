//! `Routes`: what Gateways say of the routes. Pure; reads the status that their controllers write.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::gateway::live::Live;
use crate::names::Names;
use crate::owned::Kind;

/// What Gateways say of the routes of one resource.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Routes {
    /// Host names of clients' route, once a Gateway has taken it.
    pub(super) hosts: BTreeSet<String>,
    /// Why one does not take a route, of the first that it does not take.
    pub(super) refused: Option<String>,
}

impl Routes {
    /// Looks at the routes there are.
    pub(super) fn of(live: &Live, names: &Names) -> Self {
        let routes = live
            .iter()
            .filter(|(kind, ..)| matches!(kind, Kind::HttpRoute | Kind::GrpcRoute));
        let mut all = Self::default();
        for (kind, name, route) in routes {
            let parents = list(&route.data, "/status/parents");
            let refused = parents.iter().find_map(refusal);
            if kind == Kind::HttpRoute
                && name == names.gateway()
                && parents
                    .iter()
                    .any(|parent| says(parent, "Accepted", "True").is_some())
            {
                let hosts = list(&route.data, "/spec/hostnames");
                all.hosts
                    .extend(hosts.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            let refused = refused.map(|why| format!("{}/{name}: {why}", kind.as_str()));
            all.refused = all.refused.or(refused);
        }
        all
    }
}

fn list<'a>(data: &'a Value, path: &str) -> &'a [Value] {
    data.pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Why a Gateway does not take the route, or cannot send anything by it.
fn refusal(parent: &Value) -> Option<String> {
    let found = ["Accepted", "ResolvedRefs"]
        .into_iter()
        .find_map(|kind| says(parent, kind, "False"))?;
    let word = |from: &Value, path: &str| {
        let found = from.pointer(path).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    Some(format!(
        "Gateway {} does not take it: {}: {}",
        word(parent, "/parentRef/name"),
        word(found, "/reason"),
        word(found, "/message")
    ))
}

/// A condition, if it has this status.
fn says<'a>(parent: &'a Value, kind: &str, status: &str) -> Option<&'a Value> {
    list(parent, "/conditions").iter().find(|condition| {
        condition.get("type").and_then(Value::as_str) == Some(kind)
            && condition.get("status").and_then(Value::as_str) == Some(status)
    })
}
