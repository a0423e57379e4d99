//! Between the generated messages and the service's types. Pure; counts that do not fit are the largest that do.

use serde_json::value::RawValue;
use wsc_proto::v1;

use super::super::calls::object;
use super::super::fault::Fault;
use super::super::service::{
    ApiMessage, BroadcastOutcome, KickOutcome, LogPage, LoggedMessage, OnlineUsers, Recipient,
    SendOutcome, Stats,
};
use crate::cluster::{NodeInfo, SessionRecord};
use crate::log::{Record, SentPage, SentRecord};
use crate::protocol::Priority;

pub(super) fn message(body: v1::MessageBody) -> Result<ApiMessage, Fault> {
    let v1::MessageBody {
        id,
        r#type,
        content_json,
        data_json,
        priority,
        reply_to,
        from,
        durable,
        require_ack,
    } = body;
    let data = json("message.data_json", data_json)?;
    Ok(ApiMessage {
        kind: r#type,
        id: given(id),
        content: json("message.content_json", content_json)?,
        data: object("message.data_json", data)?,
        priority: self::priority("message.priority", &priority)?,
        reply_to: given(reply_to),
        from: given(from),
        durable,
        require_ack,
    })
}

/// proto3 cannot tell an empty text from an absent one.
pub(super) fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Nor can it tell 0 from an absent number.
pub(super) fn limit(limit: u32) -> Option<usize> {
    usize::try_from(limit).ok().filter(|limit| *limit != 0)
}

fn json(field: &str, text: String) -> Result<Option<Box<RawValue>>, Fault> {
    let Some(text) = given(text) else {
        return Ok(None);
    };
    let value = RawValue::from_string(text.trim().to_owned());
    value
        .map(Some)
        .map_err(|error| Fault::field(field, format!("is not JSON: {error}")))
}

pub(super) fn priority(field: &str, word: &str) -> Result<Priority, Fault> {
    let all = [
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ];
    if word.is_empty() {
        return Ok(Priority::default());
    }
    let known = all.into_iter().find(|priority| priority.as_str() == word);
    known.ok_or_else(|| Fault::field(field, "must be low, normal, high or critical"))
}

pub(super) fn sent(SendOutcome { id, recipients }: SendOutcome) -> v1::SendResponse {
    let recipient = |Recipient {
                         user,
                         local_sessions,
                         nodes,
                         position,
                         repeated,
                     }: Recipient| v1::Recipient {
        user_id: user.to_string(),
        local_sessions: count(local_sessions),
        nodes: count(nodes),
        pos: position.map(|at| at.to_string()).unwrap_or_default(),
        repeated,
    };
    v1::SendResponse {
        id,
        recipients: recipients.into_iter().map(recipient).collect(),
    }
}

pub(super) fn log(page: LogPage) -> v1::ReadLogResponse {
    let LogPage {
        messages,
        next,
        more,
        gap,
    } = page;
    let logged = |logged: LoggedMessage| v1::LoggedMessage {
        pos: logged.position.to_string(),
        id: logged.id,
        at: logged.at,
        message_json: logged.json,
        record: logged.record.map(record),
    };
    v1::ReadLogResponse {
        messages: messages.into_iter().map(logged).collect(),
        next: next.to_string(),
        more,
        gap: gap.map(|gap| gap.as_str().to_owned()).unwrap_or_default(),
    }
}

fn record(record: Record) -> v1::MessageRecord {
    v1::MessageRecord {
        sender: record.sender,
        accepted_at: record.accepted_at,
        delivered_at: record.delivered_at.unwrap_or_default(),
        read_at: record.read_at.unwrap_or_default(),
        expired_at: record.expired_at.unwrap_or_default(),
    }
}

pub(super) fn records(SentPage { records, next }: SentPage) -> v1::ListRecordsResponse {
    let sent = |SentRecord {
                    log,
                    id,
                    record: of,
                }: SentRecord| v1::SentRecord {
        log: log.to_string(),
        id,
        pos: of.position.to_string(),
        record: Some(record(of)),
    };
    v1::ListRecordsResponse {
        records: records.into_iter().map(sent).collect(),
        next_cursor: next.map(|next| next.to_string()).unwrap_or_default(),
    }
}

pub(super) fn broadcast(outcome: BroadcastOutcome) -> v1::BroadcastResponse {
    let BroadcastOutcome {
        id,
        local_sessions,
        nodes,
    } = outcome;
    v1::BroadcastResponse {
        id,
        local_sessions: count(local_sessions),
        nodes: count(nodes),
    }
}

pub(super) fn online(
    OnlineUsers {
        users,
        next_cursor,
        total,
    }: OnlineUsers,
) -> v1::ListOnlineResponse {
    v1::ListOnlineResponse {
        user_ids: users.iter().map(ToString::to_string).collect(),
        next_cursor: next_cursor.unwrap_or_default(),
        total,
    }
}

pub(super) fn session(record: SessionRecord) -> v1::Session {
    let SessionRecord {
        session,
        user,
        user_type,
        node,
        epoch: _,
        transport,
        device,
        connected_at,
    } = record;
    v1::Session {
        session_id: session.to_string(),
        user_id: user.to_string(),
        user_type: user_type.to_string(),
        node: node.to_string(),
        transport: transport.into_owned(),
        device: device.as_deref().unwrap_or_default().to_owned(),
        connected_at: i64::try_from(connected_at).unwrap_or(i64::MAX),
    }
}

pub(super) fn kicked(
    KickOutcome {
        local_sessions,
        nodes,
    }: KickOutcome,
) -> v1::KickResponse {
    v1::KickResponse {
        local_sessions: count(local_sessions),
        nodes: count(nodes),
    }
}

pub(super) fn stats(stats: Stats) -> v1::GetStatsResponse {
    v1::GetStatsResponse {
        node: stats.node,
        connections: stats.connections,
        users: stats.users,
        messages_received: stats.messages_received,
        messages_sent: stats.messages_sent,
        average_message_bytes: stats.average_message_bytes,
        errors: stats.errors,
        connections_by_user_type: stats.connections_by_user_type.into_iter().collect(),
        connections_by_transport: stats.connections_by_transport.into_iter().collect(),
        nodes: stats.nodes.into_iter().map(node).collect(),
    }
}

fn node(
    NodeInfo {
        node,
        epoch,
        address,
        connections,
        synced: _,
        beat: _,
        leaving: _,
        door: _,
    }: NodeInfo,
) -> v1::Node {
    v1::Node {
        name: node.to_string(),
        epoch: epoch.0,
        address,
        connections,
    }
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
