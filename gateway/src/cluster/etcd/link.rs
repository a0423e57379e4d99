//! `EtcdLink`: the calls that registering takes, each under a deadline, to whichever member answers.
//!
//! Connections are made when they are used and heal by themselves. A member that fails is left for the next. A user's token
//! is asked for once and anew when it is no longer taken. What the last call met is kept for the status.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};
use wsc_proto::etcd::etcdserverpb::auth_client::AuthClient;
use wsc_proto::etcd::etcdserverpb::kv_client::KvClient;
use wsc_proto::etcd::etcdserverpb::lease_client::LeaseClient;
use wsc_proto::etcd::etcdserverpb::watch_client::WatchClient;
use wsc_proto::etcd::etcdserverpb::{
    AuthenticateRequest, LeaseGrantRequest, LeaseKeepAliveRequest, RangeRequest, RangeResponse,
    TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse, watch_request,
};

use super::EtcdFault;
use super::faults::is_of_token;
use crate::cluster::{ClusterError, EtcdParams, EtcdTls};
use crate::telemetry::EtcdCall;

/// How often a connection that is quiet is asked whether it lives; a watch has no other way to notice.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

type Token = Option<MetadataValue<Ascii>>;
type Call<'a, T> = &'a (dyn Fn(Channel, Token) -> BoxFuture<'static, Result<T, Status>> + Sync);

/// How etcd answered last.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EtcdHealth {
    /// Since when it does not, and what it said; nothing: it does.
    pub down: Option<(Instant, String)>,
}

/// See the module.
#[derive(Debug)]
pub struct EtcdLink {
    members: Vec<Result<Channel, EtcdFault>>,
    /// Which member is spoken to.
    at: AtomicUsize,
    params: EtcdParams,
    /// What every key of this cluster begins with.
    base: String,
    token: ArcSwapOption<MetadataValue<Ascii>>,
    health: watch::Sender<EtcdHealth>,
}

impl EtcdLink {
    /// To these members, for this cluster.
    pub fn new(params: &EtcdParams, cluster: &str) -> Arc<Self> {
        let members = params.endpoints.iter().map(|address| {
            let (host, address) = (&address.host, address.to_string());
            channel(params, host, &address)
                .map_err(|error| EtcdFault::Misconfigured(error.to_string()))
        });
        Arc::new(Self {
            members: members.collect(),
            at: AtomicUsize::new(0),
            params: params.clone(),
            base: format!("{}{cluster}/", params.key_prefix),
            token: ArcSwapOption::empty(),
            health: watch::Sender::default(),
        })
    }

    /// How etcd answered last.
    pub fn health(&self) -> EtcdHealth {
        self.health.borrow().clone()
    }

    /// A key of this cluster.
    pub(super) fn key(&self, name: &str) -> Vec<u8> {
        format!("{}{name}", self.base).into_bytes()
    }

    pub(super) async fn range(
        &self,
        key: Vec<u8>,
        end: Vec<u8>,
    ) -> Result<RangeResponse, ClusterError> {
        let request = RangeRequest {
            key,
            range_end: end,
        };
        let call = move |channel, token| -> BoxFuture<'static, _> {
            let request = with_token(request.clone(), token);
            Box::pin(async move {
                let answer = KvClient::new(channel).range(request).await?;
                Ok(answer.into_inner())
            })
        };
        self.ask(EtcdCall::Read, &call).await
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, ClusterError> {
        let call = move |channel, token| -> BoxFuture<'static, _> {
            let request = with_token(request.clone(), token);
            Box::pin(async move {
                let answer = KvClient::new(channel).txn(request).await?;
                Ok(answer.into_inner())
            })
        };
        self.ask(EtcdCall::Write, &call).await
    }

    /// A lease of at least this life. etcd counts in seconds and has a least of its own.
    pub(super) async fn grant(&self, life: Duration) -> Result<i64, ClusterError> {
        let seconds = life.as_secs() + u64::from(life.subsec_nanos() > 0);
        let request = LeaseGrantRequest {
            ttl: i64::try_from(seconds.max(1)).unwrap_or(i64::MAX),
            id: 0,
        };
        let call = move |channel, token| -> BoxFuture<'static, _> {
            let request = with_token(request, token);
            Box::pin(async move {
                let answer = LeaseClient::new(channel).lease_grant(request).await?;
                Ok(answer.into_inner().id)
            })
        };
        self.ask(EtcdCall::Grant, &call).await
    }

    /// Whether the lease still lived; it has its whole life before it then.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<bool, ClusterError> {
        let call = move |channel, token| -> BoxFuture<'static, _> {
            // A call that is a stream on both sides; one question and one answer are all that is wanted.
            let question = stream::once(std::future::ready(LeaseKeepAliveRequest { id }));
            let request = with_token(question, token);
            Box::pin(async move {
                let mut client = LeaseClient::new(channel);
                let mut answers = client.lease_keep_alive(request).await?.into_inner();
                match answers.message().await? {
                    Some(answer) => Ok(answer.ttl > 0),
                    None => Err(Status::unavailable("the stream ended without an answer")),
                }
            })
        };
        self.ask(EtcdCall::Renew, &call).await
    }

    /// Every change under the keys from `key` to `end` from now on. The first answer says that watching has begun.
    pub(super) async fn watch(
        &self,
        key: Vec<u8>,
        end: Vec<u8>,
    ) -> Result<Streaming<WatchResponse>, ClusterError> {
        let create = WatchCreateRequest {
            key,
            range_end: end,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let call = move |channel, token| -> BoxFuture<'static, _> {
            let first = WatchRequest {
                request_union: Some(watch_request::RequestUnion::CreateRequest(create.clone())),
            };
            // The stream of questions must stay open as long as answers are wanted.
            let questions = stream::once(std::future::ready(first)).chain(stream::pending());
            let request = with_token(questions, token);
            Box::pin(async move {
                let answer = WatchClient::new(channel).watch(request).await?;
                Ok(answer.into_inner())
            })
        };
        self.ask(EtcdCall::Watch, &call).await
    }

    /// Asks the member at hand, and the next where that one cannot be spoken to.
    async fn ask<T>(&self, what: EtcdCall, call: Call<'_, T>) -> Result<T, ClusterError> {
        let began = Instant::now();
        let mut outcome = Err(EtcdFault::Unreachable(
            "no endpoint is configured".to_owned(),
        ));
        for _ in 0..self.members.len() {
            outcome = self.ask_member(call).await;
            match &outcome {
                Err(fault) if fault.is_of_member() => self.at.fetch_add(1, Relaxed),
                Ok(_) | Err(_) => break,
            };
            if matches!(outcome, Err(EtcdFault::Deadline(_))) {
                // Whoever asks has waited long enough; the next time it is another member's turn.
                break;
            }
        }
        self.params.times.etcd(what, began.elapsed());
        self.note(outcome.as_ref().err());
        let operation = described(what);
        outcome.map_err(|source| ClusterError::Registry { operation, source })
    }

    async fn ask_member<T>(&self, call: Call<'_, T>) -> Result<T, EtcdFault> {
        let at = self.at.load(Relaxed) % self.members.len().max(1);
        let channel = self.members.get(at).cloned().unwrap_or_else(|| {
            Err(EtcdFault::Unreachable(
                "no endpoint is configured".to_owned(),
            ))
        })?;
        let deadline = self.params.deadline;
        timeout(deadline, self.ask_as_user(channel, call))
            .await
            .unwrap_or_else(|_| {
                let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
                Err(EtcdFault::Deadline(millis))
            })
    }

    async fn ask_as_user<T>(&self, channel: Channel, call: Call<'_, T>) -> Result<T, EtcdFault> {
        let known = self.token.load_full();
        let is_known = known.is_some();
        let token = match known {
            Some(token) => Some(token.as_ref().clone()),
            None => self.authenticate(channel.clone()).await?,
        };
        match call(channel.clone(), token).await {
            // A token lives for minutes, and ends with a change of users and with the member that gave it.
            Err(status) if is_known && is_of_token(&status) => {
                self.token.store(None);
                let token = self.authenticate(channel.clone()).await?;
                let answer = call(channel, token).await;
                answer.map_err(|status| EtcdFault::from(&status))
            }
            answer => answer.map_err(|status| EtcdFault::from(&status)),
        }
    }

    /// A token of the user; nothing where there is none.
    async fn authenticate(&self, channel: Channel) -> Result<Token, EtcdFault> {
        let Some((name, password)) = &self.params.user else {
            return Ok(None);
        };
        let request = AuthenticateRequest {
            name: name.clone(),
            password: password.reveal().to_owned(),
        };
        let answer = match AuthClient::new(channel).authenticate(request).await {
            Ok(answer) => answer.into_inner(),
            // Nobody has to say who they are: what is asked for will be answered without.
            Err(status) if is_without_users(&status) => return Ok(None),
            Err(status) => return Err(EtcdFault::from(&status)),
        };
        let mut token: MetadataValue<Ascii> =
            answer.token.parse().map_err(|_| EtcdFault::Unreadable)?;
        token.set_sensitive(true);
        self.token.store(Some(Arc::new(token.clone())));
        Ok(Some(token))
    }

    fn note(&self, fault: Option<&EtcdFault>) {
        self.health.send_if_modified(|health| {
            let since = health.down.as_ref().map(|(since, _)| *since);
            match (fault, since) {
                (None, None) => false,
                (None, Some(_)) => {
                    tracing::info!("etcd answers again");
                    health.down = None;
                    true
                }
                (Some(fault), since) => {
                    if since.is_none() {
                        tracing::warn!(%fault, "etcd does not serve");
                    }
                    health.down = Some((since.unwrap_or_else(Instant::now), fault.to_string()));
                    true
                }
            }
        });
    }
}

const fn described(call: EtcdCall) -> &'static str {
    match call {
        EtcdCall::Read => "read",
        EtcdCall::Write => "write",
        EtcdCall::Grant => "grant a lease",
        EtcdCall::Renew => "renew a lease",
        EtcdCall::Watch => "watch",
    }
}

fn is_without_users(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition && status.message().contains("not enabled")
}

fn with_token<T>(message: T, token: Token) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("token", token);
    }
    request
}

fn channel(
    params: &EtcdParams,
    host: &str,
    address: &str,
) -> Result<Channel, tonic::transport::Error> {
    let scheme = if params.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
        .connect_timeout(params.deadline)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(params.deadline)
        .keep_alive_while_idle(true);
    if let Some(tls) = &params.tls {
        endpoint = endpoint.tls_config(tls_config(tls, host))?;
    }
    Ok(endpoint.connect_lazy())
}

fn tls_config(tls: &EtcdTls, host: &str) -> ClientTlsConfig {
    let EtcdTls {
        ca,
        identity,
        server_name,
    } = tls;
    let name = server_name.as_deref().unwrap_or(host);
    let mut config = ClientTlsConfig::new().domain_name(name);
    config = match ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(ca.as_bytes())),
        None => config.with_native_roots(),
    };
    match identity {
        Some((cert, key)) => config.identity(Identity::from_pem(cert.as_bytes(), key.reveal())),
        None => config,
    }
}
