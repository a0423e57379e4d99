//! A [`MessageService`] that writes down what it is asked and fails as told. Shared by the tests of both skins.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wsc_gateway::admission::{Admission, Rules};
use wsc_gateway::api::{
    ApiContext, ApiMessage, BodyLimit, BroadcastOutcome, GroupCallError, GroupCalls,
    GroupSendOutcome, KickOutcome, KickTarget, LogPage, LogQuery, MessageService, OnlineUsers,
    Recipient, RevokeOutcome, RevokeTarget, SendOutcome, ServiceError, Stats, TicketCalls,
};
use wsc_gateway::cluster::{ClusterError, ClusterStats, NodeInfo, SessionRecord};
use wsc_gateway::group::{Generation, Group, GroupError, Joined, Life, Member, MembersPage};
use wsc_gateway::hub::StatsSnapshot;
use wsc_gateway::log::{Record, SentPage, SentQuery, SentRecord};
use wsc_gateway::protocol::{Epoch, GroupId, LogId, NodeId, Priority, SessionId, UserId};
use wsc_gateway::security::{ApiKey, ApiKeyGuard};
use wsc_gateway::telemetry::{BuildInfo, Instruments, Metrics, MetricsSource, NodeState};

/// The key that the tests' gateway has.
pub(crate) const KEY: &str = "0123456789abcdef-test-key";
/// The largest body it takes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// How the service answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    #[default]
    Works,
    Invalid,
    Disconnected,
    Busy,
    Panics,
    NeverAnswers,
}

/// What the service was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Send {
        to: Vec<String>,
        message: Message,
    },
    Broadcast {
        message: Message,
    },
    Online {
        cursor: Option<String>,
        limit: usize,
    },
    Sessions {
        user: String,
    },
    Kick {
        target: String,
        reason: String,
    },
    Revoke {
        target: RevokeTarget,
    },
    Log {
        log: String,
        query: LogQuery,
    },
    Sent {
        sender: String,
        query: SentQuery,
    },
    Stats,
    /// What and whom a call about groups named.
    Group(&'static str, Vec<String>),
    GroupSend(String, Message),
    /// What and whom a call about tickets named.
    Desk(&'static str, Vec<String>),
    TicketSend(String, Message),
}

/// An [`ApiMessage`] that can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    pub(crate) content: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) priority: Priority,
    pub(crate) reply_to: Option<String>,
    pub(crate) from: Option<String>,
}

impl From<ApiMessage> for Message {
    fn from(message: ApiMessage) -> Self {
        Self {
            kind: message.kind,
            id: message.id,
            content: message.content.map(|raw| raw.get().to_owned()),
            data: message.data.map(|raw| raw.get().to_owned()),
            priority: message.priority,
            reply_to: message.reply_to,
            from: message.from,
        }
    }
}

/// Holds one call until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    entered: Arc<Notify>,
    opened: Arc<Notify>,
}

impl Gate {
    pub(crate) async fn entered(&self) {
        self.entered.notified().await;
    }

    pub(crate) fn open(&self) {
        self.opened.notify_one();
    }
}

#[derive(Default)]
pub(crate) struct Recorder {
    calls: Mutex<Vec<Call>>,
    behaviour: Mutex<Behaviour>,
    gate: Mutex<Option<Gate>>,
}

impl Recorder {
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    pub(crate) fn only_call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].clone()
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    /// The next call waits until the gate is opened.
    pub(crate) fn hold(&self) -> Gate {
        self.gate.lock().insert(Gate::default()).clone()
    }

    pub(super) async fn take(&self, call: Call) -> Result<(), ServiceError> {
        self.calls.lock().push(call);
        let gate = self.gate.lock().take();
        if let Some(gate) = gate {
            gate.entered.notify_one();
            gate.opened.notified().await;
        }
        let behaviour = *self.behaviour.lock();
        let cluster = |source| ServiceError::Cluster {
            local_sessions: 1,
            source,
        };
        match behaviour {
            Behaviour::Works => Ok(()),
            Behaviour::Invalid => Err(ServiceError::Invalid {
                field: "type",
                problem: "is too long".to_owned(),
            }),
            Behaviour::Disconnected => Err(cluster(ClusterError::Disconnected)),
            Behaviour::Busy => Err(cluster(ClusterError::Busy)),
            Behaviour::Panics => panic!("secret: told to panic"),
            Behaviour::NeverAnswers => std::future::pending().await,
        }
    }
}

impl MessageService for Recorder {
    fn send(
        &self,
        to: Vec<UserId>,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<SendOutcome, ServiceError>> {
        Box::pin(async move {
            let id = message.id.clone().unwrap_or_else(|| "made".to_owned());
            let names = to.iter().map(ToString::to_string).collect();
            self.take(Call::Send {
                to: names,
                message: message.into(),
            })
            .await?;
            let recipients = to.into_iter().map(|user| Recipient {
                user,
                local_sessions: 2,
                nodes: 1,
                position: None,
                repeated: false,
            });
            Ok(SendOutcome {
                id,
                recipients: recipients.collect(),
            })
        })
    }

    fn broadcast(
        &self,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<BroadcastOutcome, ServiceError>> {
        Box::pin(async move {
            let id = message.id.clone().unwrap_or_else(|| "made".to_owned());
            self.take(Call::Broadcast {
                message: message.into(),
            })
            .await?;
            Ok(BroadcastOutcome {
                id,
                local_sessions: 5,
                nodes: 2,
            })
        })
    }

    fn online(
        &self,
        cursor: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<OnlineUsers, ServiceError>> {
        Box::pin(async move {
            self.take(Call::Online { cursor, limit }).await?;
            let users = ["bob", "carol"].map(|id| UserId::new(id).unwrap()).to_vec();
            Ok(OnlineUsers {
                users,
                next_cursor: Some("carol".to_owned()),
                total: 7,
            })
        })
    }

    fn sessions<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Vec<SessionRecord>, ServiceError>> {
        Box::pin(async move {
            self.take(Call::Sessions {
                user: user.to_string(),
            })
            .await?;
            Ok(vec![SessionRecord {
                session: SessionId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
                user: user.clone(),
                user_type: "customer".into(),
                node: NodeId::new("chat-0"),
                epoch: Epoch(3),
                transport: "ws".into(),
                device: None,
                connected_at: 1_800_000_000_000,
            }])
        })
    }

    fn revoke(&self, target: RevokeTarget) -> BoxFuture<'_, Result<RevokeOutcome, ServiceError>> {
        Box::pin(async move {
            let before = match &target {
                RevokeTarget::User(_, before) => Some(before.unwrap_or(7)),
                RevokeTarget::Token(_) => None,
            };
            self.take(Call::Revoke { target }).await?;
            Ok(RevokeOutcome { before, until: 99 })
        })
    }

    fn kick(
        &self,
        target: KickTarget,
        reason: String,
    ) -> BoxFuture<'_, Result<KickOutcome, ServiceError>> {
        Box::pin(async move {
            let target = match target {
                KickTarget::User(user) => format!("user {user}"),
                KickTarget::Session(session) => format!("session {session}"),
            };
            self.take(Call::Kick { target, reason }).await?;
            Ok(KickOutcome {
                local_sessions: 1,
                nodes: 2,
            })
        })
    }

    fn log<'a>(
        &'a self,
        log: &'a LogId,
        query: LogQuery,
    ) -> BoxFuture<'a, Result<LogPage, ServiceError>> {
        Box::pin(async move {
            let log = log.to_string();
            self.take(Call::Log { log, query }).await?;
            Ok(LogPage::default())
        })
    }

    fn sent<'a>(
        &'a self,
        sender: &'a UserId,
        query: SentQuery,
    ) -> BoxFuture<'a, Result<SentPage, ServiceError>> {
        Box::pin(async move {
            let sender = sender.to_string();
            self.take(Call::Sent { sender, query }).await?;
            let record = SentRecord {
                log: LogId::Broadcast,
                id: "m1".to_owned(),
                record: Record {
                    sender: "shop".to_owned(),
                    accepted_at: 5,
                    ..Record::default()
                },
            };
            Ok(SentPage {
                records: vec![record],
                next: query.after,
            })
        })
    }

    fn stats(&self) -> BoxFuture<'_, Stats> {
        Box::pin(async move {
            self.take(Call::Stats).await.unwrap();
            let address = "10.0.0.2".to_owned();
            Stats {
                node: "chat-0".to_owned(),
                connections: 12,
                connections_by_user_type: [("customer".to_owned(), 12)].into(),
                nodes: vec![NodeInfo {
                    synced: true,
                    beat: 1,
                    leaving: false,
                    door: None,
                    node: NodeId::new("chat-1"),
                    epoch: Epoch(3),
                    address,
                    connections: 4,
                }],
                ..Stats::default()
            }
        })
    }
}

/// When every group of these tests was made and every membership began, in microseconds.
const BEGAN: Generation = Generation(1_800_000_000_000_000);

impl Recorder {
    /// Group `missing` does not exist, `full` takes nobody.
    async fn group(
        &self,
        call: &'static str,
        group: &GroupId,
        rest: &[&str],
    ) -> Result<(), GroupCallError> {
        let named = std::iter::once(group.as_str()).chain(rest.iter().copied());
        let named = named.map(str::to_owned).collect();
        self.take(Call::Group(call, named)).await?;
        match group.as_str() {
            "missing" => Err(GroupError::Missing(group.clone()).into()),
            "taken" => Err(GroupError::Exists(group.clone()).into()),
            "off" => Err(GroupCallError::Off),
            "full" => Err(GroupError::Full {
                group: group.clone(),
                limit: 3,
            }
            .into()),
            _ => Ok(()),
        }
    }
}

fn known(id: GroupId, owner: Option<UserId>) -> Group {
    Group {
        id,
        owner,
        created_at: BEGAN.millis(),
        members: 2,
        life: Life::Lasting,
    }
}

impl GroupCalls for Recorder {
    fn create(
        &self,
        group: GroupId,
        owner: Option<UserId>,
    ) -> BoxFuture<'_, Result<Group, GroupCallError>> {
        Box::pin(async move {
            let rest: Vec<&str> = owner.iter().map(UserId::as_str).collect();
            self.group("create", &group, &rest).await?;
            Ok(known(group, owner))
        })
    }

    fn disband(&self, group: GroupId) -> BoxFuture<'_, Result<(), GroupCallError>> {
        Box::pin(async move { self.group("disband", &group, &[]).await })
    }

    fn get(&self, group: GroupId) -> BoxFuture<'_, Result<Group, GroupCallError>> {
        Box::pin(async move {
            self.group("get", &group, &[]).await?;
            Ok(known(group, None))
        })
    }

    fn members(
        &self,
        group: GroupId,
        after: Generation,
        limit: usize,
    ) -> BoxFuture<'_, Result<MembersPage, GroupCallError>> {
        Box::pin(async move {
            let (after, limit) = (after.to_string(), limit.to_string());
            self.group("members", &group, &[&after, &limit]).await?;
            let member = Member {
                user: UserId::new("bob").unwrap(),
                generation: BEGAN,
            };
            Ok(MembersPage {
                members: vec![member],
                more: true,
            })
        })
    }

    fn add(&self, group: GroupId, user: UserId) -> BoxFuture<'_, Result<Joined, GroupCallError>> {
        Box::pin(async move {
            self.group("add", &group, &[user.as_str()]).await?;
            Ok(Joined {
                generation: BEGAN,
                is_new: true,
                founded: false,
            })
        })
    }

    fn remove(&self, group: GroupId, user: UserId) -> BoxFuture<'_, Result<(), GroupCallError>> {
        Box::pin(async move { self.group("remove", &group, &[user.as_str()]).await })
    }

    fn of_user(
        &self,
        user: UserId,
    ) -> BoxFuture<'_, Result<Vec<(GroupId, Generation)>, GroupCallError>> {
        Box::pin(async move {
            self.take(Call::Group("of_user", vec![user.to_string()]))
                .await?;
            Ok(vec![(GroupId::new("room").unwrap(), BEGAN)])
        })
    }

    fn send_to_group(
        &self,
        group: GroupId,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<GroupSendOutcome, GroupCallError>> {
        Box::pin(async move {
            self.take(Call::GroupSend(group.to_string(), message.into()))
                .await?;
            Ok(GroupSendOutcome {
                id: "m1".to_owned(),
                local_sessions: 2,
                nodes: 1,
                position: None,
                repeated: false,
            })
        })
    }
}

/// What a skin is given in these tests.
pub(crate) fn context(
    recorder: &Arc<Recorder>,
    key: Option<&str>,
    deadline: Duration,
) -> ApiContext {
    let key = key.map(|key| ApiKey::new(key.as_bytes()).unwrap());
    ApiContext {
        service: Arc::clone(recorder) as Arc<dyn MessageService>,
        groups: Arc::clone(recorder) as Arc<dyn GroupCalls>,
        tickets: Arc::clone(recorder) as Arc<dyn TicketCalls>,
        guard: ApiKeyGuard::new(key),
        admission: Admission::new(Rules::default(), Instruments::default()),
        instruments: Instruments::default(),
        deadline,
        max_body: BodyLimit::new(MAX_BODY),
    }
}

/// A source of metrics without counts, to see the instruments alone.
struct Nothing;

impl MetricsSource for Nothing {
    fn state(&self) -> NodeState {
        NodeState::default()
    }

    fn hub(&self) -> StatsSnapshot {
        StatsSnapshot::default()
    }

    fn cluster(&self) -> Option<&ClusterStats> {
        None
    }
}

/// What `/metrics` would say.
pub(crate) fn rendered(instruments: &Instruments) -> String {
    Metrics::new(BuildInfo::default(), instruments, Arc::new(Nothing))
        .render()
        .unwrap()
}
