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
use status::{Outcome, Single};
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
    let dereferenced = match dereference(Arc::clone(&gateway), context).await {
        Err(error @ Error::NotPermitted(_)) => return tell(&gateway, error, context).await,
        read => read?,
    };
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

/// Says in the status which rights are missing; the rest of it stands, since nothing was looked at.
async fn tell(
    gateway: &WebSocketGateway,
    error: Error,
    context: &Context,
) -> Result<Outcome, Error> {
    let whole = serde_json::to_value(gateway)?;
    let single = Single {
        kind: "Degraded",
        status: "True",
        reason: "NotPermitted",
        message: error.to_string(),
    };
    status::say(&serde_json::from_value(whole)?, single, context).await?;
    Err(error)
}
