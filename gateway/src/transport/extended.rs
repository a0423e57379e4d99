//! Where connections meet the application's extensions: may this client have its session, what becomes of this message.
//!
//! Nobody comes here while nothing is registered.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use super::held;
use crate::hub::{Later, Outgoing, Recipients, Shard, unix_millis};
use crate::protocol::json::{self, Refusal};
use crate::protocol::{
    Control, Disconnect, GroupId, Message, MessageBody, Priority, Sender, SessionId, Target,
};
use crate::security::{Grant, Identity};
use crate::service::{
    Admission, Answer, Attributes, Client, ClientInfo, Incoming, Rejection, Verdict,
};
use crate::transport::Connection;

/// As what a client is let in.
pub(super) struct Admitted {
    pub(super) client: Client,
    pub(super) identity: Identity,
    /// The groups that it is to be in.
    pub(super) groups: Vec<GroupId>,
}

/// Asks whether this identity may have a session here, and as what. `None`: it may not, and has been told.
pub(super) async fn admit(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    mut identity: Identity,
    session: SessionId,
) -> Option<Admitted> {
    let service = &shard.context().service;
    let mut groups = Vec::new();
    let mut client = describe(shard, connection, &identity, session);
    if service.decides_clients() {
        match service.connect(&client).await {
            Ok(admission) if admission == Admission::default() => {}
            Ok(admission) => {
                connection.grant(Grant {
                    token_type: identity.user_type.clone(),
                    scopes: admission.scopes,
                });
                identity.scopes = identity.scopes.with(admission.scopes);
                if let Some(user_type) = admission.user_type {
                    if !shard.settings().user_types.contains(&user_type) {
                        let why = "the application gave a user type that there is not";
                        turn_away(shard, connection, Rejection::unavailable(why));
                        return None;
                    }
                    identity.user_type = user_type.into();
                }
                groups = admission.groups;
                client = Client::new(ClientInfo {
                    attributes: admission.attributes,
                    user_type: identity.user_type.clone(),
                    ..(*client).clone()
                });
            }
            Err(rejection) => {
                turn_away(shard, connection, rejection);
                return None;
            }
        }
    }
    // A drain, or the client itself, may have ended it meanwhile.
    (!connection.is_closing()).then_some(Admitted {
        client,
        identity,
        groups,
    })
}

/// The session as extensions see it. One that began before anybody wanted to is described now.
pub(crate) fn client_of<'a>(shard: &Shard, connection: &'a Connection) -> Option<&'a Client> {
    if connection.client().is_none() {
        let session = connection.session()?;
        let described = describe(shard, connection, &session.identity(), session.id);
        connection.set_client(Client::new(ClientInfo {
            connected_at: session.connected_at,
            ..(*described).clone()
        }));
    }
    connection.client()
}

fn describe(
    shard: &Shard,
    connection: &Connection,
    identity: &Identity,
    session: SessionId,
) -> Client {
    let (node, epoch) = shard.context().cluster.identity();
    Client::new(ClientInfo {
        session,
        user: identity.user.clone(),
        user_type: identity.user_type.clone(),
        device: identity.device.clone(),
        transport: connection.transport().label(),
        node: node.clone(),
        epoch,
        address: Some(connection.peer().ip()),
        connected_at: unix_millis(),
        attributes: Attributes::new(),
    })
}

fn turn_away(shard: &Shard, connection: &Rc<Connection>, rejection: Rejection) {
    let why = if rejection.code.is_trouble() {
        Disconnect::Unavailable
    } else {
        Disconnect::Rejected
    };
    let refusal = Refusal {
        code: rejection.code,
        message: rejection.message,
        ref_id: None,
    };
    shard.refused(connection, &refusal);
    shard.say_anyway(connection, &Control::Error(&refusal));
    shard.close(connection, why);
}

/// Asks what becomes of a message, and does it.
pub(super) async fn take(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    (target, body): (Target, MessageBody<'_>),
    size: usize,
    later: &mut Later,
) {
    let Some(client) = client_of(shard, connection) else {
        return;
    };
    let ref_id = body.id.map(str::to_owned);
    let message = Incoming::of(target, &body);
    let verdict = shard.context().service.message(client, message).await;
    if connection.is_closing() {
        return;
    }
    match verdict {
        Ok(Verdict::Send(message)) => {
            let message = (message.target.clone(), message.body());
            held::publish(shard, connection, message, size, later).await;
        }
        Ok(Verdict::Answer(answer)) => {
            taken(shard, connection, size);
            reply(shard, connection, &answer, ref_id.as_deref());
        }
        Ok(Verdict::Swallow) => taken(shard, connection, size),
        Err(rejection) => {
            // The frame was a good one: the application's no is no abuse.
            taken(shard, connection, size);
            let refusal = Refusal {
                code: rejection.code,
                message: rejection.message,
                ref_id,
            };
            shard.refused(connection, &refusal);
            shard.say(connection, &Control::Error(&refusal));
        }
    }
}

fn taken(shard: &Shard, connection: &Connection, size: usize) {
    connection.good_frame();
    shard.count(|stats| {
        stats.messages_received.fetch_add(1, Relaxed);
        stats.bytes_received.fetch_add(size as u64, Relaxed);
    });
}

/// Puts the application's answer into the outbox of this one session.
fn reply(shard: &Rc<Shard>, connection: &Connection, answer: &Answer, reply_to: Option<&str>) {
    let Some(session) = connection.session() else {
        return;
    };
    let message = Message {
        target: &Target::User(session.identity().user.clone()),
        sender: Sender {
            id: "system",
            kind: "system",
            seq: 0,
        },
        id: &uuid::Uuid::now_v7().to_string(),
        create_at: unix_millis(),
        body: MessageBody {
            kind: &answer.kind,
            id: None,
            content: answer.content.as_deref(),
            data: answer.data.as_deref(),
            priority: Priority::Normal,
            reply_to,
            durable: None,
            require_ack: false,
        },
    };
    let outgoing = Outgoing::new(
        shard
            .written(|out| json::write_message(&message, out))
            .into(),
    );
    shard.deliver(&Recipients::Session(connection.key()), &outgoing);
}
