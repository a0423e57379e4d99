//! `Calls`: what both skins do around each call: judge the key, hold the deadline, catch a panic, count.
//!
//! Also the checks of a request that do not depend on its wire form. It knows neither HTTP nor gRPC.

use std::collections::HashSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::http::{Extensions, HeaderMap};
use futures_util::FutureExt;
use serde_json::value::RawValue;

use super::fault::{Fault, FaultCode};
use super::groups::GroupCalls;
use super::service::{LogFrom, LogQuery, MessageService, RevokeTarget, SYSTEM};
use super::tickets::TicketCalls;
use crate::admission::{Admission, Attempt, ClientAddress};
use crate::log::SentQuery;
use crate::protocol::{Disconnect, GroupId, Position, TicketId, UserId};
use crate::security::{ApiKeyError, ApiKeyGuard, MAX_TOKEN_ID_BYTES};
use crate::telemetry::traces::{self, Span};
use crate::telemetry::{ApiCall, ApiKind, ApiMethod, ApiOutcome, Instruments};
use crate::ticket::{Queue, TransferTo};

/// The most recipients of one call.
pub(super) const MAX_RECIPIENTS: usize = 1000;
/// The largest page of a list.
pub(super) const MAX_PAGE: usize = 1000;
/// The page when the caller names none.
pub(super) const DEFAULT_PAGE: usize = 100;
/// A close frame holds no longer reason (RFC 6455 §5.5).
const MAX_REASON_BYTES: usize = 123;

/// What both skins are given.
#[derive(Clone)]
pub struct ApiContext {
    /// Does the work.
    pub service: Arc<dyn MessageService>,
    /// Does what concerns groups.
    pub groups: Arc<dyn GroupCalls>,
    /// Does what concerns tickets.
    pub tickets: Arc<dyn TicketCalls>,
    /// Judges the callers.
    pub guard: ApiKeyGuard,
    /// Judges where they come from.
    pub admission: Admission,
    /// Counts the calls.
    pub instruments: Instruments,
    /// How long a call may take, from its headers to its answer.
    pub deadline: Duration,
    /// The largest body.
    pub max_body: BodyLimit,
}

/// The largest body of a call, in bytes. Changes while running; clones share it.
#[derive(Clone, Debug)]
pub struct BodyLimit(Arc<AtomicUsize>);

impl BodyLimit {
    /// So many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// What it is now.
    pub fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// From now on.
    pub fn set(&self, bytes: usize) {
        self.0.store(bytes, Relaxed);
    }
}

impl ApiContext {
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<(), Fault> {
        Ok(self.guard.check(headers)?)
    }

    /// Where a call comes from, if callers from there are let in.
    pub(super) fn admit(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<ClientAddress, Fault> {
        Ok(self.admission.address(extensions, headers)?)
    }

    /// Whether a key from there is looked at; what becomes of it is noted.
    pub(super) fn knock(
        &self,
        ClientAddress(address): ClientAddress,
        headers: &HeaderMap,
    ) -> Result<(), Fault> {
        self.admission.may_try(Attempt::ApiKey, address)?;
        match self.guard.check(headers) {
            Ok(()) => self.admission.right_key(address),
            Err(ApiKeyError::Wrong) => self.admission.wrong_key(address),
            Err(ApiKeyError::Missing | ApiKeyError::NotConfigured | ApiKeyError::Length(_)) => {}
        }
        Ok(())
    }

    /// Runs one call to its end: within the deadline, without letting a panic through, counted.
    pub(super) async fn run<T>(
        &self,
        api: ApiKind,
        method: ApiMethod,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let started = Instant::now();
        let tracer = self.instruments.tracer();
        let mut span = tracer.enter(method.span(), traces::Kind::Server, traces::caller());
        let context = span.as_ref().map(Span::context);
        let work = async {
            match context {
                Some(context) => traces::within(context, work).await,
                None => work.await,
            }
        };
        // Nothing of the work is looked at after a panic: its future is dropped whole.
        let caught = AssertUnwindSafe(work).catch_unwind();
        let result = match tokio::time::timeout(self.deadline, caught).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Fault::new(
                FaultCode::Internal,
                "the gateway failed at this call",
            )),
            Err(_) => Err(self.too_late()),
        };
        let outcome = match &result {
            Ok(_) => ApiOutcome::Ok,
            Err(fault) => fault.code.outcome(),
        };
        if let Some(span) = &mut span {
            span.word("wsc.api", api.as_str());
            if outcome != ApiOutcome::Ok {
                span.failed(outcome.as_str());
            }
        }
        self.count(
            &ApiCall {
                api,
                method,
                outcome,
            },
            started,
        );
        result
    }

    pub(super) fn count(&self, call: &ApiCall, started: Instant) {
        self.instruments.api(call, started.elapsed());
    }

    fn too_late(&self) -> Fault {
        let millis = self.deadline.as_millis();
        let message =
            format!("the call was not done within {millis} ms; it may still have an effect");
        Fault::new(FaultCode::Deadline, message)
    }
}

/// The recipients, each once, in the order of their first mention.
pub(super) fn recipients(to: &[String]) -> Result<Vec<UserId>, Fault> {
    if to.is_empty() || to.len() > MAX_RECIPIENTS {
        let problem = format!(
            "has {} recipients, allowed are 1 to {MAX_RECIPIENTS}",
            to.len()
        );
        return Err(Fault::field("to", problem));
    }
    let mut seen = HashSet::with_capacity(to.len());
    let mut users = Vec::with_capacity(to.len());
    for (at, id) in to.iter().enumerate() {
        let user = UserId::new(id)
            .map_err(|error| Fault::field(format!("to[{at}]"), error.to_string()))?;
        if seen.insert(user.clone()) {
            users.push(user);
        }
    }
    Ok(users)
}

/// A user id from a path or a field.
pub(super) fn user(field: &str, id: &str) -> Result<UserId, Fault> {
    UserId::new(id).map_err(|error| Fault::field(field, error.to_string()))
}

/// A group id from a path or a field.
pub(super) fn group(field: &str, id: &str) -> Result<GroupId, Fault> {
    GroupId::new(id).map_err(|error| Fault::field(field, error.to_string()))
}

/// A ticket id from a path or a field.
pub(super) fn ticket(field: &str, id: &str) -> Result<TicketId, Fault> {
    TicketId::new(id).map_err(|error| Fault::field(field, error.to_string()))
}

/// Who something is said to be done by.
pub(super) fn by(named: Option<&str>) -> Result<UserId, Fault> {
    user("by", named.unwrap_or(SYSTEM))
}

/// A queue by its name.
pub(super) fn queue(name: &str) -> Result<Queue, Fault> {
    Queue::parse(name).map_err(|error| Fault::field("queue", error.to_string()))
}

/// Where a ticket is to go: either an agent or a queue.
pub(super) fn transfer(agent: Option<UserId>, skills: Option<Queue>) -> Result<TransferTo, Fault> {
    match (agent, skills) {
        (Some(agent), None) => Ok(TransferTo::Agent(agent)),
        (None, Some(queue)) => Ok(TransferTo::Queue(queue)),
        (None, None) => Err(Fault::field("agent", "name an agent or skills")),
        (Some(_), Some(_)) => Err(Fault::field("skills", "cannot be given with agent")),
    }
}

/// `data` is an object, or nothing.
pub(super) fn object(
    field: &str,
    data: Option<Box<RawValue>>,
) -> Result<Option<Box<RawValue>>, Fault> {
    match data {
        Some(value) if !value.get().starts_with('{') => {
            Err(Fault::field(field, "must be a JSON object"))
        }
        data => Ok(data),
    }
}

/// The page's size, from 1 to 1000.
pub(super) fn page(limit: Option<usize>) -> Result<usize, Fault> {
    match limit.unwrap_or(DEFAULT_PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        limit => Err(Fault::field(
            "limit",
            format!("is {limit}, allowed are 1 to {MAX_PAGE}"),
        )),
    }
}

/// Which piece of a log is asked for.
pub(super) fn log_query(
    limit: Option<usize>,
    after: Option<&str>,
    since: Option<u64>,
) -> Result<LogQuery, Fault> {
    let from = match (after, since) {
        (Some(_), Some(_)) => return Err(Fault::field("since", "cannot be given with after")),
        (None, None) => LogFrom::Oldest,
        (None, Some(since)) => LogFrom::Since(since),
        (Some(after), None) => {
            let after = after.parse::<Position>();
            LogFrom::After(after.map_err(|error| Fault::field("after", error.to_string()))?)
        }
    };
    let limit = page(limit)?;
    Ok(LogQuery { from, limit })
}

/// Which tokens are to be taken back.
pub(super) fn revoke_target(
    token: Option<&str>,
    user_id: Option<&str>,
    before: Option<u64>,
) -> Result<RevokeTarget, Fault> {
    match (token, user_id) {
        (Some(id), None) if before.is_none() => {
            let fits = (1..=MAX_TOKEN_ID_BYTES).contains(&id.len());
            if !fits || id.chars().any(char::is_control) {
                let problem = format!("must have 1 to {MAX_TOKEN_ID_BYTES} printable bytes");
                return Err(Fault::field("token_id", problem));
            }
            Ok(RevokeTarget::Token(id.to_owned()))
        }
        (Some(_), None) => Err(Fault::field("before", "cannot be given with token_id")),
        (None, Some(id)) => Ok(RevokeTarget::User(user("user_id", id)?, before)),
        (None, None) => Err(Fault::field("token_id", "name a token_id or a user_id")),
        (Some(_), Some(_)) => Err(Fault::field("user_id", "cannot be given with token_id")),
    }
}

/// Which piece of what was sent is asked for.
pub(super) fn sent_query(
    limit: Option<usize>,
    since: u64,
    cursor: Option<&str>,
) -> Result<SentQuery, Fault> {
    let after = cursor.map(str::parse).transpose();
    let after = after
        .map_err(|error: crate::log::SentCursorError| Fault::field("cursor", error.to_string()))?;
    let limit = page(limit)?;
    Ok(SentQuery {
        since,
        after,
        limit,
    })
}

/// What the client is told, cut to what a close frame holds.
pub(super) fn reason(asked: Option<&str>) -> String {
    let reason = asked.filter(|reason| !reason.is_empty());
    let reason = reason.unwrap_or(Disconnect::Kicked.describe().reason);
    let end = reason.floor_char_boundary(MAX_REASON_BYTES);
    reason.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_named_twice_gets_the_message_once() {
        let to = ["b", "a", "b"].map(str::to_owned);
        let users = recipients(&to).unwrap();
        assert_eq!(
            users.iter().map(UserId::as_str).collect::<Vec<_>>(),
            ["b", "a"]
        );
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(reason(Some("bye")), "bye");
        assert_eq!(reason(None), reason(Some("")));
        assert!(!reason(None).is_empty());
        let long = reason(Some(&"é".repeat(100)));
        assert_eq!(long, "é".repeat(61));
    }
}
