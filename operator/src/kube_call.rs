//! One place where requests to the API server get their deadline and their name.

use std::time::Duration;

use crate::error::Error;

/// The longest that one request may take. Watches are not requests in this sense; they end by themselves.
const DEADLINE: Duration = Duration::from_secs(10);

/// Awaits a request; `action` names it in what is logged when it fails.
pub async fn within<T>(
    action: String,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Error::Conflict { action }),
        Ok(Err(source)) => Err(Error::Api { action, source }),
        Err(_) => Err(Error::Deadline {
            action,
            deadline: DEADLINE,
        }),
    }
}

/// Whether the API server said that the object itself cannot be: trying again without a change is pointless.
pub fn is_refusal(error: &Error) -> bool {
    matches!(code(error), Some(400 | 403 | 404 | 422))
}

/// Whether it said that the object is invalid.
pub fn is_invalid(error: &Error) -> bool {
    code(error) == Some(422)
}

/// Whether it said that there is no such object.
pub fn is_gone(error: &Error) -> bool {
    code(error) == Some(404)
}

/// Whether it lets nobody with our rights do that, or cannot do it with such objects.
pub fn is_denied(error: &Error) -> bool {
    matches!(code(error), Some(403 | 405))
}

/// The code of an answer, if there was one.
fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api { source, .. } => match source {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        },
        Error::Deadline { .. }
        | Error::Conflict { .. }
        | Error::Contested { .. }
        | Error::NotWatchingYet { .. }
        | Error::NotPermitted(_)
        | Error::Serialise(_)
        | Error::Yaml(_)
        | Error::Unreadable(_)
        | Error::Incomplete(_) => None,
    }
}
