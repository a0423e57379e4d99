//! `keep_told`: sees to it that the API server believes what is shown: at once when that changes, and now and then, since
//! others may write what it goes by.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Current;
use crate::backoff::jittered;
use crate::error::Error;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(60);

/// The same after a look that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// An object in which the API server is told whom to believe.
pub trait Registration: Send + 'static {
    /// Whose certificate it is about, for the log.
    const WHOSE: &'static str;

    /// One look: writes the bundle where another stands.
    fn tell(&mut self, bundle: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Looks again and again until the token says stop.
pub async fn keep_told(
    mut registration: impl Registration,
    mut shown: Current,
    token: CancellationToken,
) {
    loop {
        let identity = shown.borrow_and_update().clone();
        let told = match identity {
            Some(identity) => registration.tell(identity.authorities()).await,
            None => Ok(()),
        };
        let wait = match told {
            Ok(()) => LOOK,
            // Another replica was faster, with what is most likely the same.
            Err(Error::Conflict { .. }) => LOOK_AGAIN,
            Err(error) => {
                let (whose, error) = (whose(&registration), error.chain());
                warn!(whose, error, "the caBundle is not kept");
                LOOK_AGAIN
            }
        };
        tokio::select! {
            () = token.cancelled() => return,
            Ok(()) = shown.changed() => {}
            () = tokio::time::sleep(jittered(wait)) => {}
        }
    }
}

const fn whose<R: Registration>(_: &R) -> &'static str {
    R::WHOSE
}
