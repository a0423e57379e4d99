//! The commands `ticket.*` and `agent.*` of clients: what they bring, who may, and what is answered. The transport knows the
//! session, nothing of tickets; the desk knows tickets, nothing of claims: here they meet.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    AGENT, AgentView, Availability, Command, DeskError, NewTicket, Party, Queue, Refusal, Reply,
    Standing, TicketFilter, TicketView, Tickets, TransferTo,
};
use crate::cluster::ClusterError;
use crate::hub::unix_millis;
use crate::log::Page;
use crate::protocol::{ErrorCode, LogId, Position, Priority, TicketId, UserId};
use crate::security::{Identity, Scopes};

/// The largest page of a list or of a history.
const PAGE_MAX: usize = 200;
/// The page of who names none.
const PAGE: usize = 50;

/// Why a command was not done: for the `error` frame.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// What was said is wrong.
    #[error("{0}")]
    Data(String),
    /// The token does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such command.
    #[error("{0}: there is no such command")]
    Unknown(String),
    /// The desk said no.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl CallError {
    /// The code of the frame.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Data(_) => ErrorCode::BadFrame,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::Unknown(_) => ErrorCode::NotSupported,
            Self::Desk(error) => error.code(),
        }
    }
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self::Desk(refusal.into())
    }
}

impl DeskError {
    /// What a client is told.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Store(ClusterError::Busy) | Self::Busy => ErrorCode::Busy,
            Self::Store(_) | Self::Ended => ErrorCode::Unavailable,
            Self::Off => ErrorCode::NotSupported,
        }
    }
}

impl Refusal {
    /// What a client is told.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NoTicket(_) => ErrorCode::NotFound,
            Self::Taken(_) => ErrorCode::Exists,
            Self::NotYours { .. } => ErrorCode::Forbidden,
            Self::TransferOff => ErrorCode::NotSupported,
            Self::DeskFull(_) => ErrorCode::Busy,
            Self::NotOffered { .. }
            | Self::NothingWaits(_)
            | Self::NoAgent(_)
            | Self::NotOnline(_)
            | Self::There { .. } => ErrorCode::Rejected,
            Self::Full { .. }
            | Self::TransferredEnough { .. }
            | Self::ManyOfCustomer { .. }
            | Self::ManyObservers { .. } => ErrorCode::LimitReached,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenData {
    ticket_id: Option<TicketId>,
    customer: Option<UserId>,
    #[serde(default)]
    skills: Queue,
    priority: Option<Priority>,
    subject: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneData {
    ticket_id: TicketId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptData {
    ticket_id: Option<TicketId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssignData {
    ticket_id: TicketId,
    agent: UserId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferData {
    ticket_id: TicketId,
    agent: Option<UserId>,
    skills: Option<Queue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListData {
    status: Option<String>,
    customer: Option<UserId>,
    agent: Option<UserId>,
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryData {
    ticket_id: TicketId,
    after: Option<Position>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentData {
    agent: Option<UserId>,
    max: Option<u32>,
}

/// Who asks, with what.
struct Caller<'a> {
    tickets: &'a Tickets,
    identity: &'a Identity,
    data: &'a str,
}

impl Tickets {
    /// Does what a client asks for. `data`: the JSON object that came with it.
    pub async fn call(
        &self,
        identity: &Identity,
        kind: &str,
        data: Option<&str>,
    ) -> Result<Value, CallError> {
        if !self.policy().enabled {
            return Err(DeskError::Off.into());
        }
        let caller = Caller {
            tickets: self,
            identity,
            data: data.unwrap_or("{}"),
        };
        match kind {
            "ticket.open" => caller.open().await,
            "ticket.accept" => caller.accept().await,
            "ticket.decline" => caller.decline().await,
            "ticket.assign" => caller.assign().await,
            "ticket.transfer" => caller.transfer().await,
            "ticket.close" => caller.close().await,
            "ticket.join" => caller.join().await,
            "ticket.leave" => caller.leave().await,
            "ticket.status" => caller.status().await,
            "ticket.list" => caller.list().await,
            "ticket.history" => caller.history().await,
            "ticket.queues" => caller.queues().await,
            "agent.online" => caller.is(Availability::Online).await,
            "agent.away" => caller.is(Availability::Away).await,
            "agent.offline" => caller.is(Availability::Offline).await,
            "agent.status" => caller.agent_status().await,
            "agent.list" => caller.agents().await,
            _ => Err(CallError::Unknown(kind.to_owned())),
        }
    }
}

impl<'a> Caller<'a> {
    fn read<T: Deserialize<'a>>(&self) -> Result<T, CallError> {
        if !self.data.starts_with('{') {
            return Err(CallError::Data("data: expected an object".to_owned()));
        }
        serde_json::from_str(self.data).map_err(|error| CallError::Data(format!("data: {error}")))
    }

    fn has(&self, scopes: Scopes) -> bool {
        self.identity.scopes.contains(scopes)
    }

    fn is_agent(&self) -> bool {
        &*self.identity.user_type == AGENT
    }

    /// Who sees everything.
    fn sees_all(&self) -> bool {
        self.has(Scopes::ADMIN) || self.has(Scopes::OBSERVE)
    }

    fn party(&self) -> Party {
        let user = self.identity.user.clone();
        if self.has(Scopes::ADMIN) {
            Party::Admin(user)
        } else {
            Party::User(user)
        }
    }

    fn forbidden(&self, what: &str) -> CallError {
        let user = &self.identity.user;
        CallError::Forbidden(format!("{user} may not {what}"))
    }

    fn need(&self, allowed: impl Fn(&Self) -> bool, what: &str) -> Result<(), CallError> {
        if allowed(self) {
            Ok(())
        } else {
            Err(self.forbidden(what))
        }
    }

    async fn ask(&self, command: Command) -> Result<Value, CallError> {
        match self.tickets.ask(command).await? {
            Reply::Ticket(ticket, position) => {
                let now = unix_millis();
                Ok(json!({ "ticket": TicketView::of(&ticket, position, now) }))
            }
            Reply::Agent(agent) => self.shown_agent(&agent.id).await,
            Reply::Done => Ok(json!({})),
        }
    }

    async fn shown_agent(&self, agent: &UserId) -> Result<Value, CallError> {
        let view: Option<AgentView> = self.tickets.agent(agent).await?;
        Ok(json!({ "agent": view }))
    }

    async fn open(&self) -> Result<Value, CallError> {
        let data: OpenData = self.read()?;
        let own = &self.identity.user;
        let customer = data.customer.unwrap_or_else(|| own.clone());
        let for_others = self.is_agent() || self.has(Scopes::ADMIN);
        if customer != *own && !for_others {
            return Err(self.forbidden("open tickets for others (data.customer)"));
        }
        if customer == *own && self.is_agent() {
            let problem = "data.customer: an agent opens tickets for customers";
            return Err(CallError::Data(problem.to_owned()));
        }
        let new = NewTicket {
            id: data.ticket_id.unwrap_or_else(TicketId::generate),
            customer,
            queue: data.skills,
            priority: self.at_most(data.priority.unwrap_or_default()),
            subject: data.subject,
        };
        new.check().map_err(wrong)?;
        self.ask(Command::Open(new)).await
    }

    /// Customers do not say by themselves that they go before others.
    fn at_most(&self, wanted: Priority) -> Priority {
        let may = self.is_agent() || self.has(Scopes::ADMIN) || self.has(Scopes::PRIORITY);
        if may {
            wanted
        } else {
            wanted.min(Priority::Normal)
        }
    }

    async fn accept(&self) -> Result<Value, CallError> {
        let AcceptData { ticket_id: ticket } = self.read()?;
        self.need(Self::is_agent, "accept tickets: it is no agent")?;
        let agent = self.identity.user.clone();
        let by = Party::User(agent.clone());
        self.ask(Command::Accept { ticket, agent, by }).await
    }

    async fn decline(&self) -> Result<Value, CallError> {
        let OneData { ticket_id: ticket } = self.read()?;
        let by = self.party();
        self.ask(Command::Decline { ticket, by }).await
    }

    async fn assign(&self) -> Result<Value, CallError> {
        let AssignData { ticket_id, agent } = self.read()?;
        self.need(|caller| caller.has(Scopes::ADMIN), "assign tickets")?;
        let (ticket, by) = (Some(ticket_id), self.party());
        self.ask(Command::Accept { ticket, agent, by }).await
    }

    async fn transfer(&self) -> Result<Value, CallError> {
        let data: TransferData = self.read()?;
        let to = transfer_to(data.agent, data.skills).map_err(CallError::Data)?;
        let (ticket, by) = (data.ticket_id, self.party());
        self.ask(Command::Transfer { ticket, by, to }).await
    }

    async fn close(&self) -> Result<Value, CallError> {
        let OneData { ticket_id: ticket } = self.read()?;
        let by = self.party();
        self.ask(Command::Close { ticket, by }).await
    }

    async fn join(&self) -> Result<Value, CallError> {
        let OneData { ticket_id: ticket } = self.read()?;
        self.need(Self::sees_all, "join tickets: scope observe or admin")?;
        let user = self.identity.user.clone();
        self.ask(Command::Join { ticket, user }).await
    }

    async fn leave(&self) -> Result<Value, CallError> {
        let OneData { ticket_id: ticket } = self.read()?;
        let user = self.identity.user.clone();
        self.ask(Command::Leave { ticket, user }).await
    }

    /// A ticket that the caller may read.
    async fn readable(&self, id: &TicketId) -> Result<Standing, CallError> {
        let standing = self.tickets.find(id).await?;
        if standing.ticket.has(&self.identity.user) || self.sees_all() {
            return Ok(standing);
        }
        let (ticket, user) = (id.clone(), self.identity.user.clone());
        Err(Refusal::NotYours { ticket, user }.into())
    }

    async fn status(&self) -> Result<Value, CallError> {
        let OneData { ticket_id } = self.read()?;
        let standing = self.readable(&ticket_id).await?;
        Ok(json!({ "ticket": TicketView::from(&standing) }))
    }

    async fn list(&self) -> Result<Value, CallError> {
        let data: ListData = self.read()?;
        let filter = TicketFilter {
            status: data.status,
            customer: data.customer,
            agent: data.agent,
            reader: (!self.sees_all()).then(|| self.identity.user.clone()),
            queue: None,
        };
        filter.check(data.cursor.as_deref()).map_err(wrong)?;
        let limit = page(data.limit)?;
        let page = self.tickets.list(filter, data.cursor, limit).await?;
        Ok(json!({ "tickets": page.tickets, "next_cursor": page.next_cursor }))
    }

    async fn history(&self) -> Result<Value, CallError> {
        let data: HistoryData = self.read()?;
        let limit = page(data.limit)?;
        let standing = self.readable(&data.ticket_id).await?;
        let steps = self.tickets.steps(&data.ticket_id).await?;
        let log = LogId::Ticket(data.ticket_id);
        let said: Page = self.tickets.read(&log, data.after, limit).await?;
        let messages = said.entries.iter().map(|entry| {
            let mut message: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
            let epoch = said.head.epoch;
            let position = Position {
                epoch,
                offset: entry.offset,
            };
            if let Some(fields) = message.as_object_mut() {
                fields.insert("pos".to_owned(), position.to_string().into());
            }
            message
        });
        let messages: Vec<Value> = messages.collect();
        Ok(json!({
            "ticket": TicketView::from(&standing),
            "steps": steps,
            "messages": messages,
            "next": said.end.to_string(),
            "more": said.more(),
        }))
    }

    async fn queues(&self) -> Result<Value, CallError> {
        self.need(
            |caller| caller.is_agent() || caller.sees_all(),
            "see the queues",
        )?;
        let queues = self.tickets.queues().await?;
        Ok(json!({ "queues": queues }))
    }

    /// The agent that a command is about: the caller, or for administrators anyone.
    fn agent(&self, named: Option<UserId>) -> Result<UserId, CallError> {
        let own = &self.identity.user;
        match named {
            Some(agent) if agent != *own => {
                self.need(|caller| caller.has(Scopes::ADMIN), "speak for other agents")?;
                Ok(agent)
            }
            Some(_) | None => {
                self.need(Self::is_agent, "do this: it is no agent")?;
                Ok(own.clone())
            }
        }
    }

    async fn is(&self, availability: Availability) -> Result<Value, CallError> {
        let data: AgentData = self.read()?;
        let command = Command::Status {
            agent: self.agent(data.agent)?,
            availability: Some(availability),
            skills: None,
            max: data.max,
        };
        self.ask(command).await
    }

    async fn agent_status(&self) -> Result<Value, CallError> {
        let data: AgentData = self.read()?;
        let agent = self.agent(data.agent)?;
        self.shown_agent(&agent).await
    }

    async fn agents(&self) -> Result<Value, CallError> {
        self.need(Self::sees_all, "list the agents")?;
        let page = self.tickets.agents(None, usize::MAX).await?;
        Ok(json!({ "agents": page.agents }))
    }
}

/// A field of `data` that is wrong.
fn wrong((field, problem): (&'static str, String)) -> CallError {
    CallError::Data(format!("data.{field}: {problem}"))
}

/// Either an agent or a queue.
fn transfer_to(agent: Option<UserId>, skills: Option<Queue>) -> Result<TransferTo, String> {
    match (agent, skills) {
        (Some(agent), None) => Ok(TransferTo::Agent(agent)),
        (None, Some(queue)) => Ok(TransferTo::Queue(queue)),
        (None, None) | (Some(_), Some(_)) => {
            Err("data: expected either agent or skills".to_owned())
        }
    }
}

fn page(limit: Option<usize>) -> Result<usize, CallError> {
    match limit.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        limit => {
            let problem = format!("data.limit: is {limit}, allowed are 1 to {PAGE_MAX}");
            Err(CallError::Data(problem))
        }
    }
}
