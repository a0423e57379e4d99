//! The calls about tickets, done by this node.

use futures_util::future::BoxFuture;

use super::{NodeApi, check, message_id, sender};
use crate::api::{ApiMessage, ServiceError, TicketCallError, TicketCalls, TicketSendOutcome};
use crate::hub::unix_millis;
use crate::protocol::{Target, TicketId, UserId};
use crate::ticket::{
    AgentPage, AgentView, Availability, Command, NewTicket, Party, Record, Reply, Said,
    TicketFilter, TicketPage, TicketView, TransferTo, WaitingView,
};

impl NodeApi {
    /// The ticket after a command about it.
    async fn ask_desk(
        &self,
        ticket: TicketId,
        command: Command,
    ) -> Result<TicketView, TicketCallError> {
        match self.tickets.ask(command).await? {
            Reply::Ticket(ticket, position) => Ok(TicketView::of(&ticket, position, unix_millis())),
            // The step was the ticket's last.
            Reply::Agent(_) | Reply::Done => Ok((&self.tickets.find(&ticket).await?).into()),
        }
    }

    async fn known_agent(&self, agent: UserId) -> Result<AgentView, TicketCallError> {
        let known = self.tickets.agent(&agent).await?;
        known.ok_or(TicketCallError::NoAgent(agent))
    }

    async fn say_in(
        &self,
        ticket: TicketId,
        mut message: ApiMessage,
    ) -> Result<TicketSendOutcome, TicketCallError> {
        check(&message)?;
        let target = Target::Ticket(ticket.clone());
        self.possible(&target, &message)?;
        // What is not there is not counted as a message either.
        self.tickets.find(&ticket).await?;
        let durable = self.keeps(&target, &message);
        // In tickets it is the configuration that asks for acknowledgements.
        message.require_ack = durable && self.settings.load().ticket_acks.is_some();
        let id = message_id(&message);
        let json = self.encode(&message, &id, &target);
        let said = Said {
            ticket,
            by: Party::Admin(sender(&message)?),
            append: Self::append(&message, &id, json),
            durable,
        };
        let accepted = self.tickets.say(said).await?;
        Ok(TicketSendOutcome {
            id,
            position: accepted.map(|accepted| accepted.position),
            repeated: accepted.is_some_and(|accepted| accepted.repeated),
        })
    }
}

fn invalid((field, problem): (&'static str, String)) -> ServiceError {
    ServiceError::Invalid { field, problem }
}

impl TicketCalls for NodeApi {
    fn open(&self, new: NewTicket) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        Box::pin(async move {
            new.check().map_err(invalid)?;
            self.ask_desk(new.id.clone(), Command::Open(new)).await
        })
    }

    fn list(
        &self,
        filter: TicketFilter,
        cursor: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<TicketPage, TicketCallError>> {
        Box::pin(async move {
            filter.check(cursor.as_deref()).map_err(invalid)?;
            Ok(self.tickets.list(filter, cursor, limit).await?)
        })
    }

    fn get(&self, ticket: TicketId) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        Box::pin(async move { Ok((&self.tickets.find(&ticket).await?).into()) })
    }

    fn steps(&self, ticket: TicketId) -> BoxFuture<'_, Result<Vec<Record>, TicketCallError>> {
        Box::pin(async move {
            self.tickets.find(&ticket).await?;
            Ok(self.tickets.steps(&ticket).await?)
        })
    }

    fn assign(
        &self,
        ticket: TicketId,
        agent: UserId,
        by: UserId,
    ) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        let command = Command::Accept {
            ticket: Some(ticket.clone()),
            agent,
            by: Party::Admin(by),
        };
        Box::pin(self.ask_desk(ticket, command))
    }

    fn transfer(
        &self,
        ticket: TicketId,
        to: TransferTo,
        by: UserId,
    ) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        let command = Command::Transfer {
            ticket: ticket.clone(),
            by: Party::Admin(by),
            to,
        };
        Box::pin(self.ask_desk(ticket, command))
    }

    fn close(
        &self,
        ticket: TicketId,
        by: UserId,
    ) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        let command = Command::Close {
            ticket: ticket.clone(),
            by: Party::Admin(by),
        };
        Box::pin(self.ask_desk(ticket, command))
    }

    fn send_to_ticket(
        &self,
        ticket: TicketId,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<TicketSendOutcome, TicketCallError>> {
        Box::pin(self.say_in(ticket, message))
    }

    fn agents(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<AgentPage, TicketCallError>> {
        Box::pin(async move { Ok(self.tickets.agents(after, limit).await?) })
    }

    fn agent(&self, agent: UserId) -> BoxFuture<'_, Result<AgentView, TicketCallError>> {
        Box::pin(self.known_agent(agent))
    }

    fn set_agent(
        &self,
        agent: UserId,
        availability: Availability,
        max: Option<u32>,
    ) -> BoxFuture<'_, Result<AgentView, TicketCallError>> {
        Box::pin(async move {
            // A misspelt name would otherwise be an agent from now on.
            self.known_agent(agent.clone()).await?;
            let command = Command::Status {
                agent: agent.clone(),
                availability: Some(availability),
                skills: None,
                max,
            };
            self.tickets.ask(command).await?;
            self.known_agent(agent).await
        })
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<WaitingView>, TicketCallError>> {
        Box::pin(async move { Ok(self.tickets.queues().await?) })
    }
}
