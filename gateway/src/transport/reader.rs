//! A connection's reading task: bytes to frames to decisions, until the socket ends. It alone frees the connection's
//! place.
//!
//! All connections of a shard read into the shard's one buffer and digest what came in one go; only a partial message is
//! kept, in the decoder. What cannot be handed on at once is waited for before more is digested or read: what came behind
//! it is kept as it came, so that a few compressed bytes cannot become many that wait, and TCP slows the sender.

use std::future::poll_fn;
use std::rc::Rc;

use tokio::time::Instant;
use wsc_wire::{Decoder, Message, Opcode, Violation};

use super::place::Place;
use super::{held, rate};
use crate::hub::{Later, Passed, Shard};
use crate::protocol::json::{ClientFrame, Refusal};
use crate::protocol::{Control, Disconnect, ErrorCode, LogId, Payload, Target};
use crate::security::{Identity, TokenError};
use crate::session::decide::{Decision, decide};
use crate::session::liveness::CLOSE_PATIENCE;
use crate::telemetry::Limit;
use crate::transport::{Connection, Session};

/// Bad frames in a row that make a client abusive.
pub(super) const BAD_FRAMES_MAX: u8 = 100;
/// Bytes taken from a client that has been told goodbye, before the socket is cut under it.
const FAREWELL_MAX: usize = 1024 * 1024;

/// Serves a connection to its end. `first` is what hyper had read beyond the request.
///
/// What an idle connection's task holds is in this future: what is here once is not to be there twice, as the arguments of
/// an `async fn` would be.
pub(super) fn serve(
    shard: Rc<Shard>,
    connection: Rc<Connection>,
    first: Vec<u8>,
) -> impl Future<Output = ()> {
    let mut reader = Reader {
        decoder: Decoder::new(shard.settings().max_message),
        rest: first,
        digested: 0,
        dead: false,
        discarded: 0,
    };
    let place = Place { shard, connection };
    let mut later = Later::default();
    async move {
        let Place { shard, connection } = &place;
        loop {
            if !later.is_empty() {
                Box::pin(settle(shard, connection, &mut later)).await;
            }
            if reader.has_rest() {
                reader.go_on(shard, connection, &mut later);
                continue;
            }
            if poll_fn(|cx| connection.poll_readable(cx)).await.is_err() {
                return;
            }
            match reader.read(shard, connection, &mut later) {
                Read::End => return,
                // A client that sends without pause must not keep the shard from its other work: nothing above waits then.
                Read::Full => tokio::task::yield_now().await,
                Read::Drained => {}
            }
        }
    }
}

/// Waits for everything that could not be done at once, in order.
pub(super) async fn settle(shard: &Rc<Shard>, connection: &Rc<Connection>, later: &mut Later) {
    let began = Instant::now();
    loop {
        later.hand_over(shard.context()).await;
        // What the client said meanwhile is in the socket: it has not been silent.
        connection.heard(shard.now());
        let Some(text) = later.take_held() else {
            break;
        };
        held::take(shard, connection, &text, later).await;
    }
    // One that has become idle keeps no room for what it may say again.
    *later = Later::default();
    let session = connection.session().map(|session| session.id);
    let session = session.as_ref().map(|id| id as &dyn std::fmt::Display);
    shard
        .context()
        .instruments
        .message(session, began.elapsed());
}

/// What one read found.
enum Read {
    /// As much as the buffer holds; there may be more.
    Full,
    /// All there was.
    Drained,
    /// The socket's end.
    End,
}

struct Reader {
    decoder: Decoder,
    /// What came behind a message that had to wait, and how much of it has been digested since.
    rest: Vec<u8>,
    digested: usize,
    /// The client broke the protocol: nothing it sends means anything any more.
    dead: bool,
    discarded: usize,
}

impl Reader {
    fn read(&mut self, shard: &Rc<Shard>, connection: &Rc<Connection>, later: &mut Later) -> Read {
        let mut buffer = shard.read_buffer().borrow_mut();
        match connection.try_read(&mut buffer) {
            Ok(0) => Read::End,
            Ok(read) => {
                connection.heard(shard.now());
                let full = read == buffer.len();
                let bytes = buffer.get_mut(..read).unwrap_or_default();
                if connection.is_closing() {
                    self.discard(connection, read);
                }
                let digested = self.digest(shard, connection, bytes, later);
                self.rest = bytes.get(digested..).unwrap_or_default().to_vec();
                self.digested = 0;
                if full { Read::Full } else { Read::Drained }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Read::Drained,
            Err(_) => Read::End,
        }
    }

    fn has_rest(&self) -> bool {
        self.digested < self.rest.len()
    }

    /// Goes on behind the message that had to wait.
    fn go_on(&mut self, shard: &Rc<Shard>, connection: &Rc<Connection>, later: &mut Later) {
        let mut rest = std::mem::take(&mut self.rest);
        let bytes = rest.get_mut(self.digested..).unwrap_or_default();
        let digested = self.digest(shard, connection, bytes, later);
        self.digested += digested;
        // An idle connection keeps no room for what once came.
        if self.digested < rest.len() {
            self.rest = rest;
        }
    }

    fn discard(&mut self, connection: &Connection, more: usize) {
        self.discarded += more;
        if self.discarded > FAREWELL_MAX {
            connection.cut();
        }
    }

    /// Deals with messages up to one behind which the others have to wait; how many bytes that took.
    fn digest(
        &mut self,
        shard: &Rc<Shard>,
        connection: &Rc<Connection>,
        bytes: &mut [u8],
        later: &mut Later,
    ) -> usize {
        let (room, mut waiting, mut digested) = (bytes.len(), 0, 0);
        while digested < room && !self.dead {
            let bytes = bytes.get_mut(digested..).unwrap_or_default();
            let decoded = if connection.codec().inflates() {
                let mut inflater = shard.inflater().borrow_mut();
                self.decoder.decode_with(bytes, &mut inflater)
            } else {
                self.decoder.decode(bytes)
            };
            match decoded {
                Ok(decoded) => {
                    digested += decoded.consumed;
                    match decoded.message {
                        Some(Message::Close(frame)) => {
                            self.dead = true;
                            answer_close(shard, connection, frame.map(|frame| frame.code));
                        }
                        Some(message) if !connection.is_closing() => {
                            take(shard, connection, &message, later);
                            if !later.is_empty() {
                                waiting += size(&message);
                            }
                        }
                        Some(_) => {}
                        None => return room,
                    }
                    // What is only to be handed on waits together, unless it has grown beyond what came.
                    if later.is_holding() || waiting > room {
                        return digested;
                    }
                }
                Err(violation) => self.violated(shard, connection, violation),
            }
        }
        // Behind the end of the conversation nothing means anything.
        room
    }

    fn violated(&mut self, shard: &Rc<Shard>, connection: &Rc<Connection>, violation: Violation) {
        tracing::debug!(peer = %connection.peer(), %violation, "protocol violation");
        self.dead = true;
        let limit = match violation {
            Violation::TooManyFragments { .. } => Some(Limit::Fragments),
            Violation::MessageTooBig { .. } => Some(Limit::MessageSize),
            _ => None,
        };
        if let Some(limit) = limit {
            shard.context().admission.met(limit);
        }
        shard.close(connection, Disconnect::Protocol(violation.close_code()));
    }
}

const fn size(message: &Message<'_>) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
    }
}

/// RFC 6455 §5.5.1: the close frame is answered with the code it came with.
fn answer_close(shard: &Shard, connection: &Rc<Connection>, code: Option<u16>) {
    connection.peer_has_closed();
    if connection.begin_close(Disconnect::ClientClosed) {
        let answer = match code {
            Some(code) => wsc_wire::encode_close(code, ""),
            None => wsc_wire::encode(Opcode::Close, b""),
        };
        shard.push_anyway(connection, Rc::new(answer));
        shard.schedule(connection, shard.now().saturating_add(CLOSE_PATIENCE));
    } else if connection.outbox().borrow().is_empty() {
        // The answer to our own close frame: whatever was written before that has arrived.
        if let Some(session) = connection.session()
            && let Some(position) = session
                .cursors
                .borrow()
                .at(&LogId::Inbox(session.identity().user.clone()))
        {
            shard.saw(connection, position);
        }
        connection.cut();
    }
}

/// Deals with one message.
pub(super) fn take(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    message: &Message<'_>,
    later: &mut Later,
) {
    match message {
        Message::Text(text) if shard.settings().echo => {
            let frame = connection.codec().frame(Opcode::Text, text.as_bytes());
            shard.push(connection, Rc::new(frame));
        }
        Message::Binary(bytes) if shard.settings().echo => {
            let frame = connection.codec().frame(Opcode::Binary, bytes);
            shard.push(connection, Rc::new(frame));
        }
        Message::Text(text) => take_data(shard, connection, Payload::Text(text), later),
        Message::Binary(bytes) => take_data(shard, connection, Payload::Binary(bytes), later),
        Message::Ping(payload) => {
            let pong = wsc_wire::encode(Opcode::Pong, payload);
            shard.push(connection, Rc::new(pong));
        }
        Message::Pong(_) => {
            let session = connection.session();
            let has = session.and_then(|session| session.cursors.borrow_mut().ponged());
            if let Some(position) = has {
                shard.saw(connection, position);
            }
        }
        Message::Close(_) => {}
    }
}

/// Deals with a frame in whatever form the connection's codec reads.
pub(super) fn take_data(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    payload: Payload<'_>,
    later: &mut Later,
) {
    match connection.codec().read(payload) {
        Ok(text) => take_text(shard, connection, &text, later),
        Err(refusal) => refuse(shard, connection, &refusal),
    }
}

/// Deals with a frame in its JSON form.
pub(super) fn take_text(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    text: &str,
    later: &mut Later,
) {
    let frame = match ClientFrame::parse(text) {
        Ok(frame) => frame,
        Err(refusal) => return refuse(shard, connection, &refusal),
    };
    let identity = connection.session().map(Session::identity);
    match decide(&frame, identity.as_deref(), shard.settings().offered()) {
        Decision::Authenticate(_) | Decision::Call(_) | Decision::Acknowledge(..) => {
            later.hold(text);
        }
        // The store says who may send to a group, the desk who takes part in a ticket.
        Decision::Publish(Target::Group(_) | Target::Ticket(_), _) => later.hold(text),
        // Extensions may have to be waited for.
        Decision::Publish(..) if shard.context().service.decides_messages() => later.hold(text),
        now if !rate::within(shard, connection, (&now, frame.id()), text.len()) => {}
        now => act(shard, connection, now, text.len(), later),
    }
}

/// Does what was decided and needs no waiting.
pub(super) fn act(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    decision: Decision<'_>,
    size: usize,
    later: &mut Later,
) {
    match decision {
        // What costs nothing makes up for nothing.
        Decision::Pong(id) => shard.say(connection, &Control::Pong(id)),
        Decision::Publish(Target::Application, body)
            if !shard.context().service.decides_messages() =>
        {
            let message = "no target, and no application hook takes frames without one".to_owned();
            let refusal = Refusal {
                code: ErrorCode::NotSupported,
                message,
                ref_id: body.id.map(str::to_owned),
            };
            refuse(shard, connection, &refusal);
        }
        Decision::Publish(target, body) => {
            connection.good_frame();
            let passed = Passed {
                target: &target,
                body,
                size,
                holders: None,
            };
            shard.publish(connection, passed, later);
        }
        Decision::Refuse(refusal) => refuse(shard, connection, &refusal),
        Decision::NotAuthenticated => shard.close(connection, Disconnect::Unauthenticated),
        Decision::Remember(position) => shard.saw(connection, position),
        // These are waited for, in `held`.
        Decision::Authenticate(_) | Decision::Call(_) | Decision::Acknowledge(..) => {}
    }
}

/// Who the token says it is, unless it was taken back; `None`: this gateway checks no tokens.
pub(super) async fn verify(shard: &Shard, token: &str) -> Option<Result<Identity, TokenError>> {
    let settings = shard.settings();
    let judged = settings.verifier.as_ref()?.verify_anew(token).await;
    let judged = judged.and_then(|identity| {
        let is_over = shard.context().revocations.cover(&identity);
        if is_over {
            Err(TokenError::Revoked)
        } else {
            Ok(identity)
        }
    });
    if let Err(error) = &judged {
        shard.context().instruments.token_refused(error.label());
    }
    Some(judged)
}

/// Who the token says it is; otherwise the connection is closed.
pub(super) async fn authenticate(
    shard: &Shard,
    connection: &Rc<Connection>,
    token: &str,
) -> Option<Identity> {
    let (admission, address) = (&shard.context().admission, connection.peer().ip());
    if admission.may_try_token(address, token).is_err() {
        shard.close(connection, Disconnect::LockedOut);
        return None;
    }
    let judged = verify(shard, token).await;
    if let Some(judged) = &judged {
        admission.tried_token(address, token, judged);
    }
    let why = match judged {
        Some(Ok(identity)) => return Some(identity),
        Some(Err(error)) => {
            tracing::debug!(peer = %connection.peer(), reason = error.label(), "token refused");
            match error {
                TokenError::NoKeys => Disconnect::Unavailable,
                TokenError::Revoked => Disconnect::TokenRevoked,
                _ => Disconnect::Unauthenticated,
            }
        }
        // Without a verifier every connection has its identity from the handshake.
        None => Disconnect::Internal,
    };
    shard.close(connection, why);
    None
}

/// Tells a client that a frame was not taken, and ends the patience with one that sends nothing but bad ones.
pub(super) fn refuse(shard: &Shard, connection: &Rc<Connection>, refusal: &Refusal) {
    if connection.session().is_none() {
        return shard.close(connection, Disconnect::Unauthenticated);
    }
    shard.refused(connection, refusal);
    if connection.bad_frame() > BAD_FRAMES_MAX {
        return shard.close(connection, Disconnect::Abuse);
    }
    shard.say(connection, &Control::Error(refusal));
}
