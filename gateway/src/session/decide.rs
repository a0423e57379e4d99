//! What a session does about a frame: a pure function from who it is and what was said to what is to be done.

use crate::protocol::json::{Ack, Auth, Call, ClientFrame, Command, Refusal};
use crate::protocol::{ErrorCode, MessageBody, Position, Target};
use crate::security::{Identity, Scopes};

/// What is to be done about a frame.
#[derive(Debug)]
pub enum Decision<'a> {
    /// Answer `pong`.
    Pong(Option<&'a str>),
    /// Check this token and take its identity.
    Authenticate(Auth<'a>),
    /// Take the client's word for a message it got, in its inbox or in a ticket.
    Acknowledge(Ack<'a>),
    /// Remember that the client has its inbox up to here.
    Remember(Position),
    /// Send this message.
    Publish(Target, MessageBody<'a>),
    /// Run this command, which needs more than this session knows.
    Call(Call<'a>),
    /// Tell the sender why not.
    Refuse(Refusal),
    /// The first frame of a connection without identity was not `auth`.
    NotAuthenticated,
}

/// What this gateway's configuration offers to sessions.
#[derive(Clone, Copy, Debug, Default)]
// Each is a switch of the configuration and none excludes another.
#[allow(clippy::struct_excessive_bools)]
pub struct Offered {
    /// Messages are stored.
    pub stores: bool,
    /// Messages are sent again until they are acknowledged.
    pub acks: bool,
    /// There are groups.
    pub groups: bool,
    /// Messages to groups are stored, where messages are.
    pub group_records: bool,
    /// There are tickets.
    pub tickets: bool,
    /// Messages in tickets are sent again until they are acknowledged.
    pub ticket_acks: bool,
}

/// Decides about one frame. `identity` is `None` until the connection has authenticated.
pub fn decide<'a>(
    frame: &'a ClientFrame<'_>,
    identity: Option<&Identity>,
    offered: Offered,
) -> Decision<'a> {
    let command = match frame.command() {
        Ok(command) => command,
        Err(refusal) => return Decision::Refuse(refusal),
    };
    match (command, identity) {
        // With a session it is a new token of the same user.
        (Command::Auth(auth), _) => Decision::Authenticate(auth),
        (
            Command::Ping(_)
            | Command::Send { .. }
            | Command::Call(_)
            | Command::Ack(_)
            | Command::Position(_),
            None,
        ) => Decision::NotAuthenticated,
        (Command::Ping(id), Some(_)) => Decision::Pong(id),
        (Command::Call(call), Some(_)) => Decision::Call(call),
        (Command::Ack(ack), Some(_)) if offered.acks || offered.ticket_acks => {
            Decision::Acknowledge(ack)
        }
        (Command::Ack(_), Some(_)) => {
            let message = "acknowledgements are off: wsc.ack.enabled".into();
            Decision::Refuse(frame.refuse(ErrorCode::NotSupported, message))
        }
        (Command::Position(position), Some(_)) => Decision::Remember(position),
        (Command::Send { target, body }, Some(identity)) => {
            let allowed = allowed(&target, identity, offered)
                .and_then(|()| possible(&target, &body, offered));
            match allowed {
                Ok(()) => Decision::Publish(target, body),
                Err((code, message)) => Decision::Refuse(frame.refuse(code, message.into())),
            }
        }
    }
}

/// What a sender asks for beyond delivery.
pub fn possible(
    target: &Target,
    body: &MessageBody<'_>,
    offered: Offered,
) -> Result<(), (ErrorCode, &'static str)> {
    let not_supported = |message| Err((ErrorCode::NotSupported, message));
    match (body.durable, body.require_ack) {
        (Some(true), _) if !offered.stores => {
            not_supported("durable: nothing is stored here (wsc.delivery.acceptance)")
        }
        (Some(true), _) if matches!(target, Target::Group(_)) && !offered.group_records => {
            not_supported(
                "durable: messages to groups are not kept here (wsc.group.enableMessageRecord)",
            )
        }
        (_, true) if matches!(target, Target::Ticket(_)) => {
            if offered.ticket_acks && offered.stores {
                Ok(())
            } else {
                not_supported("require_ack: not in tickets here (wsc.ticket.enableAck)")
            }
        }
        (_, true) if !offered.acks => {
            not_supported("require_ack: acknowledgements are off (wsc.ack.enabled)")
        }
        (_, true) if !offered.stores => {
            not_supported("require_ack: nothing is stored here (wsc.delivery.acceptance)")
        }
        (_, true) if !matches!(target, Target::User(_)) => {
            not_supported("require_ack: only for messages to one user")
        }
        (Some(false), true) => Err((
            ErrorCode::BadFrame,
            "require_ack: cannot be asked for together with durable: false",
        )),
        _ => Ok(()),
    }
}

fn allowed(
    target: &Target,
    identity: &Identity,
    offered: Offered,
) -> Result<(), (ErrorCode, &'static str)> {
    match target {
        // Whether an application listens is not for the session to know.
        Target::User(_) | Target::Application => Ok(()),
        Target::Broadcast if identity.scopes.contains(Scopes::BROADCAST) => Ok(()),
        Target::Broadcast => Err((
            ErrorCode::Forbidden,
            "broadcast: the token's scope lacks \"broadcast\"",
        )),
        // Whether the sender is a member, the store knows.
        Target::Group(_) if offered.groups => Ok(()),
        Target::Group(_) => Err((
            ErrorCode::NotSupported,
            "group: groups are off (wsc.group.enabled)",
        )),
        // Whether the sender takes part in it, the desk knows.
        Target::Ticket(_) if offered.tickets => Ok(()),
        Target::Ticket(_) => Err((
            ErrorCode::NotSupported,
            "ticket_id: tickets are off (wsc.ticket.enabled)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserId;

    fn identity(scopes: Scopes) -> Identity {
        let user = UserId::new("alice").expect("valid");
        Identity {
            user,
            user_type: "customer".into(),
            device: None,
            expires: None,
            scopes,
            groups: None,
            token_id: None,
            issued: 0,
            skills: None,
        }
    }

    fn decided(text: &str, identity: Option<&Identity>) -> String {
        let frame = ClientFrame::parse(text).expect("parses");
        match decide(&frame, identity, Offered::default()) {
            Decision::Pong(id) => format!("pong {id:?}"),
            Decision::Authenticate(auth) => format!("authenticate {}", auth.token()),
            Decision::Acknowledge(ack) => format!("{} {}", ack.id, ack.state.as_str()),
            Decision::Remember(position) => format!("remember {position}"),
            Decision::Call(call) => format!("call {}", call.kind),
            Decision::Publish(target, _) => format!("publish {target:?}"),
            Decision::Refuse(refusal) => refusal.code.as_str().to_owned(),
            Decision::NotAuthenticated => "not authenticated".to_owned(),
        }
    }

    #[test]
    fn nothing_but_auth_is_heard_before_the_identity_is_known() {
        assert_eq!(decided(r#"{"type":"ping"}"#, None), "not authenticated");
        assert_eq!(
            decided(r#"{"type":"t","to":"bob"}"#, None),
            "not authenticated"
        );
        assert_eq!(
            decided(r#"{"type":"auth","data":{"token":"x"}}"#, None),
            "authenticate x"
        );
    }

    #[test]
    fn broadcast_needs_its_scope() {
        let frame = r#"{"type":"t","broadcast":true}"#;
        assert_eq!(decided(frame, Some(&identity(Scopes::ADMIN))), "forbidden");
        assert_eq!(
            decided(frame, Some(&identity(Scopes::BROADCAST))),
            "publish Broadcast"
        );
    }

    #[test]
    fn what_this_release_lacks_is_refused_by_name() {
        for frame in [
            r#"{"type":"t","group":"g"}"#,
            r#"{"type":"t","ticket_id":"g"}"#,
            r#"{"type":"t","to":"bob","require_ack":true}"#,
        ] {
            assert_eq!(
                decided(frame, Some(&identity(Scopes::NONE))),
                "not_supported",
                "{frame}"
            );
        }
    }
}
