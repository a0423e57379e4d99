//! `Live`: the owned objects as they are in the cluster, by kind and name.
//!
//! Filled by `dereference` from the watches' caches, updated by `apply` with what the API server answered, read by
//! `status`. Knows nothing of what is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::core::DynamicObject;
use serde::de::DeserializeOwned;

use crate::owned::Kind;
use crate::secrets::controller_uid;

/// The owned objects of one gateway.
#[derive(Clone, Debug, Default)]
pub struct Live(BTreeMap<(Kind, String), Arc<DynamicObject>>);

impl Live {
    /// What is there under a name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<DynamicObject>> {
        self.0.get(&(kind, name.to_owned()))
    }

    /// Takes note of an object.
    pub fn insert(&mut self, kind: Kind, object: Arc<DynamicObject>) {
        if let Some(name) = object.metadata.name.clone() {
            self.0.insert((kind, name), object);
        }
    }

    /// Forgets an object.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.0.remove(&(kind, name.to_owned()));
    }

    /// Every object with its kind and name.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &str, &Arc<DynamicObject>)> {
        self.0
            .iter()
            .map(|((kind, name), object)| (*kind, name.as_str(), object))
    }

    /// An object in its own type; `None` when it is not there or is not of that type.
    pub fn typed<K: DeserializeOwned>(&self, kind: Kind, name: &str) -> Option<K> {
        let object = self.get(kind, name)?;
        serde_json::to_value(object.as_ref())
            .and_then(serde_json::from_value)
            .ok()
    }
}

/// Whether `object` is controlled by the owner with this uid.
pub fn is_controlled_by(object: &DynamicObject, uid: &str) -> bool {
    controller_uid(object.metadata.owner_references.as_deref()).as_deref() == Some(uid)
}
