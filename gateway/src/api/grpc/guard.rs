//! What happens to a gRPC call before tonic reads its message: the key, and a bound on how long reading may take.

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tonic::{Code, Status};

use super::super::calls::ApiContext;
use super::super::fault::Fault;
use crate::admission::ClientAddress;
use crate::telemetry::{ApiCall, ApiKind, ApiMethod, ApiOutcome};

/// How much longer than a call's own deadline its message may take to arrive.
const READING: Duration = Duration::from_secs(1);

/// Turns a call away by where it comes from; goes around every service but health.
pub(super) async fn gate(
    State(api): State<ApiContext>,
    mut request: Request,
    next: Next,
) -> Response {
    match api.admit(request.extensions(), request.headers()) {
        Ok(address) => {
            request.extensions_mut().insert(address);
            next.run(request).await
        }
        Err(fault) => Status::from(fault).into_http(),
    }
}

/// What the names of the gateway's own services begin with.
const OWN: &str = "/wsc.v1.";

/// Judges one call. A method that has no label here needs the key all the same: nothing is served for being forgotten.
pub(super) async fn judge(State(api): State<ApiContext>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = request.uri().path();
    if !path.starts_with(OWN) {
        // Nobody's service: tonic says so.
        return next.run(request).await;
    }
    let method = method(path);
    let count = |outcome| {
        // No label is made of what a caller wrote.
        if let Some(method) = method {
            let call = ApiCall {
                api: ApiKind::Grpc,
                method,
                outcome,
            };
            api.count(&call, started);
        }
    };
    let address = request.extensions().get::<ClientAddress>().copied();
    let knocked = address.map_or(Ok(()), |address| api.knock(address, request.headers()));
    if let Err(fault) = knocked.and_then(|()| api.authenticate(request.headers())) {
        count(fault.code.outcome());
        return Status::from(fault).into_http();
    }
    let limit = api.deadline + READING;
    let Ok(response) = tokio::time::timeout(limit, next.run(request)).await else {
        count(ApiOutcome::Deadline);
        return Status::deadline_exceeded("the call's message did not arrive in time").into_http();
    };
    if is_too_large(&response) {
        count(ApiOutcome::Invalid);
        let message = format!("the message is larger than {} bytes", api.max_body.bytes());
        return Status::resource_exhausted(message).into_http();
    }
    response
}

/// tonic says `OUT_OF_RANGE` of a message over its limit, and nothing here says it of anything else.
fn is_too_large(response: &Response) -> bool {
    let status = Status::from_header_map(response.headers());
    status.is_some_and(|status| status.code() == Code::OutOfRange)
}

fn method(path: &str) -> Option<ApiMethod> {
    if let Some(name) = path.strip_prefix("/wsc.v1.GroupService/") {
        return group_method(name);
    }
    if let Some(name) = path.strip_prefix("/wsc.v1.TicketService/") {
        return ticket_method(name);
    }
    match path.strip_prefix("/wsc.v1.WscService/")? {
        "Send" => Some(ApiMethod::Send),
        "Broadcast" => Some(ApiMethod::Broadcast),
        "ListOnline" => Some(ApiMethod::ListOnline),
        "ListSessions" => Some(ApiMethod::ListSessions),
        "ReadLog" => Some(ApiMethod::ReadLog),
        "ListRecords" => Some(ApiMethod::ListRecords),
        "Kick" => Some(ApiMethod::Kick),
        "Revoke" => Some(ApiMethod::Revoke),
        "GetStats" => Some(ApiMethod::Stats),
        _ => None,
    }
}

fn group_method(name: &str) -> Option<ApiMethod> {
    match name {
        "CreateGroup" => Some(ApiMethod::CreateGroup),
        "DisbandGroup" => Some(ApiMethod::DisbandGroup),
        "GetGroup" => Some(ApiMethod::GetGroup),
        "ListMembers" => Some(ApiMethod::ListMembers),
        "AddMember" => Some(ApiMethod::AddMember),
        "RemoveMember" => Some(ApiMethod::RemoveMember),
        "ListGroups" => Some(ApiMethod::ListGroups),
        "SendToGroup" => Some(ApiMethod::SendToGroup),
        _ => None,
    }
}

fn ticket_method(name: &str) -> Option<ApiMethod> {
    match name {
        "OpenTicket" => Some(ApiMethod::OpenTicket),
        "ListTickets" => Some(ApiMethod::ListTickets),
        "GetTicket" => Some(ApiMethod::GetTicket),
        "ListSteps" => Some(ApiMethod::ListSteps),
        "AssignTicket" => Some(ApiMethod::AssignTicket),
        "TransferTicket" => Some(ApiMethod::TransferTicket),
        "CloseTicket" => Some(ApiMethod::CloseTicket),
        "SendToTicket" => Some(ApiMethod::SendToTicket),
        "ListAgents" => Some(ApiMethod::ListAgents),
        "GetAgent" => Some(ApiMethod::GetAgent),
        "SetAgent" => Some(ApiMethod::SetAgent),
        "ListQueues" => Some(ApiMethod::ListQueues),
        _ => None,
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let message = match fault.field {
            Some(field) => format!("{field}: {}", fault.message),
            None => fault.message,
        };
        Self::new(fault.code.grpc(), message)
    }
}
