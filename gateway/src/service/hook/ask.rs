//! What a hook is asked, and what it may reply, as JSON; gRPC says the same. A word that does not fit the question, or a
//! field that there is not, makes the reply unusable: its policy then decides.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use wsc_config::HookPoint;

use super::wire::HookError;
use crate::protocol::json::check_body;
use crate::protocol::{GroupId, MessageBody, Priority, Target};
use crate::security::Scopes;
use crate::service::{Admission, Answer, Attributes, Client, Incoming, Rejection, Verdict};

/// Notes about a client that one hook may make, and groups it may put it into.
const NOTES: usize = 64;
/// The bytes of a name and a note.
const NOTE_BYTES: usize = 1024;

/// A question.
#[derive(Debug, Serialize)]
pub(super) struct Ask {
    /// Unique; the same when it is asked again.
    pub(super) id: String,
    /// Who is asked.
    pub(super) hook: String,
    /// About what.
    pub(super) kind: HookPoint,
    /// Whom it concerns.
    pub(super) client: Client,
    /// The message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Asked>,
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
}

/// A message as it is shown to a hook.
#[derive(Debug, Default, Serialize)]
pub(super) struct Asked {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ticket_id: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) broadcast: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Box<RawValue>>,
    pub(super) priority: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_to: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) require_ack: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) durable: Option<bool>,
}

impl Asked {
    fn of(message: &Incoming) -> Self {
        let mut asked = Self {
            kind: message.kind.clone(),
            id: message.id.clone(),
            content: message.content.clone(),
            data: message.data.clone(),
            priority: message.priority.as_str(),
            reply_to: message.reply_to.clone(),
            require_ack: message.require_ack,
            durable: message.durable,
            ..Self::default()
        };
        match &message.target {
            Target::User(user) => asked.to = Some(user.to_string()),
            Target::Group(group) => asked.group = Some(group.as_str().to_owned()),
            Target::Ticket(ticket) => asked.ticket_id = Some(ticket.as_str().to_owned()),
            Target::Broadcast => asked.broadcast = true,
            Target::Application => {}
        }
        asked
    }
}

impl Ask {
    fn new(hook: &str, kind: HookPoint, client: &Client) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            hook: hook.to_owned(),
            kind,
            client: client.clone(),
            message: None,
            group: None,
        }
    }

    /// May this client have its session?
    pub(super) fn connect(hook: &str, client: &Client) -> Self {
        Self::new(hook, HookPoint::Connect, client)
    }

    /// What becomes of this message?
    pub(super) fn message(hook: &str, client: &Client, message: &Incoming) -> Self {
        Self {
            message: Some(Asked::of(message)),
            ..Self::new(hook, HookPoint::Message, client)
        }
    }

    /// May this user join that group?
    pub(super) fn join(hook: &str, client: &Client, group: &GroupId) -> Self {
        Self {
            group: Some(group.as_str().to_owned()),
            ..Self::new(hook, HookPoint::GroupJoin, client)
        }
    }
}

/// A reply. An empty one means: go on.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reply {
    /// `allow` or `deny`; of a message `pass`, `change`, `answer`, `swallow` or `refuse`.
    pub(super) action: Option<String>,
    /// What the client is told when it is refused.
    pub(super) reason: Option<String>,
    /// What is noted about the client.
    pub(super) attributes: Attributes,
    /// The user's type from now on.
    pub(super) user_type: Option<String>,
    /// Scopes beside those of the token.
    pub(super) scopes: Vec<String>,
    /// Groups that the client becomes a member of.
    pub(super) groups: Vec<String>,
    /// The new content.
    pub(super) content: Option<Box<RawValue>>,
    /// The new data.
    pub(super) data: Option<Box<RawValue>>,
    /// The answer to the sender.
    pub(super) answer: Option<Answer>,
}

/// A no, or what follows from a yes.
type Decided<T> = Result<Result<T, Rejection>, HookError>;

impl Reply {
    fn refusal(&self) -> Rejection {
        let reason = self
            .reason
            .as_deref()
            .unwrap_or("refused by the application");
        Rejection::new(reason.chars().take(NOTE_BYTES).collect::<String>())
    }

    /// Read as the reply about a client or a join.
    pub(super) fn into_admission(self) -> Decided<Admission> {
        match self.action.as_deref() {
            Some("deny") => return Ok(Err(self.refusal())),
            None | Some("allow") => {}
            Some(other) => return Err(unusable(format!("action `{other}`"))),
        }
        let Self {
            attributes,
            user_type,
            scopes,
            groups,
            ..
        } = self;
        let is_long = |text: &String| text.len() > NOTE_BYTES;
        if attributes.len() > NOTES || attributes.iter().any(|(a, b)| is_long(a) || is_long(b)) {
            let why = format!("more than {NOTES} attributes, or one above {NOTE_BYTES} bytes");
            return Err(unusable(why));
        }
        let known = |word: &&String| Scopes::parse(word).is_empty();
        if let Some(unknown) = scopes.iter().find(known) {
            return Err(unusable(format!("scope `{unknown}`")));
        }
        if groups.len() > NOTES {
            return Err(unusable(format!("more than {NOTES} groups")));
        }
        let group = |id: &String| {
            GroupId::new(id).map_err(|error| unusable(format!("group `{id}`: {error}")))
        };
        Ok(Ok(Admission {
            attributes,
            user_type,
            scopes: Scopes::parse(&scopes.join(" ")),
            groups: groups.iter().map(group).collect::<Result<_, _>>()?,
        }))
    }

    /// Read as the reply about this message.
    pub(super) fn into_verdict(self, message: Incoming) -> Decided<Verdict> {
        match self.action.as_deref() {
            None | Some("pass") => Ok(Ok(Verdict::Send(Box::new(message)))),
            Some("change") => self
                .change(message)
                .map(|changed| Ok(Verdict::Send(changed))),
            Some("answer") => {
                let answer = self
                    .answer
                    .ok_or_else(|| unusable("no answer".to_owned()))?;
                check(&answer.kind, answer.data.as_deref())?;
                Ok(Ok(Verdict::Answer(answer)))
            }
            Some("swallow") => Ok(Ok(Verdict::Swallow)),
            Some("refuse") => Ok(Err(self.refusal())),
            Some(other) => Err(unusable(format!("action `{other}`"))),
        }
    }

    fn change(self, mut message: Incoming) -> Result<Box<Incoming>, HookError> {
        check(&message.kind, self.data.as_deref())?;
        message.content = self.content.or(message.content);
        message.data = self.data.or(message.data);
        Ok(Box::new(message))
    }
}

/// What a client could not send a hook cannot either.
fn check(kind: &str, data: Option<&RawValue>) -> Result<(), HookError> {
    let body = MessageBody {
        kind,
        id: None,
        content: None,
        data,
        priority: Priority::Normal,
        reply_to: None,
        durable: None,
        require_ack: false,
    };
    check_body(&body).map_err(|(field, why)| unusable(format!("{field}: {why}")))
}

fn unusable(what: String) -> HookError {
    HookError::Unreadable(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Incoming {
        Incoming {
            kind: "text".to_owned(),
            id: None,
            target: Target::Application,
            content: serde_json::value::to_raw_value("old").ok(),
            data: None,
            priority: Priority::Normal,
            reply_to: None,
            require_ack: false,
            durable: None,
        }
    }

    fn verdict(json: &str) -> String {
        let reply: Reply = match serde_json::from_str(json) {
            Ok(reply) => reply,
            Err(error) => return format!("unreadable: {error}"),
        };
        match reply.into_verdict(message()) {
            Ok(Ok(Verdict::Send(message))) => {
                format!("send {}", message.text().unwrap_or_default())
            }
            Ok(Ok(Verdict::Answer(answer))) => format!("answer {}", answer.kind),
            Ok(Ok(Verdict::Swallow)) => "swallow".to_owned(),
            Ok(Err(rejection)) => format!("refuse {rejection}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_reply_about_a_message_is_read_by_its_action() {
        assert_eq!(verdict("{}"), "send old");
        assert_eq!(verdict(r#"{"action":"pass"}"#), "send old");
        assert_eq!(
            verdict(r#"{"action":"change","content":"new"}"#),
            "send new"
        );
        assert_eq!(
            verdict(r#"{"action":"answer","answer":{"type":"hi"}}"#),
            "answer hi"
        );
        assert_eq!(verdict(r#"{"action":"swallow"}"#), "swallow");
        assert_eq!(verdict(r#"{"action":"refuse","reason":"no"}"#), "refuse no");
        for wrong in [
            r#"{"action":"allow"}"#,
            r#"{"action":"answer"}"#,
            r#"{"action":"answer","answer":{"type":"welcome"}}"#,
            r#"{"action":"change","data":[1]}"#,
            r#"{"acton":"refuse"}"#,
        ] {
            let said = verdict(wrong);
            assert!(!said.starts_with("send"), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_reply_about_a_client_may_give_what_a_token_can_and_no_more() {
        let read = |json: &str| {
            serde_json::from_str::<Reply>(json)
                .unwrap()
                .into_admission()
        };
        let given = read(
            r#"{"attributes":{"a":"b"},"user_type":"agent","scopes":["broadcast"],"groups":["g"]}"#,
        );
        let given = given.unwrap().unwrap();
        assert_eq!(given.groups, [GroupId::new("g").unwrap()]);
        assert_eq!(given.attributes["a"], "b");
        assert_eq!(given.user_type.as_deref(), Some("agent"));
        assert!(given.scopes.contains(Scopes::BROADCAST));
        let no = read(r#"{"action":"deny","reason":"closed"}"#).unwrap();
        assert_eq!(no.unwrap_err(), "closed".into());
        assert!(read(r#"{"scopes":["root"]}"#).is_err());
        assert!(read(r#"{"groups":[""]}"#).is_err());
        let many: Vec<String> = (0..=NOTES).map(|n| format!("g{n}")).collect();
        assert!(read(&serde_json::json!({ "groups": many }).to_string()).is_err());
        assert!(read(r#"{"action":"pass"}"#).is_err());
    }
}
