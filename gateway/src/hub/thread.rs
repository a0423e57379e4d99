//! A shard's thread: a single-threaded runtime with the command loop, the flusher and the timer.

use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio_util::sync::CancellationToken;

use super::{Command, Shard, ShardContext, ShardInbox};
use crate::protocol::Disconnect;
use crate::session::liveness::TICK;
use crate::transport::{accept_forever, grpc, ws};

/// Commands taken in one turn.
const BATCH: usize = 256;

/// A running shard.
#[derive(Debug)]
pub struct ShardThread {
    thread: JoinHandle<()>,
}

impl ShardThread {
    /// Waits until the thread has ended. Blocks.
    pub fn join(self) {
        // A panicked shard has logged its message.
        let _panicked = self.thread.join();
    }
}

/// Starts a shard's thread; it ends when `cancel` fires.
pub fn spawn(
    inbox: ShardInbox,
    context: ShardContext,
    cancel: CancellationToken,
) -> std::io::Result<ShardThread> {
    let name = format!("shard-{}", inbox.id);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let built = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        match built {
            Ok(runtime) => runtime.block_on(run(inbox, context, cancel)),
            Err(error) => tracing::error!(%error, "a shard has no runtime"),
        }
    })?;
    Ok(ShardThread { thread })
}

async fn run(mut inbox: ShardInbox, context: ShardContext, cancel: CancellationToken) {
    let shard = Shard::new(inbox.id, context);
    let mut flusher = tokio::task::spawn_local(Rc::clone(&shard).flush_forever());
    let mut ticker = tokio::task::spawn_local(tick_forever(Rc::clone(&shard)));
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            taken = inbox.commands.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    return;
                }
                for command in batch.drain(..) {
                    apply(&shard, command);
                }
                // However full the queue is: sockets, timers and the flusher have their turn after each batch.
                tokio::task::yield_now().await;
            }
            () = cancel.cancelled() => return,
            // They end by a panic only. Without either the shard is of no use: its pulse stops, and liveness tells.
            _ = &mut flusher => return tracing::error!("a shard's flusher has ended, and the shard with it"),
            _ = &mut ticker => return tracing::error!("a shard's timer has ended, and the shard with it"),
        }
    }
}

async fn tick_forever(shard: Rc<Shard>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        shard.tick();
    }
}

fn apply(shard: &Rc<Shard>, command: Command) {
    match command {
        Command::Listen(listener, cancel) => {
            let accepting = accept_forever(Rc::clone(shard), listener, cancel);
            tokio::task::spawn_local(accepting);
        }
        Command::Accept(socket, peer, place) => ws::take_over(shard, socket, peer, place),
        Command::Begin(stream) => grpc::accept(shard, *stream),
        Command::Deliver { to, message } => shard.deliver(&to, &message),
        Command::Reaches(user, log, head, start) => shard.reaches(&user, &log, (head, start)),
        Command::GroupReaches(group, head) => shard.group_reaches(&group, head),
        Command::Regroup(user, group) => shard.regroup(&user, &group),
        Command::Tell(key, told) => shard.tell(key, &told),
        Command::Answered(key) => shard.nothing_more(key),
        Command::Reload(settings) => shard.reload(settings),
        Command::Kick {
            whom,
            reason,
            answer,
        } => {
            // Whoever asked may have stopped waiting.
            let _gone = answer.send(shard.kick(&whom, &reason));
        }
        Command::EndRevoked => shard.end_revoked(),
        Command::Snapshot(answer) => {
            let _gone = answer.send(shard.snapshot());
        }
        Command::Movable(min_age, most, answer) => {
            let _gone = answer.send(shard.movable(min_age, most));
        }
        Command::SendAway(key) => {
            if let Some(connection) = shard.get(key) {
                shard.send_away(&connection, Disconnect::Rebalance, Duration::ZERO);
            }
        }
        Command::Drain(plan, nodes, answer) => {
            let draining = Rc::clone(shard).drain(plan, nodes);
            tokio::task::spawn_local(async move {
                draining.await;
                let _gone = answer.send(());
            });
        }
    }
}
