//! `Authorizer`: whether a caller may, as the API server judges by a `SubjectAccessReview`.
//!
//! Judgements are remembered for ten seconds, like in Kubernetes' own API servers, so that a hundred autoscalers are not
//! a hundred reviews a round; a right that was taken away is used for so long at most.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::caller::Caller;
use super::question::Deed;
use super::refusal::Refusal;
use crate::kube_call::within;

/// How long a judgement is remembered.
const REMEMBERED: Duration = Duration::from_secs(10);

/// How many are; when there are more, all are forgotten, which costs reviews and nothing else.
const MOST: usize = 1024;

/// By caller and deed: until when, and whether.
type Remembered = BTreeMap<(Caller, Deed), (Instant, Result<(), Refusal>)>;

/// Asks the API server who may.
pub(super) struct Authorizer {
    api: Api<SubjectAccessReview>,
    remembered: Mutex<Remembered>,
}

impl Authorizer {
    /// Nothing is remembered yet.
    pub(super) fn new(client: Client) -> Self {
        Self {
            api: Api::all(client),
            remembered: Mutex::default(),
        }
    }

    /// Whether the caller may.
    pub(super) async fn judge(&self, caller: Caller, deed: Deed) -> Result<(), Refusal> {
        let key = (caller, deed);
        let now = Instant::now();
        if let Some((until, judgement)) = self.remembered.lock().get(&key)
            && now < *until
        {
            return judgement.clone();
        }
        let judgement = self.review(&key.0, &key.1).await?;
        let mut remembered = self.remembered.lock();
        remembered.retain(|_, (until, _)| now < *until);
        if remembered.len() >= MOST {
            remembered.clear();
        }
        remembered.insert(key, (now + REMEMBERED, judgement.clone()));
        judgement
    }

    /// The judgement; an error is that there is none.
    async fn review(&self, caller: &Caller, deed: &Deed) -> Result<Result<(), Refusal>, Refusal> {
        let (resource_attributes, non_resource_attributes) = deed.attributes();
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(caller.user.clone()),
                uid: caller.uid.clone(),
                groups: Some(caller.groups.clone()),
                extra: Some(caller.extra.clone()),
                resource_attributes,
                non_resource_attributes,
            },
            ..SubjectAccessReview::default()
        };
        let action = "reviewing an access".to_owned();
        let params = PostParams::default();
        let answer = within(action, self.api.create(&params, &review)).await;
        let status = answer
            .map_err(|error| Refusal::NotJudged(error.chain()))?
            .status
            .unwrap_or_default();
        if status.allowed {
            return Ok(Ok(()));
        }
        let why = status.reason.filter(|reason| !reason.is_empty());
        let why = why.map(|reason| format!(": {reason}")).unwrap_or_default();
        let Caller { user, .. } = caller;
        Ok(Err(Refusal::Forbidden(format!(
            "User {user:?} {}{why}",
            deed.words()
        ))))
    }
}
