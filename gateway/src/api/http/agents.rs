//! Agents and the queues that wait for them.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::calls::{ApiContext, page, user};
use super::super::fault::Fault;
use super::body;
use super::error::{BodyRefused, Missing, Off, Refused};
use crate::telemetry::{ApiKind, ApiMethod};
use crate::ticket::{AgentPage, AgentView, Availability, WaitingView};

/// Which page of the agents.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AgentsQuery {
    /// At most so many agents, 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; none for the first page.
    cursor: Option<String>,
}

/// How an agent is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentBody {
    /// `online`: takes tickets; `away`: keeps what it has and takes no more; `offline`: does not work, its tickets move on.
    #[schema(value_type = String)]
    status: Availability,
    /// The most tickets it takes; as before if not given.
    max: Option<u32>,
}

/// A page of agents.
#[derive(Serialize, ToSchema)]
pub(super) struct AgentsAnswer {
    /// Ordered by id.
    agents: Vec<AgentView>,
    /// Give this as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The queues in which someone waits.
#[derive(Serialize, ToSchema)]
pub(super) struct QueuesAnswer {
    /// Ordered by their skills.
    queues: Vec<WaitingView>,
}

/// Lists the agents that are known: those with a session, and those who went and have not been forgotten.
#[utoipa::path(
    get, path = "/v1/agents", operation_id = "listAgents", tag = "tickets",
    params(AgentsQuery),
    responses((status = 200, description = "A page of agents", body = AgentsAnswer), Refused, Off)
)]
pub(super) async fn list(
    State(api): State<ApiContext>,
    parts: Parts,
) -> Result<Json<AgentsAnswer>, Fault> {
    let work = async {
        api.authenticate(&parts.headers)?;
        let AgentsQuery { limit, cursor } = body::query(&parts.uri)?;
        let after = cursor.map(|id| user("cursor", &id)).transpose()?;
        let AgentPage {
            agents,
            next_cursor,
        } = api.tickets.agents(after, page(limit)?).await?;
        Ok(Json(AgentsAnswer {
            agents,
            next_cursor,
        }))
    };
    api.run(ApiKind::Http, ApiMethod::ListAgents, work).await
}

/// Tells how an agent is.
#[utoipa::path(
    get, path = "/v1/agents/{agent}", operation_id = "getAgent", tag = "tickets",
    params(("agent" = String, Path, description = "The agent's user id")),
    responses((status = 200, description = "The agent", body = AgentView), Refused, Missing, Off)
)]
pub(super) async fn get(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<AgentView>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let agent = user("agent", &body::parameter(&mut request).await?)?;
        Ok(Json(api.tickets.agent(agent).await?))
    };
    api.run(ApiKind::Http, ApiMethod::GetAgent, work).await
}

/// Says for an agent whether it takes tickets, and how many.
#[utoipa::path(
    put, path = "/v1/agents/{agent}", operation_id = "setAgent", tag = "tickets",
    params(("agent" = String, Path, description = "The agent's user id")),
    request_body = AgentBody,
    responses(
        (status = 200, description = "The agent", body = AgentView),
        Refused, BodyRefused, Missing, Off,
    )
)]
pub(super) async fn set(
    State(api): State<ApiContext>,
    mut request: Request,
) -> Result<Json<AgentView>, Fault> {
    let work = async {
        api.authenticate(request.headers())?;
        let agent = user("agent", &body::parameter(&mut request).await?)?;
        let AgentBody { status, max } = body::json(request, api.max_body.bytes()).await?;
        Ok(Json(api.tickets.set_agent(agent, status, max).await?))
    };
    api.run(ApiKind::Http, ApiMethod::SetAgent, work).await
}

/// Lists the queues in which someone waits: how many, and for how long.
#[utoipa::path(
    get, path = "/v1/queues", operation_id = "listQueues", tag = "tickets",
    responses((status = 200, description = "The queues", body = QueuesAnswer), Refused, Off)
)]
pub(super) async fn queues(
    State(api): State<ApiContext>,
    parts: Parts,
) -> Result<Json<QueuesAnswer>, Fault> {
    let work = async {
        api.authenticate(&parts.headers)?;
        let queues = api.tickets.queues().await?;
        Ok(Json(QueuesAnswer { queues }))
    };
    api.run(ApiKind::Http, ApiMethod::ListQueues, work).await
}
