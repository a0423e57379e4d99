//! A stream on its shard: a connection like a WebSocket's, whose frames come as messages and whose socket is a pipe.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{Buf as _, Bytes};
use tokio::time::Instant;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder, Streaming};
use tonic::{Code, Status};
use wsc_wire::Message;

use crate::hub::{Later, Shard};
use crate::protocol::Disconnect;
use crate::transport::carrier::Carried;
use crate::transport::pipe::PipeWriter;
use crate::transport::place::Place;
use crate::transport::upgrade::Accepted;
use crate::transport::{Connection, Socket, open, reader};

/// What a stream's decoder holds before anything has come. tonic's own 8 KiB are for calls, of which there are few.
const BUFFER: usize = 256;
/// How much it decodes in one go.
const TURN: usize = 16 * 1024;

/// A call that was let in, on its way to its shard.
#[derive(Debug)]
pub struct Stream {
    /// What was agreed.
    pub(super) accepted: Accepted,
    /// What the client says.
    pub(super) said: Streaming<Bytes>,
    /// What it hears.
    pub(super) heard: PipeWriter,
    /// Where it is, as far as anybody trusted says.
    pub(super) client: SocketAddr,
    /// Its part of the connection that it came by.
    pub(super) carried: Carried,
    /// When the call came.
    pub(super) began: Instant,
}

/// Messages as they come; what they mean is the codec's to say.
#[derive(Debug)]
pub(super) struct Whole;

impl Decoder for Whole {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, TURN)
    }
}

/// Takes a stream and serves it to its end.
pub fn accept(shard: &Rc<Shard>, stream: Stream) {
    let Stream {
        accepted,
        said,
        heard,
        client,
        carried,
        began,
    } = stream;
    let connection = shard.enter(Socket::Pipe(heard), accepted.codec, client);
    // From here on the connection itself is counted.
    drop(accepted.place);
    let place = Place {
        shard: Rc::clone(shard),
        connection,
    };
    shard.context().instruments.handshake(began.elapsed());
    tokio::task::spawn_local(async move {
        let (identity, resume) = (accepted.identity, accepted.resume);
        Box::pin(open::begin(
            &place.shard,
            &place.connection,
            (identity, resume),
        ))
        .await;
        serve(&place, said).await;
        drop((place, carried));
    });
}

async fn serve(place: &Place, mut said: Streaming<Bytes>) {
    let Place { shard, connection } = place;
    let mut later = Later::default();
    loop {
        if !later.is_empty() {
            Box::pin(reader::settle(shard, connection, &mut later)).await;
        }
        let next = tokio::select! {
            biased;
            // It is over when the last words are on their way.
            _ = connection.readable() => return,
            next = said.message() => next,
        };
        match next {
            Ok(Some(frame)) if !connection.is_closing() => {
                connection.heard(shard.now());
                reader::take(shard, connection, &Message::Binary(&frame), &mut later);
            }
            Ok(Some(_)) => {}
            Ok(None) => return farewell(shard, connection, Disconnect::ClientClosed).await,
            Err(status) => match violation(&status) {
                Some(why) => return farewell(shard, connection, why).await,
                None => return,
            },
        }
    }
}

/// What the client did wrong; `None`: it is gone.
fn violation(status: &Status) -> Option<Disconnect> {
    match status.code() {
        // tonic says so of a message over the limit, and of nothing else.
        Code::OutOfRange => Some(Disconnect::Protocol(1009)),
        Code::Internal | Code::Unimplemented | Code::InvalidArgument => {
            Some(Disconnect::Protocol(1002))
        }
        _ => None,
    }
}

/// Ends the connection and waits until that is said, or until there is no patience left.
async fn farewell(shard: &Shard, connection: &Rc<Connection>, why: Disconnect) {
    shard.close(connection, why);
    let _over = connection.readable().await;
}
