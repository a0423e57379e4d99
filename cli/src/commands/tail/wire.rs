//! What `tail` hears, whatever it comes over.

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::session::Ended;
use crate::Failure;
use crate::output::printable;

/// A connection on which frames come.
pub(super) trait Wire: Send {
    /// The next thing that comes. Nothing is lost if it is dropped before.
    fn hear(&mut self) -> BoxFuture<'_, Heard>;
    /// Says goodbye, where the transport has a word for it.
    fn farewell(&mut self) -> BoxFuture<'_, ()>;
}

/// What came.
pub(super) enum Heard {
    /// A frame, as JSON.
    Frame(String),
    /// A sign of life.
    Life,
    /// The end, with the gateway's close code, or a proxy's.
    Closed(u16, String),
    /// The end, without a word.
    Broken(String),
}

/// A refusal by HTTP: 429 and 5xx pass, the others do not.
pub(super) fn refused(status: u16, retry_after: Option<&str>, body: &[u8]) -> Ended {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = told
        .get("error")
        .and_then(|error| error.get("message"))
        .and_then(Value::as_str);
    let why = printable(&format!(
        "refused with {status}: {}",
        message.unwrap_or("no reason given")
    ));
    match status {
        429 | 500.. => Ended::come_back_after(why, retry_after),
        401 | 403 => Ended::Stay(Failure::Refused(why)),
        404 => Ended::Stay(Failure::NotFound(why)),
        _ => Ended::Stay(Failure::Failed(why)),
    }
}
