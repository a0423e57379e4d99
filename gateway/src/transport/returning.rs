//! Whoever comes may have been away: what was said meanwhile in the tickets that a user takes part in is looked for, for all
//! who come at the same time together.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use crate::hub::Shard;
use crate::protocol::{LogId, Position};
use crate::transport::Connection;

/// How long those who come are gathered, to be looked for together: in a storm a look for each would wake the desk's thread
/// as often as somebody comes.
const GATHERING: Duration = Duration::from_millis(2);

/// So many are looked for at once: each look goes through the open tickets for each of them, and agents wait meanwhile.
const AT_ONCE: usize = 64;

/// Has a session follow the tickets that its user takes part in, so that it gets what was said while the user was away.
pub(super) fn follow_tickets(shard: &Rc<Shard>, connection: &Rc<Connection>) {
    let Some(session) = connection.session() else {
        return;
    };
    // Most sessions have nothing to wait for.
    if shard.context().tickets.kept_for_the_absent().is_none() {
        return;
    }
    session.cursors.borrow_mut().hold_tickets();
    if shard.comes_back(connection) {
        let shard = Rc::clone(shard);
        tokio::task::spawn_local(async move {
            sleep(GATHERING).await;
            for come in shard.take_back().chunks(AT_ONCE) {
                look_for(&shard, come).await;
            }
        });
    }
}

/// Asks for the tickets of these who have come.
async fn look_for(shard: &Rc<Shard>, come: &[Rc<Connection>]) {
    let user = |connection: &Rc<Connection>| Some(connection.session()?.identity().user.clone());
    let users = come.iter().filter_map(user).collect();
    let mut open = shard.context().tickets.open_for(users).await.into_iter();
    // Whoever is here has a session, and keeps it.
    for connection in come {
        let open = open.next().unwrap_or_default();
        if open.is_empty() {
            follow(shard, connection, Vec::new());
            continue;
        }
        let (shard, connection) = (Rc::clone(shard), Rc::clone(connection));
        tokio::task::spawn_local(async move {
            let waiting = shard.context().tickets.kept(open).await;
            follow(&shard, &connection, waiting);
        });
    }
}

/// Follows the tickets that wait for the session, and those that it met meanwhile.
fn follow(shard: &Rc<Shard>, connection: &Rc<Connection>, waiting: Vec<(LogId, Option<Position>)>) {
    let Some(session) = connection.session() else {
        return;
    };
    let mut held = session.cursors.borrow_mut().release_tickets();
    if connection.is_closing() {
        return;
    }
    for (log, place) in waiting {
        let was_held = held.iter().position(|held| *held == log);
        let was_held = was_held.map(|at| held.swap_remove(at)).is_some();
        // Where the client said it was is better than where it may have been.
        if was_held || session.cursors.borrow().at(&log).is_none() {
            shard.follow(connection, log, Some(place.unwrap_or_default()));
        }
    }
    for log in held {
        shard.follow(connection, log, None);
    }
}
