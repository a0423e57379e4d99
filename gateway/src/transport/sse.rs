//! A stream of events on the raw socket: what the outbox writes.
//!
//! From the head on this is a connection like a WebSocket's, with the same outbox and the same writer. Its client has
//! nothing more to say: what it sends is thrown away, and the end of what it sends is its end. The body has no length and
//! ends with the socket, so that an event is the same bytes for everyone.

use std::rc::Rc;

use super::Connection;
use super::place::Place;
use crate::hub::Shard;

/// Bytes a client may send into its own stream before it is cut.
const NOISE_MAX: usize = 64 * 1024;
/// The bounds of the pause, in milliseconds, after which a browser comes back by itself: at random between them, so that
/// those whom a node loses do not come back at once.
const RETRY: std::ops::Range<u32> = 1000..4000;

/// The first lines of the stream.
pub(super) fn first_lines() -> String {
    let retry = rand::random_range(RETRY);
    format!("retry: {retry}\n\n")
}

/// Waits for the end of a stream.
pub(super) async fn serve(shard: Rc<Shard>, connection: Rc<Connection>) {
    let place = Place { shard, connection };
    let Place { shard, connection } = &place;
    let mut noise = 0;
    while noise < NOISE_MAX && connection.readable().await.is_ok() {
        let read = connection.try_read(&mut shard.read_buffer().borrow_mut());
        match read {
            Ok(0) => return,
            Ok(read) => noise += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
