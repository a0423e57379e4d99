//! `tickets`: customer service at a terminal: tickets, the agents they are given to, and the queues in which they wait.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::log::{self, Piece};
use super::send::{Content, Priority};
use crate::Failure;
use crate::api::{Api, encode};
use crate::connection::Connection;
use crate::output::{Format, Table, cell, print, print_list};

/// What to do with tickets.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wscctl tickets open alice --skill billing --priority high --subject 'a wrong invoice'
  wscctl tickets list --status waiting
  wscctl tickets assign 0193b5a2-7c1e --agent ann --by boss
  wscctl tickets transfer 0193b5a2-7c1e --skill billing --skill lang:de
  wscctl tickets set-agent ann away
  wscctl tickets queues --output json

A ticket is `waiting`, `assigned` (an agent is asked to accept it), `active` or `closed`. `--by` is the name under which the
ticket's steps say who did it. What the desk refuses, and why, is said on standard error, with exit code 1.")]
pub struct TicketsCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists tickets: all that are open, or those of one status.
    List(ListArguments),
    /// Tells how a ticket stands, open or closed.
    Show {
        /// The ticket.
        ticket: String,
    },
    /// Lists what happened to a ticket.
    Steps {
        /// The ticket.
        ticket: String,
    },
    /// Prints what was said in a ticket, steps that everyone was told of among it.
    Messages {
        /// The ticket.
        ticket: String,
        #[command(flatten)]
        piece: Piece,
    },
    /// Opens a ticket for a customer.
    Open(OpenArguments),
    /// Has an agent work on a ticket that waits or is offered to it, at once.
    Assign {
        /// The ticket.
        ticket: String,
        /// The agent.
        #[arg(long, value_name = "USER")]
        agent: String,
        #[command(flatten)]
        by: By,
    },
    /// Hands a ticket to an agent, who is asked to accept it, or to a queue.
    Transfer {
        /// The ticket.
        ticket: String,
        #[command(flatten)]
        to: To,
        #[command(flatten)]
        by: By,
    },
    /// Closes tickets.
    Close {
        /// The tickets.
        #[arg(required = true)]
        tickets: Vec<String>,
        #[command(flatten)]
        by: By,
    },
    /// Says something to everyone in a ticket.
    Send {
        /// The ticket.
        ticket: String,
        #[command(flatten)]
        message: Content,
    },
    /// Lists the agents that are known: what they can do, how many tickets they have, and whether they take more.
    Agents {
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Tells how an agent is.
    Agent {
        /// The agent.
        agent: String,
    },
    /// Says for an agent whether it takes tickets.
    SetAgent {
        /// The agent.
        agent: String,
        /// Whether it takes tickets.
        #[arg(value_enum)]
        status: Status,
        /// The most tickets it takes; as before without it.
        #[arg(long, value_name = "N")]
        max: Option<u32>,
    },
    /// Lists the queues in which someone waits: how many, and for how long.
    Queues,
}

/// Which tickets.
#[derive(Debug, Args)]
struct ListArguments {
    /// Those of this status; without it, all that are open.
    #[arg(long, value_name = "STATUS", value_parser = ["waiting", "assigned", "active", "closed"])]
    status: Option<String>,
    /// Those of this customer.
    #[arg(long, value_name = "USER")]
    customer: Option<String>,
    /// Those that this agent has, or had when they were closed.
    #[arg(long, value_name = "USER")]
    agent: Option<String>,
    /// Those of this queue: skills with `+` between them, or `general`.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// A ticket to be opened.
#[derive(Debug, Args)]
struct OpenArguments {
    /// The customer.
    customer: String,
    /// Your own id for the ticket; opening it twice opens it once.
    #[arg(long)]
    id: Option<String>,
    /// What an agent has to be able to do; as often as needed.
    #[arg(long = "skill", value_name = "SKILL")]
    skills: Vec<String>,
    /// How urgent it is.
    #[arg(long, value_enum)]
    priority: Option<Priority>,
    /// What it is about.
    #[arg(long)]
    subject: Option<String>,
}

/// Where a ticket goes.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct To {
    /// To this agent.
    #[arg(long, value_name = "USER", conflicts_with_all = ["skills", "general"])]
    agent: Option<String>,
    /// To the queue of those who can do this; as often as needed.
    #[arg(long = "skill", value_name = "SKILL", conflicts_with = "general")]
    skills: Vec<String>,
    /// To the general queue.
    #[arg(long)]
    general: bool,
}

/// Who does it.
#[derive(Debug, Args)]
struct By {
    /// Who it is said to be done by; `system` if not given.
    #[arg(long, value_name = "USER")]
    by: Option<String>,
}

/// Whether an agent takes tickets.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    /// It takes tickets.
    Online,
    /// It keeps what it has and takes no more.
    Away,
    /// It does not work; its tickets move on.
    Offline,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Offline => "offline",
        }
    }
}

/// The columns of a list of tickets.
const TICKET: [&str; 7] = [
    "ticket_id",
    "status",
    "customer",
    "agent",
    "queue",
    "position",
    "subject",
];

pub(crate) async fn run(
    command: &TicketsCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let api = Api::new(connection)?;
    let answer = match &command.what {
        What::List(which) => return list(&api, which, format).await,
        What::Steps { ticket } => {
            let answer = api.get(&of(ticket, "/steps")).await?;
            return Ok(print(format, &answer, steps)?);
        }
        What::Messages { ticket, piece } => {
            return log::read(&of(ticket, "/log"), piece, connection, format).await;
        }
        What::Close { tickets, by } => {
            let answer = close(&api, tickets, by).await?;
            let fields = ["ticket_id", "status", "closed_at", "closed_by"];
            return Ok(print_list(format, &answer, ("tickets", &fields))?);
        }
        What::Agents { limit } => {
            let answer = api.pages(("/v1/agents", "agents"), &[], *limit).await?;
            let fields = ["agent", "status", "tickets", "max", "skills"];
            return Ok(print_list(format, &answer, ("agents", &fields))?);
        }
        What::Queues => {
            let answer = api.get("/v1/queues").await?;
            let fields = ["queue", "length", "longest_wait_ms"];
            return Ok(print_list(format, &answer, ("queues", &fields))?);
        }
        What::Show { ticket } => api.get(&of(ticket, "")).await?,
        What::Open(new) => api.post("/v1/tickets", &new.body()).await?,
        What::Assign { ticket, agent, by } => {
            let body = by.with(&[("agent", Some(json!(agent)))]);
            api.post(&of(ticket, "/assign"), &body).await?
        }
        What::Transfer { ticket, to, by } => {
            let body = by.with(&[
                ("agent", to.agent.as_ref().map(|id| json!(id))),
                to.skills(),
            ]);
            api.post(&of(ticket, "/transfer"), &body).await?
        }
        What::Send { ticket, message } => {
            api.post(&of(ticket, "/messages"), &message.body()?.into())
                .await?
        }
        What::Agent { agent } => api.get(&agent_path(agent)).await?,
        What::SetAgent { agent, status, max } => {
            let status = Some(json!(status.as_str()));
            let body = given(&[("status", status), ("max", max.map(Value::from))]);
            api.put(&agent_path(agent), Some(&body)).await?
        }
    };
    print(format, &answer, Table::fields)?;
    Ok(())
}

impl OpenArguments {
    fn body(&self) -> Value {
        given(&[
            ("customer", Some(json!(self.customer))),
            ("ticket_id", self.id.as_ref().map(|id| json!(id))),
            ("skills", Some(json!(self.skills))),
            ("priority", self.priority.map(Priority::json)),
            (
                "subject",
                self.subject.as_ref().map(|subject| json!(subject)),
            ),
        ])
    }
}

impl To {
    fn skills(&self) -> (&'static str, Option<Value>) {
        let queue = self.general || !self.skills.is_empty();
        ("skills", queue.then(|| json!(self.skills)))
    }
}

impl By {
    /// A body that says who does it.
    fn with(&self, fields: &[(&str, Option<Value>)]) -> Value {
        let by = ("by", self.by.as_ref().map(|by| json!(by)));
        given(&[fields, &[by]].concat())
    }
}

/// An object of the fields that are there.
fn given(fields: &[(&str, Option<Value>)]) -> Value {
    let given = fields
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)));
    Value::Object(given.collect::<Map<_, _>>())
}

fn of(ticket: &str, what: &str) -> String {
    format!("/v1/tickets/{}{what}", encode(ticket))
}

fn agent_path(agent: &str) -> String {
    format!("/v1/agents/{}", encode(agent))
}

async fn list(api: &Api, which: &ListArguments, format: Format) -> Result<(), Failure> {
    let filter = [
        ("status", which.status.clone()),
        ("customer", which.customer.clone()),
        ("agent", which.agent.clone()),
        ("queue", which.queue.clone()),
    ];
    let list = ("/v1/tickets", "tickets");
    let answer = api.pages(list, &filter, which.limit).await?;
    Ok(print_list(format, &answer, ("tickets", &TICKET))?)
}

async fn close(api: &Api, tickets: &[String], by: &By) -> Result<Value, Failure> {
    let mut closed = Vec::with_capacity(tickets.len());
    for ticket in tickets {
        closed.push(api.post(&of(ticket, "/close"), &by.with(&[])).await?);
    }
    Ok(json!({ "tickets": closed }))
}

/// A queue is a list of skills, and without any the general one.
fn particular(value: &Value) -> String {
    match value.as_array() {
        Some(skills) if skills.is_empty() => "general".to_owned(),
        Some(skills) if *skills == ["general"] => "+general".to_owned(),
        Some(_) | None => cell(Some(value)),
    }
}

/// When, what, and everything else that the step says.
fn steps(answer: &Value) -> Table {
    let mut table = Table::new(&["at", "step", "what"]);
    let steps = answer.get("steps").and_then(Value::as_array);
    for step in steps.into_iter().flatten().filter_map(Value::as_object) {
        let rest = step.iter().filter(|(name, value)| {
            !value.is_null() && !["at", "step", "ticket"].contains(&name.as_str())
        });
        let rest: Vec<String> = rest
            .map(|(name, value)| format!("{name}={}", particular(value)))
            .collect();
        table.row(vec![
            cell(step.get("at")),
            cell(step.get("step")),
            rest.join(" "),
        ]);
    }
    table
}
