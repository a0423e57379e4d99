//! One acceptor for all shards: it hands each accepted socket to the least loaded shard, and sheds what is too much.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::hub::{Command, Hub, TurnedAway};

/// Handshakes under way on one shard beyond which sockets are closed at once: a flood must not take the memory that
/// the sessions need.
pub(super) const PENDING_MAX: usize = 2048;

/// Pause after an error that accepting again at once would only repeat: no file descriptors, no memory.
const BREATH: Duration = Duration::from_millis(50);

/// A lasting lack is logged this often.
const WARN_EVERY: Duration = Duration::from_secs(5);

/// Accepts until `cancel` fires. Errors of one socket end nothing.
pub async fn accept_forever(
    listener: TcpListener,
    (hub, admission): (Arc<Hub>, Admission),
    cancel: CancellationToken,
) {
    let mut warned = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                if let Err(error) = hand_over((&hub, &admission), socket, peer) {
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

fn hand_over(
    (hub, admission): (&Hub, &Admission),
    socket: TcpStream,
    peer: SocketAddr,
) -> io::Result<()> {
    let Some((id, shard)) = hub.least_loaded() else {
        return Ok(());
    };
    if shard.pending().load(Relaxed) >= PENDING_MAX {
        shard.stats().count_refused(TurnedAway::Pending);
        return Ok(());
    }
    let Some(place) = admission.handshake(peer.ip()) else {
        shard.stats().count_refused(TurnedAway::Handshakes);
        return Ok(());
    };
    let socket = socket.into_std()?;
    shard.pending().fetch_add(1, Relaxed);
    if hub
        .try_post(id, Command::Accept(socket, peer, place))
        .is_err()
    {
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
