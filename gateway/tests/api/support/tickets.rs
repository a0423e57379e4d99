//! The calls about tickets, written down; a ticket's id says how its call fails.

use futures_util::future::BoxFuture;
use wsc_gateway::api::{ApiMessage, ServiceError, TicketCallError, TicketCalls, TicketSendOutcome};
use wsc_gateway::cluster::ClusterError;
use wsc_gateway::protocol::{Position, Priority, TicketId, UserId};
use wsc_gateway::ticket::{
    AgentPage, AgentView, Availability, ClosedBecause, DeskError, NewTicket, Offer, PassedBecause,
    Queue, QueueView, Record, Refusal, State, Step, Ticket, TicketFilter, TicketPage, TicketView,
    TransferTo, WaitingView,
};

use super::service::{Call, Recorder};

/// When every ticket of these tests was opened.
pub(crate) const OPENED: u64 = 1_800_000_000_000;

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// Every way in which the desk can say no, by the ticket's id for which it does here.
pub(crate) fn failures() -> Vec<(&'static str, TicketCallError)> {
    let ticket = || TicketId::new("t1").unwrap();
    let (agent, customer) = (|| user("ann"), user("alice"));
    let refusals = [
        ("missing", Refusal::NoTicket(ticket())),
        ("taken", Refusal::Taken(ticket())),
        (
            "not-yours",
            Refusal::NotYours {
                ticket: ticket(),
                user: agent(),
            },
        ),
        (
            "not-offered",
            Refusal::NotOffered {
                ticket: ticket(),
                agent: agent(),
            },
        ),
        ("nothing-waits", Refusal::NothingWaits(agent())),
        ("no-agent", Refusal::NoAgent(Queue::default())),
        ("not-online", Refusal::NotOnline(agent())),
        (
            "full",
            Refusal::Full {
                agent: agent(),
                tickets: 3,
            },
        ),
        ("transfer-off", Refusal::TransferOff),
        (
            "transferred-enough",
            Refusal::TransferredEnough {
                ticket: ticket(),
                times: 3,
            },
        ),
        (
            "there",
            Refusal::There {
                ticket: ticket(),
                agent: agent(),
            },
        ),
        (
            "many-of-customer",
            Refusal::ManyOfCustomer { customer, open: 20 },
        ),
        (
            "many-observers",
            Refusal::ManyObservers {
                ticket: ticket(),
                observers: 16,
            },
        ),
        ("desk-full", Refusal::DeskFull(100_000)),
    ];
    let refusals = refusals.map(|(id, refusal)| (id, DeskError::Refused(refusal).into()));
    let others = [
        ("store", DeskError::Store(ClusterError::Disconnected).into()),
        ("store-busy", DeskError::Store(ClusterError::Busy).into()),
        ("desk-busy", DeskError::Busy.into()),
        ("off", DeskError::Off.into()),
        ("ended", DeskError::Ended.into()),
        ("nobody", TicketCallError::NoAgent(user("nobody"))),
        (
            "invalid",
            TicketCallError::Service(ServiceError::Invalid {
                field: "subject",
                problem: "is too long".to_owned(),
            }),
        ),
    ];
    refusals.into_iter().chain(others).collect()
}

fn ticket(id: &TicketId, state: State) -> TicketView {
    let ticket = Ticket {
        id: id.clone(),
        customer: user("alice"),
        queue: Queue::of(["billing", "lang:de"]).unwrap(),
        priority: Priority::High,
        subject: Some("a wrong invoice".to_owned()),
        opened_at: OPENED,
        waiting_since: OPENED,
        number: 1,
        passed: [].into(),
        transfers: 1,
        observers: [user("olga")].into(),
        state,
    };
    TicketView::of(&ticket, Some(2), OPENED + 5000)
}

fn active() -> State {
    State::Active {
        agent: user("ann"),
        heard: OPENED,
    }
}

fn agent_view(id: &UserId, status: &'static str) -> AgentView {
    AgentView {
        agent: id.to_string(),
        status,
        connected: true,
        skills: vec!["billing".to_owned()],
        tickets: 2,
        max: Some(0),
        gone_since: None,
    }
}

/// One step of every kind.
fn every_step() -> Vec<Step> {
    let (queue, ann) = (|| Queue::of(["billing"]).unwrap(), || user("ann"));
    let until = OPENED + 30_000;
    vec![
        Step::Opened {
            customer: user("alice"),
            queue: queue(),
        },
        Step::Queued {
            queue: queue(),
            position: 2,
            until,
        },
        Step::Offered {
            agent: ann(),
            until,
            waited: 700,
        },
        Step::Reminded {
            agent: ann(),
            attempt: 1,
            until,
        },
        Step::Acknowledged { agent: ann() },
        Step::Accepted { agent: ann() },
        Step::PassedOn {
            agent: ann(),
            because: PassedBecause::AgentGone,
        },
        Step::Transferred {
            by: user("boss"),
            from: Some(ann()),
            agent: None,
            queue: Some(Queue::default()),
        },
        Step::Joined { user: user("olga") },
        Step::Left { user: user("olga") },
        Step::Closed {
            by: None,
            because: ClosedBecause::Idle,
        },
    ]
}

impl Recorder {
    async fn desk(&self, call: &'static str, named: &[&str]) -> Result<(), TicketCallError> {
        let names = named.iter().map(|name| (*name).to_owned()).collect();
        self.take(Call::Desk(call, names)).await?;
        let mut failures = failures().into_iter();
        let failed = failures.find(|(id, _)| named.first() == Some(id));
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    async fn stands(
        &self,
        call: &'static str,
        (ticket_id, rest): (TicketId, &[&str]),
        state: State,
    ) -> Result<TicketView, TicketCallError> {
        let named: Vec<&str> = [ticket_id.as_str()].iter().chain(rest).copied().collect();
        self.desk(call, &named).await?;
        Ok(ticket(&ticket_id, state))
    }
}

impl TicketCalls for Recorder {
    fn open(&self, new: NewTicket) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        Box::pin(async move {
            let (queue, priority) = (new.queue.to_string(), new.priority.as_str());
            let subject = new.subject.unwrap_or_default();
            let rest = [new.customer.as_str(), &queue, priority, &subject];
            self.stands("open", (new.id, &rest), State::Waiting).await
        })
    }

    fn list(
        &self,
        filter: TicketFilter,
        cursor: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<TicketPage, TicketCallError>> {
        Box::pin(async move {
            assert_eq!(filter.reader, None, "backends see all");
            let text = |id: Option<UserId>| id.map(|id| id.to_string()).unwrap_or_default();
            let queue = filter.queue.map(|queue| queue.to_string());
            let named = [
                &filter.status.unwrap_or_default(),
                &text(filter.customer),
                &text(filter.agent),
                &queue.unwrap_or_default(),
                &cursor.unwrap_or_default(),
                &limit.to_string(),
            ];
            self.desk("list", &named.map(String::as_str)).await?;
            let id = TicketId::new("t1").unwrap();
            Ok(TicketPage {
                tickets: vec![ticket(&id, active())],
                next_cursor: Some("t1".to_owned()),
            })
        })
    }

    fn get(&self, ticket: TicketId) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        let offer = Offer {
            agent: user("ann"),
            since: OPENED,
            told: OPENED,
            reminders: 0,
            acknowledged: false,
        };
        Box::pin(self.stands("get", (ticket, &[]), State::Offered(offer)))
    }

    fn steps(&self, ticket: TicketId) -> BoxFuture<'_, Result<Vec<Record>, TicketCallError>> {
        Box::pin(async move {
            self.desk("steps", &[ticket.as_str()]).await?;
            let steps = every_step().into_iter().map(|step| Record {
                ticket: ticket.clone(),
                at: OPENED,
                step,
            });
            Ok(steps.collect())
        })
    }

    fn assign(
        &self,
        ticket: TicketId,
        agent: UserId,
        by: UserId,
    ) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        Box::pin(async move {
            let rest = [agent.as_str(), by.as_str()];
            self.stands("assign", (ticket, &rest), active()).await
        })
    }

    fn transfer(
        &self,
        ticket: TicketId,
        to: TransferTo,
        by: UserId,
    ) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        Box::pin(async move {
            let to = match to {
                TransferTo::Agent(agent) => format!("agent {agent}"),
                TransferTo::Queue(queue) => format!("queue {queue}"),
            };
            let rest = [to.as_str(), by.as_str()];
            self.stands("transfer", (ticket, &rest), State::Waiting)
                .await
        })
    }

    fn close(
        &self,
        ticket: TicketId,
        by: UserId,
    ) -> BoxFuture<'_, Result<TicketView, TicketCallError>> {
        Box::pin(async move {
            let closed = State::Closed {
                by: Some(by.clone()),
                agent: Some(user("ann")),
                because: ClosedBecause::Asked,
                at: OPENED + 9000,
            };
            self.stands("close", (ticket, &[by.as_str()]), closed).await
        })
    }

    fn send_to_ticket(
        &self,
        ticket: TicketId,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<TicketSendOutcome, TicketCallError>> {
        Box::pin(async move {
            self.take(Call::TicketSend(ticket.to_string(), message.into()))
                .await?;
            Ok(TicketSendOutcome {
                id: "m1".to_owned(),
                position: Some(Position {
                    epoch: 7,
                    offset: 3,
                }),
                repeated: true,
            })
        })
    }

    fn agents(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<AgentPage, TicketCallError>> {
        Box::pin(async move {
            let after = after.map(|after| after.to_string()).unwrap_or_default();
            self.desk("agents", &[&after, &limit.to_string()]).await?;
            Ok(AgentPage {
                agents: vec![agent_view(&user("ann"), "online")],
                next_cursor: Some("ann".to_owned()),
            })
        })
    }

    fn agent(&self, agent: UserId) -> BoxFuture<'_, Result<AgentView, TicketCallError>> {
        Box::pin(async move {
            self.desk("agent", &[agent.as_str()]).await?;
            Ok(agent_view(&agent, "offline"))
        })
    }

    fn set_agent(
        &self,
        agent: UserId,
        availability: Availability,
        max: Option<u32>,
    ) -> BoxFuture<'_, Result<AgentView, TicketCallError>> {
        Box::pin(async move {
            let (word, max) = (availability.as_str(), format!("{max:?}"));
            self.desk("set_agent", &[agent.as_str(), word, &max])
                .await?;
            Ok(agent_view(&agent, word))
        })
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<WaitingView>, TicketCallError>> {
        Box::pin(async move {
            self.desk("queues", &[]).await?;
            let queue = QueueView {
                queue: Queue::default(),
                length: 4,
                waiting_since: OPENED,
            };
            Ok(vec![WaitingView::of(&queue, OPENED + 60_000)])
        })
    }
}
