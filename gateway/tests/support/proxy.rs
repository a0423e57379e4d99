//! `Proxy`: stands between a node and Redis or etcd and can wedge what is subscribed, hang one connection, or cut everything:
//! the socket lives and nothing comes through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A proxy to one Redis.
pub struct Proxy {
    pub port: u16,
    /// Connections up to this number are wedged if they are subscribed.
    wedged: Arc<watch::Sender<usize>>,
    accepted: Arc<watch::Sender<usize>>,
    /// As long as it is true nothing passes.
    cut: Arc<watch::Sender<bool>>,
    /// As long as it is true nothing passes to the client.
    mute: Arc<watch::Sender<bool>>,
    passing: Arc<Mutex<Vec<Arc<Passing>>>>,
    _accepting: AbortOnDropHandle<()>,
}

/// One connection through the proxy.
#[derive(Default)]
struct Passing {
    /// It has subscribed.
    hears: AtomicBool,
    /// It has published.
    says: AtomicBool,
    /// Nothing passes any more, in neither direction.
    hung: AtomicBool,
    /// It is closed.
    severed: CancellationToken,
}

impl Passing {
    fn note(&self, bytes: &[u8]) {
        let has = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
        self.hears.fetch_or(has(b"SUBSCRIBE"), Relaxed);
        self.says.fetch_or(has(b"PUBLISH"), Relaxed);
    }
}

impl Proxy {
    pub async fn to(redis: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (wedged, accepted) = (
            Arc::new(watch::Sender::new(0)),
            Arc::new(watch::Sender::new(0)),
        );
        let cut = Arc::new(watch::Sender::new(false));
        let mute = Arc::new(watch::Sender::new(false));
        let (limit, count) = (wedged.clone(), accepted.clone());
        let (partition, silence) = (cut.clone(), mute.clone());
        let passing = Arc::new(Mutex::new(Vec::new()));
        let all = passing.clone();
        let tasks = TaskTracker::new();
        let accepting = tasks.clone().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                let (number, limit) = (*count.borrow(), limit.subscribe());
                let Ok(server) = TcpStream::connect(("127.0.0.1", redis)).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (there, back) = (Arc::new(Passing::default()), partition.clone());
                all.lock().push(there.clone());
                let (here, up, silence) = (there.clone(), partition.clone(), silence.clone());
                let is_mute = move || here.hears.load(Relaxed) && number <= *limit.borrow();
                let (going, coming) = (there.clone(), there);
                let [ends, ends_too] = [(); 2].map(|()| coming.severed.clone());
                let to_server = copy(from_client, to_server, move |bytes| {
                    going.note(bytes);
                    !*up.borrow() && !going.hung.load(Relaxed)
                });
                let to_client = copy(from_server, to_client, move |_| {
                    let silent = *back.borrow() || *silence.borrow() || coming.hung.load(Relaxed);
                    !is_mute() && !silent
                });
                tasks.spawn(ends.run_until_cancelled_owned(to_server));
                tasks.spawn(ends_too.run_until_cancelled_owned(to_client));
            }
        });
        Self {
            port,
            wedged,
            accepted,
            cut,
            mute,
            passing,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// From now on nothing passes, in neither direction, on no connection: a partition.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// The partition is over. What was said into it is lost, and connections that said something are dead.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }

    /// From now on nothing passes on one of the connections that neither hear nor say anything to other nodes, while it stays
    /// open. False: it is not known yet which has published.
    pub fn hang_one(&self) -> bool {
        let passing = self.passing.lock();
        let says = passing.iter().any(|one| one.says.load(Relaxed));
        let hears = passing.iter().any(|one| one.hears.load(Relaxed));
        let other = |one: &&Arc<Passing>| !one.says.load(Relaxed) && !one.hears.load(Relaxed);
        match passing.iter().find(other) {
            Some(other) if says && hears => {
                other.hung.store(true, Relaxed);
                true
            }
            _ => false,
        }
    }

    /// From now on what the client says comes through, and it hears nothing.
    pub fn mute(&self) {
        self.mute.send_replace(true);
    }

    /// From now on new connections hear again; those that were mute have lost something.
    pub fn unmute(&self) {
        self.mute.send_replace(false);
    }

    /// Closes every connection that there is.
    pub fn sever(&self) {
        for one in self.passing.lock().drain(..) {
            one.severed.cancel();
        }
    }

    /// From now on nothing reaches whoever is subscribed; new connections are not concerned.
    pub fn wedge(&self) {
        self.wedged.send_replace(*self.accepted.borrow());
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut pass: impl FnMut(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        if count == 0 || (pass(bytes) && to.write_all(bytes).await.is_err()) {
            return;
        }
    }
}
