//! Writing and reading of what nodes say to each other (`wsc.cluster.v1.Envelope`). Pure; the only place that knows the
//! generated types' quirks. An envelope that cannot be read is the caller's to count, never an error to act on.

use bytes::Bytes;
use prost::Message as _;
use wsc_proto::cluster::envelope::Body;
use wsc_proto::cluster::kick::Target;
use wsc_proto::cluster::{
    self, Deliver, Envelope, GroupChange, Kick, Membership, Moved, group_change,
};

pub(super) use wsc_proto::cluster::Turn;

use super::shared::Identity;
use crate::group::{Change, Generation, What};
use crate::protocol::{
    Epoch, GroupId, Mark, NodeId, Parcel, Position, SessionId, Start, TraceContext, UserId,
};

/// What a peer wants of this node, ready to be done in order.
#[derive(Debug)]
pub(super) enum Task {
    /// To every session of these users here.
    Deliver(Vec<UserId>, Parcel, Trip),
    /// To every session of the group's members here.
    Group(GroupId, Parcel),
    /// To every session here.
    Broadcast(Parcel),
    /// End a user's sessions.
    KickUser(UserId, String),
    /// End one session.
    KickSession(SessionId, String),
}

/// Whether a message may come back when its recipient is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trip {
    /// It may.
    First,
    /// It has come back already, or must not.
    Again,
}

/// What was in an envelope.
#[derive(Debug)]
pub(super) enum Content {
    /// Work for the hub.
    Task(Task),
    /// A canary has come around.
    Canary(u64),
    /// Nodes came or went.
    Membership,
    /// Tokens were taken back.
    Revoked,
    /// These users' sessions changed nodes.
    Moved(Vec<UserId>),
    /// None of these users is where this message was sent.
    Returned(Vec<UserId>, Parcel),
    /// Somebody came into a group or went.
    GroupChange(Change),
}

/// An envelope that could be read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) node: NodeId,
    pub(super) epoch: Epoch,
    pub(super) content: Content,
    /// Where it stands among what its sender says by pub/sub.
    pub(super) turn: Option<Turn>,
}

/// Nothing if it is no envelope or says nothing this node understands.
pub(super) fn open(bytes: Bytes) -> Option<Opened> {
    let envelope = Envelope::decode(bytes).ok()?;
    Some(Opened {
        node: NodeId::new(&envelope.node),
        epoch: Epoch(envelope.epoch),
        content: content(envelope.body?)?,
        turn: envelope.turn,
    })
}

fn content(body: Body) -> Option<Content> {
    Some(match body {
        Body::Deliver(mut deliver) => {
            let trip = if deliver.again {
                Trip::Again
            } else {
                Trip::First
            };
            let group = std::mem::take(&mut deliver.group);
            let (users, parcel) = unpack(deliver)?;
            Content::Task(if !group.is_empty() {
                Task::Group(GroupId::new(&group).ok()?, parcel)
            } else if users.is_empty() {
                Task::Broadcast(parcel)
            } else {
                Task::Deliver(users, parcel, trip)
            })
        }
        Body::Kick(kick) => Content::Task(match kick.target? {
            Target::User(user) => Task::KickUser(UserId::new(&user).ok()?, kick.reason),
            Target::Session(session) => Task::KickSession(SessionId::parse(&session)?, kick.reason),
        }),
        Body::Canary(number) => Content::Canary(number),
        Body::Membership(Membership {}) => Content::Membership,
        Body::Revoked(cluster::Revoked {}) => Content::Revoked,
        Body::Moved(moved) => Content::Moved(users(&moved.users)?),
        Body::Returned(returned) => {
            let (users, parcel) = unpack(returned)?;
            Content::Returned(users, parcel)
        }
        Body::GroupChange(change) => Content::GroupChange(read_change(change)?),
    })
}

fn read_change(change: GroupChange) -> Option<Change> {
    let what = match change.what? {
        group_change::What::Joined(joined) => What::Joined {
            user: UserId::new(&joined.user).ok()?,
            from: joined.placed.then_some(Position {
                epoch: joined.epoch,
                offset: joined.offset,
            }),
        },
        group_change::What::Left(user) => What::Left(UserId::new(&user).ok()?),
        group_change::What::Disbanded(group_change::Disbanded {}) => What::Disbanded,
    };
    Some(Change {
        group: GroupId::new(&change.group).ok()?,
        generation: Generation(change.generation),
        what,
    })
}

fn write_change(change: &Change) -> GroupChange {
    let what = match &change.what {
        What::Joined { user, from } => {
            let at = from.unwrap_or_default();
            group_change::What::Joined(group_change::Joined {
                user: user.to_string(),
                placed: from.is_some(),
                epoch: at.epoch,
                offset: at.offset,
            })
        }
        What::Left(user) => group_change::What::Left(user.to_string()),
        What::Disbanded => group_change::What::Disbanded(group_change::Disbanded {}),
    };
    GroupChange {
        group: change.group.to_string(),
        generation: change.generation.0,
        what: Some(what),
    }
}

fn unpack(deliver: Deliver) -> Option<(Vec<UserId>, Parcel)> {
    let mark = match deliver.mark {
        None => None,
        Some(mark) => Some(read_mark(&mark)?),
    };
    let (trace, json) = (read_trace(&deliver.trace), deliver.json);
    Some((users(&deliver.users)?, Parcel { json, mark, trace }))
}

/// Bytes that are no trace are no reason to lose the message.
fn read_trace(bytes: &[u8]) -> Option<TraceContext> {
    let (trace, span) = bytes.split_at_checked(16)?;
    TraceContext::of_ids(trace, span)
}

fn write_trace(trace: &TraceContext) -> Bytes {
    [trace.trace.as_slice(), trace.span.as_slice()]
        .concat()
        .into()
}

fn read_mark(mark: &cluster::Mark) -> Option<Mark> {
    Some(Mark {
        log: mark.log.parse().ok()?,
        position: Position {
            epoch: mark.epoch,
            offset: mark.offset,
        },
        ack: (!mark.ack.is_empty()).then(|| mark.ack.as_str().into()),
        start: read_start(mark.start),
    })
}

fn write_mark(mark: &Mark) -> cluster::Mark {
    cluster::Mark {
        log: mark.log.to_string(),
        epoch: mark.position.epoch,
        offset: mark.position.offset,
        ack: mark.ack.as_deref().unwrap_or_default().to_owned(),
        start: match mark.start {
            Start::Here => cluster::Start::Here,
            Start::Beginning => cluster::Start::Beginning,
            Start::Nowhere => cluster::Start::Nowhere,
        }
        .into(),
    }
}

/// What a newer node says and this one does not know means most sessions nothing.
fn read_start(start: i32) -> Start {
    match cluster::Start::try_from(start) {
        Ok(cluster::Start::Here) => Start::Here,
        Ok(cluster::Start::Beginning) => Start::Beginning,
        Ok(cluster::Start::Nowhere) | Err(_) => Start::Nowhere,
    }
}

fn users(ids: &[String]) -> Option<Vec<UserId>> {
    ids.iter().map(|id| UserId::new(id).ok()).collect()
}

fn seal(from: &Identity, body: Body) -> Bytes {
    let envelope = Envelope {
        node: from.node.as_str().to_owned(),
        epoch: from.epoch().0,
        body: Some(body),
        turn: None,
    };
    envelope.encode_to_vec().into()
}

/// The envelope with its turn. Parts of a message that are written one after the other are one message (Protocol Buffers,
/// "Last One Wins"), so that it is not encoded anew.
pub(super) fn tagged(envelope: &Bytes, turn: Turn) -> Bytes {
    let turn = Envelope {
        turn: Some(turn),
        ..Envelope::default()
    };
    [envelope.as_ref(), &turn.encode_to_vec()].concat().into()
}

/// A message to these users' sessions; to every session if there are none. It comes back from where they are not found.
pub(super) fn deliver<'a>(
    from: &Identity,
    users: impl IntoIterator<Item = &'a UserId>,
    parcel: &Parcel,
) -> Bytes {
    seal(from, Body::Deliver(pack(users, parcel, Trip::First)))
}

/// The same, but it does not come back: it has, or there are others who got it.
pub(super) fn deliver_once<'a>(
    from: &Identity,
    users: impl IntoIterator<Item = &'a UserId>,
    parcel: &Parcel,
) -> Bytes {
    seal(from, Body::Deliver(pack(users, parcel, Trip::Again)))
}

fn pack<'a>(users: impl IntoIterator<Item = &'a UserId>, parcel: &Parcel, trip: Trip) -> Deliver {
    Deliver {
        users: users.into_iter().map(ToString::to_string).collect(),
        json: parcel.json.clone(),
        mark: parcel.mark.as_ref().map(write_mark),
        again: trip == Trip::Again,
        group: String::new(),
        trace: parcel.trace.as_ref().map(write_trace).unwrap_or_default(),
    }
}

/// A message to the sessions of a group's members. It does not come back: who is not there is no member there.
pub(super) fn deliver_group(from: &Identity, group: &GroupId, parcel: &Parcel) -> Bytes {
    let deliver = Deliver {
        group: group.to_string(),
        ..pack([], parcel, Trip::Again)
    };
    seal(from, Body::Deliver(deliver))
}

/// Somebody came into a group or went.
pub(super) fn group_change(from: &Identity, change: &Change) -> Bytes {
    seal(from, Body::GroupChange(write_change(change)))
}

/// A message back to who sent it.
pub(super) fn returned(from: &Identity, users: &[UserId], parcel: &Parcel) -> Bytes {
    seal(from, Body::Returned(pack(users, parcel, Trip::Again)))
}

/// The end of a user's sessions.
pub(super) fn kick_user(from: &Identity, user: &UserId, reason: String) -> Bytes {
    let target = Some(Target::User(user.to_string()));
    seal(from, Body::Kick(Kick { target, reason }))
}

/// The end of one session.
pub(super) fn kick_session(from: &Identity, session: SessionId, reason: String) -> Bytes {
    let target = Some(Target::Session(session.to_string()));
    seal(from, Body::Kick(Kick { target, reason }))
}

/// What comes back to its sender.
pub(super) fn canary(from: &Identity, number: u64) -> Bytes {
    seal(from, Body::Canary(number))
}

/// Nodes came or went, or one wrote its part of the directory anew.
pub(super) fn membership(from: &Identity) -> Bytes {
    seal(from, Body::Membership(Membership {}))
}

/// The list of revoked tokens has grown.
pub(super) fn revoked(from: &Identity) -> Bytes {
    seal(from, Body::Revoked(cluster::Revoked {}))
}

/// These users' sessions changed on the sending node.
pub(super) fn moved(from: &Identity, users: &[UserId]) -> Bytes {
    let users = users.iter().map(ToString::to_string).collect();
    seal(from, Body::Moved(Moved { users }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_envelope_is_told_apart_without_a_panic() {
        let me = Identity::new(NodeId::new("a"), String::new(), Epoch(7));
        assert!(open(Bytes::from_static(b"\xff\xff\xff")).is_none());
        assert!(
            open(Bytes::new()).is_none(),
            "an envelope without a body says nothing"
        );
        let user = UserId::new("bob").unwrap();
        let good = deliver(&me, [&user], &Bytes::from_static(b"{}").into());
        for cut in 1..good.len() {
            let _ = open(good.slice(..cut));
        }
        let opened = open(good).unwrap();
        assert_eq!((opened.node, opened.epoch), (NodeId::new("a"), Epoch(7)));
        assert!(
            matches!(opened.content, Content::Task(Task::Deliver(users, _, Trip::First)) if users == [user])
        );
    }

    #[test]
    fn a_change_of_a_group_is_read_back_as_it_was() {
        let me = Identity::new(NodeId::new("a"), String::new(), Epoch(7));
        let user = UserId::new("bob").unwrap();
        let from = Some(Position::default());
        for what in [
            What::Joined {
                user: user.clone(),
                from,
            },
            What::Joined {
                user: user.clone(),
                from: None,
            },
            What::Left(user),
            What::Disbanded,
        ] {
            let change = Change {
                group: GroupId::new("g").unwrap(),
                generation: Generation(5),
                what,
            };
            let opened = open(group_change(&me, &change)).unwrap();
            assert!(matches!(opened.content, Content::GroupChange(read) if read == change));
        }
    }

    #[test]
    fn a_traced_message_takes_its_span_along_and_what_is_no_trace_is_passed_over() {
        let me = Identity::new(NodeId::new("a"), String::new(), Epoch(7));
        let sent = Parcel {
            trace: TraceContext::of_ids(&[1; 16], &[2; 8]),
            ..Parcel::from(Bytes::from_static(b"{}"))
        };
        let Some(Content::Task(Task::Broadcast(got))) =
            open(deliver(&me, [], &sent)).map(|opened| opened.content)
        else {
            panic!("a broadcast");
        };
        assert_eq!(got, sent);
        for odd in [0, 1, 16, 23, 25] {
            assert_eq!(read_trace(&vec![1; odd]), None);
        }
    }

    #[test]
    fn a_user_id_that_cannot_be_makes_the_envelope_unreadable() {
        let me = Identity::new(NodeId::new("a"), String::new(), Epoch(7));
        let body = Body::Moved(Moved {
            users: vec![String::new()],
        });
        assert!(open(seal(&me, body)).is_none());
    }
}
