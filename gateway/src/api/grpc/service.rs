//! The calls: a request is checked and converted, the service does the work, its answer is converted back.

use tonic::{Request, Response, Status};
use wsc_proto::v1::kick_request::Target;
use wsc_proto::v1::revoke_request::Target as RevokeOf;
use wsc_proto::v1::wsc_service_server::WscService;
use wsc_proto::v1::{
    BroadcastRequest, BroadcastResponse, GetStatsRequest, GetStatsResponse, KickRequest,
    KickResponse, ListOnlineRequest, ListOnlineResponse, ListRecordsRequest, ListRecordsResponse,
    ListSessionsRequest, ListSessionsResponse, ReadLogRequest, ReadLogResponse, RevokeRequest,
    RevokeResponse, SendRequest, SendResponse,
};

use super::super::calls::{
    ApiContext, log_query, page, reason, recipients, revoke_target, sent_query, user,
};
use super::super::fault::Fault;
use super::super::service::{KickTarget, RevokeOutcome};
use super::{answered, convert};
use crate::protocol::{LogId, SessionId};
use crate::telemetry::ApiMethod;

/// The implementation of `wsc.v1.WscService`.
pub(super) struct GrpcApi(ApiContext);

impl GrpcApi {
    pub(super) fn new(context: ApiContext) -> Self {
        Self(context)
    }
}

#[tonic::async_trait]
impl WscService for GrpcApi {
    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        let SendRequest { to, message } = request.into_inner();
        let work = async {
            let to = recipients(&to)?;
            let message = convert::message(message.unwrap_or_default())?;
            Ok(convert::sent(self.0.service.send(to, message).await?))
        };
        answered(&self.0, ApiMethod::Send, work).await
    }

    async fn broadcast(
        &self,
        request: Request<BroadcastRequest>,
    ) -> Result<Response<BroadcastResponse>, Status> {
        let BroadcastRequest { message } = request.into_inner();
        let work = async {
            let message = convert::message(message.unwrap_or_default())?;
            Ok(convert::broadcast(self.0.service.broadcast(message).await?))
        };
        answered(&self.0, ApiMethod::Broadcast, work).await
    }

    async fn list_online(
        &self,
        request: Request<ListOnlineRequest>,
    ) -> Result<Response<ListOnlineResponse>, Status> {
        let ListOnlineRequest { limit, cursor } = request.into_inner();
        let work = async {
            let asked = convert::limit(limit);
            let cursor = convert::given(cursor);
            Ok(convert::online(
                self.0.service.online(cursor, page(asked)?).await?,
            ))
        };
        answered(&self.0, ApiMethod::ListOnline, work).await
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let ListSessionsRequest { user_id } = request.into_inner();
        let work = async {
            let user = user("user_id", &user_id)?;
            let sessions = self.0.service.sessions(&user).await?;
            Ok(ListSessionsResponse {
                sessions: sessions.into_iter().map(convert::session).collect(),
            })
        };
        answered(&self.0, ApiMethod::ListSessions, work).await
    }

    async fn kick(&self, request: Request<KickRequest>) -> Result<Response<KickResponse>, Status> {
        let KickRequest {
            target,
            reason: told,
        } = request.into_inner();
        let work = async {
            let outcome = self
                .0
                .service
                .kick(kick_target(target)?, reason(Some(&told)))
                .await?;
            Ok(convert::kicked(outcome))
        };
        answered(&self.0, ApiMethod::Kick, work).await
    }

    async fn revoke(
        &self,
        request: Request<RevokeRequest>,
    ) -> Result<Response<RevokeResponse>, Status> {
        let RevokeRequest { target, before } = request.into_inner();
        let work = async {
            let (token, user) = match &target {
                Some(RevokeOf::TokenId(id)) => (Some(id.as_str()), None),
                Some(RevokeOf::UserId(id)) => (None, Some(id.as_str())),
                None => (None, None),
            };
            let before = Some(before).filter(|before| *before != 0);
            let target = revoke_target(token, user, before)?;
            let RevokeOutcome { before, until } = self.0.service.revoke(target).await?;
            Ok(RevokeResponse {
                before: before.unwrap_or_default(),
                until,
            })
        };
        answered(&self.0, ApiMethod::Revoke, work).await
    }

    async fn read_log(
        &self,
        request: Request<ReadLogRequest>,
    ) -> Result<Response<ReadLogResponse>, Status> {
        let ReadLogRequest {
            log,
            limit,
            after,
            since,
        } = request.into_inner();
        let work = async {
            let log = log.parse::<LogId>();
            let log = log.map_err(|error| Fault::field("log", error.to_string()))?;
            let limit = convert::limit(limit);
            let after = convert::given(after);
            let since = Some(since).filter(|since| *since != 0);
            let query = log_query(limit, after.as_deref(), since)?;
            Ok(convert::log(self.0.service.log(&log, query).await?))
        };
        answered(&self.0, ApiMethod::ReadLog, work).await
    }

    async fn list_records(
        &self,
        request: Request<ListRecordsRequest>,
    ) -> Result<Response<ListRecordsResponse>, Status> {
        let ListRecordsRequest {
            sender,
            since,
            limit,
            cursor,
        } = request.into_inner();
        let work = async {
            let sender = user("sender", &sender)?;
            let limit = convert::limit(limit);
            let cursor = convert::given(cursor);
            let query = sent_query(limit, since, cursor.as_deref())?;
            Ok(convert::records(self.0.service.sent(&sender, query).await?))
        };
        answered(&self.0, ApiMethod::ListRecords, work).await
    }

    async fn get_stats(
        &self,
        request: Request<GetStatsRequest>,
    ) -> Result<Response<GetStatsResponse>, Status> {
        let GetStatsRequest {} = request.into_inner();
        let work = async { Ok(convert::stats(self.0.service.stats().await)) };
        answered(&self.0, ApiMethod::Stats, work).await
    }
}

fn kick_target(target: Option<Target>) -> Result<KickTarget, Fault> {
    match target {
        Some(Target::UserId(id)) => Ok(KickTarget::User(user("user_id", &id)?)),
        Some(Target::SessionId(id)) => SessionId::parse(&id)
            .map(KickTarget::Session)
            .ok_or_else(|| Fault::field("session_id", "is not a session id")),
        None => Err(Fault::field("target", "name a user_id or a session_id")),
    }
}
