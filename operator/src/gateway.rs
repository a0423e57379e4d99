//! One reconcile: `dereference → validate → build → apply → status`.
//!
//! Only `dereference`, `apply` and the end of `status` speak to the API server; the middle is pure, and each step takes
//! what the one before it made: `Dereferenced → Validated → Desired → Applied`. A status cannot be computed from what was
//! not applied. Called by `controller` alone.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod held;
pub mod live;
pub mod rollout;
pub mod status;
pub mod unreadable;
pub mod validate;

use std::sync::Arc;

use crate::api::WebSocketGateway;
use crate::context::Context;
use crate::error::Error;
use apply::{Applied, Verdict};
use build::build;
use dereference::dereference;
use held::Asked;
use status::Outcome;
use validate::validate;

/// Brings the cluster to what `gateway` asks for, and says in its status how far that went.
pub async fn reconcile(
    gateway: Arc<WebSocketGateway>,
    context: &Context,
) -> Result<Outcome, Error> {
    // The garbage collector takes what is owned; making it again meanwhile would only delay that.
    if gateway.metadata.deletion_timestamp.is_some() {
        return Ok(Outcome::Settled);
    }
    let dereferenced = dereference(Arc::clone(&gateway), context).await?;
    let live = dereferenced.live.clone();
    let applied = match validate(&dereferenced, &context.defaults) {
        Ok(_) if gateway.spec.paused => Applied::nothing(live, Verdict::Paused),
        Ok(validated) => apply::apply(build(&validated)?, live, context).await?,
        Err(rejection) => Applied::nothing(live, Verdict::rejected(rejection)),
    };
    // What runs is looked after also while what is asked for cannot be.
    let applied = if gateway.spec.paused {
        applied
    } else {
        held::hold(Asked::by(&gateway), applied, context).await?
    };
    status::report(&gateway, applied, context).await
}
