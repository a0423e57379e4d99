//! One acceptor for all shards: it gives each accepted socket to the least loaded shard, and sheds what is too much.
//!
//! It runs on the first shard's thread, so that a node of one shard hands nothing over: a wake-up of another thread costs
//! more than the `accept`.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ws;
use crate::hub::{Command, Shard, TurnedAway};

/// Handshakes under way on one shard beyond which sockets are closed at once: a flood must not take the memory that
/// the sessions need.
pub(super) const PENDING_MAX: usize = 2048;

/// Pause after an error that accepting again at once would only repeat: no file descriptors, no memory.
const BREATH: Duration = Duration::from_millis(50);

/// A lasting lack is logged this often.
const WARN_EVERY: Duration = Duration::from_secs(5);

/// Accepts until `cancel` fires. Errors of one socket end nothing.
pub async fn accept_forever(
    shard: Rc<Shard>,
    listener: std::net::TcpListener,
    cancel: CancellationToken,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no connections can be accepted"),
    };
    let mut warned = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                if let Err(error) = give(&shard, socket, peer) {
                    tracing::debug!(%error, "a socket was lost on the way to its shard");
                }
            }
            Err(error) if is_of_one_socket(&error) => {}
            Err(error) => {
                if warned.is_none_or(|at: Instant| at.elapsed() > WARN_EVERY) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept connections for the moment");
                }
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

fn give(own: &Rc<Shard>, socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let context = own.context();
    let Some((id, shard)) = context.hub.least_loaded() else {
        return Ok(());
    };
    if shard.pending().load(Relaxed) >= PENDING_MAX {
        shard.stats().count_refused(TurnedAway::Pending);
        return Ok(());
    }
    let Some(place) = context.admission.handshake(peer.ip()) else {
        shard.stats().count_refused(TurnedAway::Handshakes);
        return Ok(());
    };
    if id == own.id() {
        shard.pending().fetch_add(1, Relaxed);
        ws::accept(own, socket, peer, place);
        return Ok(());
    }
    // The other shard has a reactor of its own.
    let socket = socket.into_std()?;
    shard.pending().fetch_add(1, Relaxed);
    let command = Command::Accept(socket, peer, place);
    if context.hub.try_post(id, command).is_err() {
        shard.pending().fetch_sub(1, Relaxed);
        shard.stats().count_refused(TurnedAway::Pending);
    }
    Ok(())
}

/// The peer went away before it was accepted; the listener is fine.
fn is_of_one_socket(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
