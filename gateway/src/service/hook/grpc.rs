//! A hook over gRPC: `wsc.v1.HookService`. The channel connects when it is first used and again when it breaks.

use hyper::Uri;
use serde_json::value::RawValue;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tower::{ServiceExt as _, service_fn};
use wsc_proto::v1::hook_service_client::HookServiceClient;
use wsc_proto::v1::{
    HookAdmission, HookAnswer, HookClient, HookConnectRequest, HookEvent, HookJoinGroupRequest,
    HookMessage, HookMessageRequest, HookTellRequest, HookVerdict,
};

use super::ask::{Ask, Asked, Reply};
use super::clients::HookClients;
use super::cloud_event;
use super::plan::{HookPlan, HookPlanError};
use super::signer::{SIGNATURE, Signer, TIMESTAMP};
use super::wire::{HookError, MAX_ANSWER};
use crate::service::{Answer, Client, Event};

/// See the module.
pub(super) struct GrpcWire {
    client: HookServiceClient<Channel>,
    signer: Signer,
    name: String,
    source: String,
}

impl GrpcWire {
    pub(super) fn new(plan: &HookPlan) -> Result<Self, HookPlanError> {
        let target: Uri = plan.url().parse().map_err(|error| plan.no_target(&error))?;
        // TLS is the connector's: tonic would want to put its own around it.
        let plain = plan.url().replacen("https://", "http://", 1);
        let endpoint = Endpoint::from_shared(plain).map_err(|error| plan.no_target(&error))?;
        let endpoint = endpoint
            .origin(target.clone())
            .connect_timeout(plan.config().timeout.get());
        let connector = HookClients::grpc(plan)?;
        let connector = service_fn(move |_: Uri| connector.clone().oneshot(target.clone()));
        let channel = endpoint.connect_with_connector_lazy(connector);
        Ok(Self {
            client: HookServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER),
            signer: Signer::new(plan.keys()),
            name: plan.name().to_owned(),
            source: plan.source().to_owned(),
        })
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<Reply, HookError> {
        let mut client = self.client.clone();
        let (id, hook) = (ask.id.clone(), ask.hook.clone());
        let who = Some(describe(&ask.client));
        if let Some(message) = &ask.message {
            let request = HookMessageRequest {
                id,
                hook,
                client: who,
                message: Some(shown(message)),
            };
            let request = self.signed("Message", &ask.id, request);
            let verdict = client
                .message(request)
                .await
                .map_err(|status| failed(&status))?;
            return read_verdict(verdict.into_inner());
        }
        let admission = if let Some(group) = ask.group.clone() {
            let request = HookJoinGroupRequest {
                id,
                hook,
                client: who,
                group,
            };
            let request = self.signed("JoinGroup", &ask.id, request);
            client.join_group(request).await
        } else {
            let request = HookConnectRequest {
                id,
                hook,
                client: who,
            };
            client
                .connect_client(self.signed("ConnectClient", &ask.id, request))
                .await
        };
        let admission = admission.map_err(|status| failed(&status))?;
        Ok(read_admission(admission.into_inner()))
    }

    pub(super) async fn tell(&self, events: &[Event]) -> Result<(), HookError> {
        let written = |event: &Event| HookEvent {
            id: event.id.clone(),
            source: self.source.clone(),
            r#type: cloud_event::kind(&event.name),
            time_ms: event.time,
            subject: event.subject.clone().unwrap_or_default(),
            data_json: event.data.to_string(),
        };
        let request = HookTellRequest {
            hook: self.name.clone(),
            events: events.iter().map(written).collect(),
        };
        let first = events.first().map_or("", |event| &event.id);
        let request = self.signed("Tell", first, request);
        let told = self.client.clone().tell(request).await;
        told.map(drop).map_err(|status| failed(&status))
    }

    /// Protobuf has no one form of bytes, so the call and its id are signed; what is in it is TLS' business.
    fn signed<T>(&self, call: &str, id: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(signed) = self.signer.sign(format!("{call}.{id}").as_bytes()) {
            let metadata = request.metadata_mut();
            for (name, value) in [(TIMESTAMP, signed.timestamp), (SIGNATURE, signed.signature)] {
                if let Ok(value) = AsciiMetadataValue::try_from(value) {
                    metadata.insert(name, value);
                }
            }
        }
        request
    }
}

fn describe(client: &Client) -> HookClient {
    HookClient {
        session: client.session.to_string(),
        user: client.user.to_string(),
        user_type: client.user_type.to_string(),
        device: client.device.as_deref().unwrap_or_default().to_owned(),
        transport: client.transport.to_owned(),
        node: client.node.to_string(),
        epoch: client.epoch.0,
        address: client.address.map(|at| at.to_string()).unwrap_or_default(),
        connected_at_ms: client.connected_at,
        attributes: client.attributes.clone().into_iter().collect(),
    }
}

fn shown(message: &Asked) -> HookMessage {
    let json = |raw: &Option<Box<RawValue>>| {
        raw.as_ref()
            .map(|raw| raw.get().to_owned())
            .unwrap_or_default()
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    HookMessage {
        r#type: message.kind.clone(),
        id: text(&message.id),
        to: text(&message.to),
        group: text(&message.group),
        ticket_id: text(&message.ticket_id),
        broadcast: message.broadcast,
        content_json: json(&message.content),
        data_json: json(&message.data),
        priority: message.priority.to_owned(),
        reply_to: text(&message.reply_to),
        require_ack: message.require_ack,
        durable: message.durable,
    }
}

fn read_admission(admission: HookAdmission) -> Reply {
    let HookAdmission {
        action,
        reason,
        attributes,
        user_type,
        scopes,
        groups,
    } = admission;
    Reply {
        action: given(action),
        reason: given(reason),
        attributes: attributes.into_iter().collect(),
        user_type: given(user_type),
        scopes,
        groups,
        ..Reply::default()
    }
}

fn read_verdict(verdict: HookVerdict) -> Result<Reply, HookError> {
    let HookVerdict {
        action,
        reason,
        content_json,
        data_json,
        answer,
    } = verdict;
    let answer = answer.map(|answer| {
        let HookAnswer {
            r#type,
            content_json,
            data_json,
        } = answer;
        Ok::<_, HookError>(Answer {
            kind: r#type,
            content: raw(content_json)?,
            data: raw(data_json)?,
        })
    });
    Ok(Reply {
        action: given(action),
        reason: given(reason),
        content: raw(content_json)?,
        data: raw(data_json)?,
        answer: answer.transpose()?,
        ..Reply::default()
    })
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn raw(json: String) -> Result<Option<Box<RawValue>>, HookError> {
    let read = given(json).map(RawValue::from_string).transpose();
    read.map_err(|error| HookError::Unreadable(error.to_string()))
}

/// A status in the words of HTTP.
fn failed(status: &Status) -> HookError {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Unknown => {
            HookError::Unreachable(status.message().to_owned())
        }
        Code::DeadlineExceeded => HookError::Deadline,
        Code::ResourceExhausted => HookError::Status(429),
        Code::Internal | Code::DataLoss | Code::Aborted => HookError::Status(500),
        Code::Unimplemented => HookError::Status(404),
        Code::Unauthenticated => HookError::Status(401),
        Code::PermissionDenied => HookError::Status(403),
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange => HookError::Status(400),
    }
}
