//! One object: it is applied unless it is there already, and written over where applying is not enough.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::settled::Place;
use super::{Run, covers, deletion_cost, volume, whole};
use crate::error::Error;
use crate::kube_call::{is_invalid, within};
use crate::metrics::Verb;
use crate::names::MANAGER;
use crate::owned::{Kind, Object};
use crate::watch::keep;

impl Run<'_> {
    /// Applies one object, unless it is there already.
    pub(super) async fn put(&mut self, object: &Object) -> Result<(), Error> {
        let existing = self.live.get(object.kind, &object.name).cloned();
        let owned = Arc::clone(self.context.stores.owned(object.kind));
        let version = existing
            .as_ref()
            .and_then(|live| live.metadata.resource_version.clone());
        let before = owned.before(version);
        let mut object = object.clone();
        if let (Kind::PersistentVolumeClaim, Some(live)) = (object.kind, &existing) {
            volume::keep_size(&mut object.body, &live.data);
        }
        let object = &object;
        let place = self.settled_place(object.id());
        if let Some(live) = &existing
            && self.is_done(object, &place, live)?
        {
            return Ok(());
        }
        if self
            .context
            .contests
            .waits(&place, &object.body, Instant::now())
        {
            return Err(self.contested(object));
        }
        let mut body = object.body.clone();
        let mut verb = Verb::Created;
        if let Some(live) = &existing {
            verb = Verb::Updated;
            if object.kind == Kind::Deployment && deletion_cost::shrinks(live, &body) {
                deletion_cost::tell_pods(self.desired, self.context).await;
            }
            // A namesake that came in between has another uid, and the API server refuses.
            if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("uid".to_owned(), json!(live.metadata.uid));
            }
        }
        let mut answer = self.send(object, &body, verb).await?;
        // The watch may be behind, or broken: what was written a moment ago must not be taken for what it was before.
        owned.written(&before, answer.clone(), keep(object.kind));
        answer.metadata.managed_fields = None;
        let answered = body_of(object.kind, &answer)?;
        if !is_as_wanted(object.kind, &object.body, &answered) {
            let settled = &self.context.settled;
            settled.learn(place.clone(), &object.body, &answered);
        }
        let written = existing.is_none_or(|before| {
            before.metadata.resource_version != answer.metadata.resource_version
        });
        self.live.insert(object.kind, Arc::new(answer));
        if written {
            self.note(verb, object.kind.as_str(), object.id());
            let contests = &self.context.contests;
            if contests.wrote(place, &object.body, Instant::now()) {
                return Err(self.contested(object));
            }
        }
        Ok(())
    }

    /// Sends one object to the API server, and takes away what somebody added where the whole is ours.
    async fn send(
        &self,
        object: &Object,
        body: &Value,
        verb: Verb,
    ) -> Result<DynamicObject, Error> {
        let params = PatchParams::apply(MANAGER);
        let params = match verb {
            Verb::Created => params,
            Verb::Updated | Verb::Deleted => params.force(),
        };
        let action = format!("applying {}", self.place(&object.id()));
        let api = self.api(object.kind);
        let patch = Patch::Apply(body);
        let answer = match within(action, api.patch(&object.name, &params, &patch)).await {
            Err(error) if verb == Verb::Updated && is_invalid(&error) => {
                self.overwrite(object, body, Some(error)).await?
            }
            answer => answer?,
        };
        // Others' elements of a list outlive an apply.
        if !whole::is_unadded(object.kind, &object.body, &body_of(object.kind, &answer)?) {
            return self.overwrite(object, body, None).await;
        }
        Ok(answer)
    }

    /// Whether a live object is as it is wanted, or as near as the API server lets it be.
    fn is_done(&self, object: &Object, place: &Place, live: &DynamicObject) -> Result<bool, Error> {
        let live = body_of(object.kind, live)?;
        Ok(is_as_wanted(object.kind, &object.body, &live)
            || self.context.settled.knows(place, &object.body, &live))
    }

    pub(super) fn settled_place(&self, object: String) -> Place {
        Place {
            namespace: self.desired.namespace.clone(),
            gateway: self.desired.gateway.clone(),
            object,
        }
    }

    fn contested(&self, object: &Object) -> Error {
        Error::Contested {
            object: self.place(&object.id()),
        }
    }

    /// Writes an object over one that somebody edited.
    ///
    /// Server-side apply leaves list elements that others added: after a port's number was changed by hand, ours and
    /// theirs would have the same name, and the API server refuses the whole. A merge patch replaces lists.
    async fn overwrite(
        &self,
        object: &Object,
        body: &Value,
        refused: Option<Error>,
    ) -> Result<DynamicObject, Error> {
        let action = format!("overwriting {}", self.place(&object.id()));
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.api(object.kind);
        let patch = Patch::Merge(whole::replacing(object.kind, body));
        match within(action, api.patch(&object.name, &params, &patch)).await {
            // What was wrong is the object, not somebody's edit.
            Err(error) if is_invalid(&error) => Err(refused.unwrap_or(error)),
            answer => answer,
        }
    }
}

/// Whether a live object says all that is wanted, and nothing more where the whole is ours.
fn is_as_wanted(kind: Kind, wanted: &Value, live: &Value) -> bool {
    if kind == Kind::ControllerRevision {
        // What is in it cannot be changed, and its name says what that is.
        return wanted
            .get("metadata")
            .zip(live.get("metadata"))
            .is_some_and(|(wanted, live)| covers::covers(wanted, live));
    }
    covers::covers(wanted, live) && whole::is_unadded(kind, wanted, live)
}

/// A live object as one would apply it. In a list, with which every watch begins, the API server leaves out what kind each
/// object is.
fn body_of(kind: Kind, live: &DynamicObject) -> Result<Value, Error> {
    let mut body = serde_json::to_value(live)?;
    let resource = kind.api_resource();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("apiVersion".to_owned(), json!(resource.api_version));
        fields.insert("kind".to_owned(), json!(resource.kind));
    }
    Ok(body)
}
