//! `wsc.v1.TicketService`: the calls about tickets, agents and queues, converted there and back.

use tonic::{Request, Response, Status};
use wsc_proto::v1;
use wsc_proto::v1::ticket_service_server::TicketService;
use wsc_proto::v1::transfer_ticket_request::To;

use super::super::calls::{ApiContext, by, page, queue, ticket, transfer, user};
use super::super::fault::Fault;
use super::super::tickets::TicketSendOutcome;
use super::{answered, convert, desk};
use crate::protocol::TicketId;
use crate::telemetry::ApiMethod;
use crate::ticket::{Availability, NewTicket, Queue, TicketFilter};

/// The implementation of the service.
pub(super) struct GrpcTickets(ApiContext);

impl GrpcTickets {
    pub(super) fn new(context: ApiContext) -> Self {
        Self(context)
    }
}

#[tonic::async_trait]
impl TicketService for GrpcTickets {
    async fn open_ticket(
        &self,
        request: Request<v1::OpenTicketRequest>,
    ) -> Result<Response<v1::Ticket>, Status> {
        let v1::OpenTicketRequest {
            ticket_id,
            customer,
            skills,
            priority,
            subject,
        } = request.into_inner();
        let work = async {
            let named = convert::given(ticket_id).map(|id| ticket("ticket_id", &id));
            let new = NewTicket {
                id: named.transpose()?.unwrap_or_else(TicketId::generate),
                customer: user("customer", &customer)?,
                queue: queue_of(&skills)?,
                priority: convert::priority("priority", &priority)?,
                subject: convert::given(subject),
            };
            Ok(desk::ticket(self.0.tickets.open(new).await?))
        };
        answered(&self.0, ApiMethod::OpenTicket, work).await
    }

    async fn list_tickets(
        &self,
        request: Request<v1::ListTicketsRequest>,
    ) -> Result<Response<v1::ListTicketsResponse>, Status> {
        let request = request.into_inner();
        let work = async {
            let (filter, limit) = (filter(&request)?, page(convert::limit(request.limit))?);
            let cursor = convert::given(request.cursor);
            let page = self.0.tickets.list(filter, cursor, limit).await?;
            Ok(v1::ListTicketsResponse {
                tickets: page.tickets.into_iter().map(desk::ticket).collect(),
                next_cursor: page.next_cursor.unwrap_or_default(),
            })
        };
        answered(&self.0, ApiMethod::ListTickets, work).await
    }

    async fn get_ticket(
        &self,
        request: Request<v1::GetTicketRequest>,
    ) -> Result<Response<v1::Ticket>, Status> {
        let v1::GetTicketRequest { ticket_id } = request.into_inner();
        let work = async {
            let id = ticket("ticket_id", &ticket_id)?;
            Ok(desk::ticket(self.0.tickets.get(id).await?))
        };
        answered(&self.0, ApiMethod::GetTicket, work).await
    }

    async fn list_steps(
        &self,
        request: Request<v1::ListStepsRequest>,
    ) -> Result<Response<v1::ListStepsResponse>, Status> {
        let v1::ListStepsRequest { ticket_id } = request.into_inner();
        let work = async {
            let id = ticket("ticket_id", &ticket_id)?;
            let steps = self.0.tickets.steps(id).await?;
            Ok(v1::ListStepsResponse {
                steps: steps.into_iter().map(desk::step).collect(),
            })
        };
        answered(&self.0, ApiMethod::ListSteps, work).await
    }

    async fn assign_ticket(
        &self,
        request: Request<v1::AssignTicketRequest>,
    ) -> Result<Response<v1::Ticket>, Status> {
        let v1::AssignTicketRequest {
            ticket_id,
            agent,
            by: said_by,
        } = request.into_inner();
        let work = async {
            let id = ticket("ticket_id", &ticket_id)?;
            let (agent, by) = (
                user("agent", &agent)?,
                by(convert::given(said_by).as_deref())?,
            );
            Ok(desk::ticket(self.0.tickets.assign(id, agent, by).await?))
        };
        answered(&self.0, ApiMethod::AssignTicket, work).await
    }

    async fn transfer_ticket(
        &self,
        request: Request<v1::TransferTicketRequest>,
    ) -> Result<Response<v1::Ticket>, Status> {
        let v1::TransferTicketRequest {
            ticket_id,
            to,
            by: said_by,
        } = request.into_inner();
        let work = async {
            let id = ticket("ticket_id", &ticket_id)?;
            let to = match to {
                Some(To::Agent(agent)) => transfer(Some(user("agent", &agent)?), None),
                Some(To::Skills(v1::Skills { skills })) => transfer(None, Some(queue_of(&skills)?)),
                None => transfer(None, None),
            }?;
            let by = by(convert::given(said_by).as_deref())?;
            Ok(desk::ticket(self.0.tickets.transfer(id, to, by).await?))
        };
        answered(&self.0, ApiMethod::TransferTicket, work).await
    }

    async fn close_ticket(
        &self,
        request: Request<v1::CloseTicketRequest>,
    ) -> Result<Response<v1::Ticket>, Status> {
        let v1::CloseTicketRequest {
            ticket_id,
            by: said_by,
        } = request.into_inner();
        let work = async {
            let id = ticket("ticket_id", &ticket_id)?;
            let by = by(convert::given(said_by).as_deref())?;
            Ok(desk::ticket(self.0.tickets.close(id, by).await?))
        };
        answered(&self.0, ApiMethod::CloseTicket, work).await
    }

    async fn send_to_ticket(
        &self,
        request: Request<v1::SendToTicketRequest>,
    ) -> Result<Response<v1::SendToTicketResponse>, Status> {
        let v1::SendToTicketRequest { ticket_id, message } = request.into_inner();
        let work = async {
            let id = ticket("ticket_id", &ticket_id)?;
            let message = convert::message(message.unwrap_or_default())?;
            let TicketSendOutcome {
                id,
                position,
                repeated,
            } = self.0.tickets.send_to_ticket(id, message).await?;
            Ok(v1::SendToTicketResponse {
                id,
                pos: position.map(|at| at.to_string()).unwrap_or_default(),
                repeated,
            })
        };
        answered(&self.0, ApiMethod::SendToTicket, work).await
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        let v1::ListAgentsRequest { limit, cursor } = request.into_inner();
        let work = async {
            let after = convert::given(cursor).map(|id| user("cursor", &id));
            let limit = page(convert::limit(limit))?;
            let page = self.0.tickets.agents(after.transpose()?, limit).await?;
            Ok(v1::ListAgentsResponse {
                agents: page.agents.into_iter().map(desk::agent).collect(),
                next_cursor: page.next_cursor.unwrap_or_default(),
            })
        };
        answered(&self.0, ApiMethod::ListAgents, work).await
    }

    async fn get_agent(
        &self,
        request: Request<v1::GetAgentRequest>,
    ) -> Result<Response<v1::Agent>, Status> {
        let v1::GetAgentRequest { agent } = request.into_inner();
        let work = async {
            let agent = user("agent", &agent)?;
            Ok(desk::agent(self.0.tickets.agent(agent).await?))
        };
        answered(&self.0, ApiMethod::GetAgent, work).await
    }

    async fn set_agent(
        &self,
        request: Request<v1::SetAgentRequest>,
    ) -> Result<Response<v1::Agent>, Status> {
        let v1::SetAgentRequest { agent, status, max } = request.into_inner();
        let work = async {
            let (agent, status) = (user("agent", &agent)?, availability(&status)?);
            let set = self.0.tickets.set_agent(agent, status, max).await?;
            Ok(desk::agent(set))
        };
        answered(&self.0, ApiMethod::SetAgent, work).await
    }

    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Result<Response<v1::ListQueuesResponse>, Status> {
        let v1::ListQueuesRequest {} = request.into_inner();
        let work = async {
            let queues = self.0.tickets.queues().await?;
            Ok(v1::ListQueuesResponse {
                queues: queues.into_iter().map(desk::queue).collect(),
            })
        };
        answered(&self.0, ApiMethod::ListQueues, work).await
    }
}

fn filter(request: &v1::ListTicketsRequest) -> Result<TicketFilter, Fault> {
    let named = |field, id: &str| {
        let given = Some(id).filter(|id| !id.is_empty());
        given.map(|id| user(field, id)).transpose()
    };
    Ok(TicketFilter {
        status: convert::given(request.status.clone()),
        customer: named("customer", &request.customer)?,
        agent: named("agent", &request.agent)?,
        reader: None,
        queue: convert::given(request.queue.clone())
            .map(|name| queue(&name))
            .transpose()?,
    })
}

fn queue_of(skills: &[String]) -> Result<Queue, Fault> {
    Queue::of(skills).map_err(|error| Fault::field("skills", error.to_string()))
}

fn availability(word: &str) -> Result<Availability, Fault> {
    let known = Availability::ALL
        .into_iter()
        .find(|known| known.as_str() == word);
    known.ok_or_else(|| Fault::field("status", "must be online, away or offline"))
}
