//! Tickets: opening them for customers, finding them, saying who works on them, and messages to all in one.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::calls::{ApiContext, by, page, queue, ticket, transfer, user};
use super::super::fault::Fault;
use super::super::tickets::TicketSendOutcome;
use super::body::{self, BroadcastBody, PrioritySchema};
use super::error::{BodyRefused, Conflict, Missing, Off, Refused};
use crate::protocol::{Position, Priority, TicketId, UserId};
use crate::telemetry::{ApiKind, ApiMethod};
use crate::ticket::{NewTicket, Queue, Record, TicketFilter, TicketPage, TicketView};

/// A ticket to be opened.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenTicketBody {
    /// Its id, 1 to 128 bytes; the gateway makes one if not given.
    #[schema(value_type = Option<String>)]
    ticket_id: Option<TicketId>,
    /// The user it is opened for.
    #[schema(value_type = String)]
    customer: UserId,
    /// What an agent has to be able to do, up to 32; the general queue if not given.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    skills: Queue,
    /// `normal` if not given.
    #[schema(value_type = Option<PrioritySchema>)]
    priority: Option<Priority>,
    /// What it is about, at most 256 bytes.
    subject: Option<String>,
}

/// Which tickets, and which page of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TicketsQuery {
    /// `waiting`, `assigned`, `active` or `closed`; all that are open if not given.
    status: Option<String>,
    /// Those of this customer.
    customer: Option<String>,
    /// Those that this agent has, or had when they were closed.
    agent: Option<String>,
    /// Those of this queue: skills with `+` between them, or `general`.
    queue: Option<String>,
    /// At most so many tickets, 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; none for the first page.
    cursor: Option<String>,
}

/// Who gets a ticket.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AssignBody {
    /// The agent.
    #[schema(value_type = String)]
    agent: UserId,
    /// Who it is said to be done by, for the ticket's records; `system` if not given.
    by: Option<String>,
}

/// Where a ticket goes: either an agent or a queue.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferBody {
    /// The agent, who is asked to accept it.
    #[schema(value_type = Option<String>)]
    agent: Option<UserId>,
    /// The queue: what an agent has to be able to do; `[]` is the general one.
    #[schema(value_type = Option<Vec<String>>)]
    skills: Option<Queue>,
    /// Who it is said to be done by, for the ticket's records; `system` if not given.
    by: Option<String>,
}

/// Who closes a ticket.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseBody {
    /// Who it is said to be done by, for the ticket's records; `system` if not given.
    by: Option<String>,
}

/// A page of tickets.
#[derive(Serialize, ToSchema)]
pub(super) struct TicketsAnswer {
    /// Open ones by id, closed ones the latest first; may be fewer than asked for, even if there is more.
    tickets: Vec<TicketView>,
    /// Give this as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// What happened to a ticket.
#[derive(Serialize, ToSchema)]
pub(super) struct StepsAnswer {
    /// Oldest first; at most the last thousand are kept.
    #[schema(value_type = Vec<StepSchema>)]
    steps: Vec<Record>,
}

/// One step. What there is beside these depends on the step.
#[derive(ToSchema)]
#[schema(title = "Step")]
#[allow(dead_code)] // Only its schema is used.
struct StepSchema {
    /// The ticket.
    ticket: String,
    /// When, Unix time in milliseconds.
    at: u64,
    /// `opened`, `queued`, `assigned`, `reminded`, `acknowledged`, `accepted`, `passed_on`, `transferred`, `joined`, `left`
    /// or `closed`.
    step: String,
}

/// What became of a message in a ticket.
#[derive(Serialize, ToSchema)]
pub(super) struct TicketSendAnswer {
    /// The message's id.
    id: String,
    /// Where it stands in the ticket's log, `EPOCH.OFFSET`; absent: it was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pos: Option<Position>,
    /// Whether the same sender had sent this id before; nothing was done again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

impl From<TicketPage> for TicketsAnswer {
    fn from(
        TicketPage {
            tickets,
            next_cursor,
        }: TicketPage,
    ) -> Self {
        Self {
            tickets,
            next_cursor,
        }
    }
}

impl From<TicketSendOutcome> for TicketSendAnswer {
    fn from(
        TicketSendOutcome {
            id,
            position,
            repeated,
        }: TicketSendOutcome,
    ) -> Self {
        Self {
            id,
            pos: position,
            repeated,
        }
    }
}

impl TicketsQuery {
    fn filter(&self) -> Result<TicketFilter, Fault> {
        let named = |field, id: &Option<String>| id.as_ref().map(|id| user(field, id)).transpose();
        Ok(TicketFilter {
            status: self.status.clone(),
            customer: named("customer", &self.customer)?,
            agent: named("agent", &self.agent)?,
            reader: None,
            queue: self.queue.as_deref().map(queue).transpose()?,
        })
    }
}

/// Opens a ticket for a customer. Opening it twice by the same id opens it once, also when it is over and kept.
#[utoipa::path(
    post, path = "/v1/tickets", operation_id = "openTicket", tag = "tickets",
    request_body = OpenTicketBody,
    responses(
        (status = 200, description = "The ticket as it stands now", body = TicketView),
        Refused, BodyRefused, Conflict, Off,
    )
)]
pub(super) async fn open(
    State(api): State<ApiContext>,
    request: Request,
) -> Result<Json<TicketView>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let body: OpenTicketBody = body::json(request, api.max_body.bytes()).await?;
        let new = NewTicket {
            id: body.ticket_id.unwrap_or_else(TicketId::generate),
            customer: body.customer,
            queue: body.skills,
            priority: body.priority.unwrap_or_default(),
            subject: body.subject,
        };
        Ok(Json(api.tickets.open(new).await?))
    };
    api.run(ApiKind::Http, ApiMethod::OpenTicket, work).await
}

/// Lists tickets.
#[utoipa::path(
    get, path = "/v1/tickets", operation_id = "listTickets", tag = "tickets",
    params(TicketsQuery),
    responses((status = 200, description = "A page of tickets", body = TicketsAnswer), Refused, Off)
)]
pub(super) async fn list(
    State(api): State<ApiContext>,
    parts: Parts,
) -> Result<Json<TicketsAnswer>, Fault> {
    let work = async {
        api.authenticate(&parts.headers)?;
        let query: TicketsQuery = body::query(&parts.uri)?;
        let (filter, limit) = (query.filter()?, page(query.limit)?);
        let page = api.tickets.list(filter, query.cursor, limit).await?;
        Ok(Json(page.into()))
    };
    api.run(ApiKind::Http, ApiMethod::ListTickets, work).await
}

/// Tells how a ticket stands, open or closed.
#[utoipa::path(
    get, path = "/v1/tickets/{ticket}", operation_id = "getTicket", tag = "tickets",
    params(("ticket" = String, Path, description = "The ticket's id")),
    responses((status = 200, description = "The ticket", body = TicketView), Refused, Missing, Off)
)]
pub(super) async fn get(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<TicketView>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let id = ticket("ticket", &body::parameter(&mut request).await?)?;
        Ok(Json(api.tickets.get(id).await?))
    };
    api.run(ApiKind::Http, ApiMethod::GetTicket, work).await
}

/// Lists what happened to a ticket, oldest first. What was said in it is its log.
#[utoipa::path(
    get, path = "/v1/tickets/{ticket}/steps", operation_id = "listSteps", tag = "tickets",
    params(("ticket" = String, Path, description = "The ticket's id")),
    responses((status = 200, description = "Its steps", body = StepsAnswer), Refused, Missing, Off)
)]
pub(super) async fn steps(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<StepsAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let id = ticket("ticket", &body::parameter(&mut request).await?)?;
        let steps = api.tickets.steps(id).await?;
        Ok(Json(StepsAnswer { steps }))
    };
    api.run(ApiKind::Http, ApiMethod::ListSteps, work).await
}

/// Has an agent who is free work on a ticket that waits or is offered to it, at once.
#[utoipa::path(
    post, path = "/v1/tickets/{ticket}/assign", operation_id = "assignTicket", tag = "tickets",
    params(("ticket" = String, Path, description = "The ticket's id")),
    request_body = AssignBody,
    responses(
        (status = 200, description = "The agent works on it", body = TicketView),
        Refused, BodyRefused, Missing, Conflict, Off,
    )
)]
pub(super) async fn assign(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<TicketView>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let id = ticket("ticket", &body::parameter(&mut request).await?)?;
        let body: AssignBody = body::json(request, api.max_body.bytes()).await?;
        let by = by(body.by.as_deref())?;
        Ok(Json(api.tickets.assign(id, body.agent, by).await?))
    };
    api.run(ApiKind::Http, ApiMethod::AssignTicket, work).await
}

/// Hands a ticket to an agent, who is asked to accept it, or to a queue.
#[utoipa::path(
    post, path = "/v1/tickets/{ticket}/transfer", operation_id = "transferTicket", tag = "tickets",
    params(("ticket" = String, Path, description = "The ticket's id")),
    request_body = TransferBody,
    responses(
        (status = 200, description = "The ticket after it", body = TicketView),
        Refused, BodyRefused, Missing, Conflict, Off,
    )
)]
pub(super) async fn hand_on(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<TicketView>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let id = ticket("ticket", &body::parameter(&mut request).await?)?;
        let body: TransferBody = body::json(request, api.max_body.bytes()).await?;
        let (to, by) = (transfer(body.agent, body.skills)?, by(body.by.as_deref())?);
        Ok(Json(api.tickets.transfer(id, to, by).await?))
    };
    api.run(ApiKind::Http, ApiMethod::TransferTicket, work)
        .await
}

/// Ends a ticket. It can be read for as long as closed tickets are kept.
#[utoipa::path(
    post, path = "/v1/tickets/{ticket}/close", operation_id = "closeTicket", tag = "tickets",
    params(("ticket" = String, Path, description = "The ticket's id")),
    request_body = CloseBody,
    responses(
        (status = 200, description = "The ticket, closed", body = TicketView),
        Refused, BodyRefused, Missing, Off,
    )
)]
pub(super) async fn close(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<TicketView>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let id = ticket("ticket", &body::parameter(&mut request).await?)?;
        let body: CloseBody = body::json(request, api.max_body.bytes()).await?;
        Ok(Json(api.tickets.close(id, by(body.by.as_deref())?).await?))
    };
    api.run(ApiKind::Http, ApiMethod::CloseTicket, work).await
}

/// Sends a message to everyone in a ticket, on whatever node they are.
#[utoipa::path(
    post, path = "/v1/tickets/{ticket}/messages", operation_id = "sendToTicket", tag = "tickets",
    params(("ticket" = String, Path, description = "The ticket's id")),
    request_body = BroadcastBody,
    responses(
        (status = 200, description = "Stored, where messages in tickets are, and handed on", body = TicketSendAnswer),
        Refused, BodyRefused, Missing, Off,
    )
)]
pub(super) async fn send(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<TicketSendAnswer>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let id = ticket("ticket", &body::parameter(&mut request).await?)?;
        let body: BroadcastBody = body::json(request, api.max_body.bytes()).await?;
        let sent = api.tickets.send_to_ticket(id, body.into_message()?).await?;
        Ok(Json(sent.into()))
    };
    api.run(ApiKind::Http, ApiMethod::SendToTicket, work).await
}
