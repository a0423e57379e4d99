//! `Scope`: one namespace, or all of them. Each scope has its own watches and controller.

use std::fmt;

use kube::core::{ApiResource, NamespaceResourceScope};
use kube::{Api, Client, Resource};

/// Where gateways are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In every namespace.
    All,
    /// In this one.
    Namespace(String),
}

impl Scope {
    /// The scopes that the flags ask for: one for each namespace, or all.
    pub fn of(namespaces: &[String]) -> Vec<Self> {
        if namespaces.is_empty() {
            return vec![Self::All];
        }
        let mut names = namespaces.to_vec();
        names.sort();
        names.dedup();
        names.into_iter().map(Self::Namespace).collect()
    }

    /// Whether a namespace is within this scope.
    pub fn has(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(name) => name == namespace,
        }
    }

    /// The objects of a kind within this scope.
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::All => Api::all(client.clone()),
            Self::Namespace(name) => Api::namespaced(client.clone(), name),
        }
    }

    /// The same for a kind known at run time only.
    pub fn api_with<K>(&self, client: &Client, resource: &ApiResource) -> Api<K>
    where
        K: Resource<Scope = kube::core::DynamicResourceScope, DynamicType = ApiResource>,
    {
        match self {
            Self::All => Api::all_with(client.clone(), resource),
            Self::Namespace(name) => Api::namespaced_with(client.clone(), name, resource),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => out.write_str("all namespaces"),
            Self::Namespace(name) => write!(out, "namespace {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_means_all_and_each_is_watched_once() {
        assert_eq!(Scope::of(&[]), [Scope::All]);
        let twice = ["b".to_owned(), "a".to_owned(), "b".to_owned()];
        assert_eq!(
            Scope::of(&twice),
            [
                Scope::Namespace("a".to_owned()),
                Scope::Namespace("b".to_owned())
            ]
        );
    }
}
