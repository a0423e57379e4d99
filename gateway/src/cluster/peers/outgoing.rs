//! Streams to peers: one task keeps one to each peer that has a door, for as long as the registry lists it. What is lost on
//! a stream is the broker's to send again by pub/sub; here it is only opened, written, and closed when it falls silent.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::stream::unfold;
use hyper::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::service_fn;
use wsc_proto::cluster::peers_client::PeersClient;
use wsc_proto::cluster::{Push, Taken};

use super::{Door, Heard, KEY, NODE, PROCESS, STREAM, Sent};
use crate::cluster::backoff::backoff;
use crate::cluster::shared::Shared;
use crate::cluster::{Broker, Destination, envelope};
use crate::protocol::NodeId;

/// Connecting, and the answer that the stream is open.
const OPENING: Duration = Duration::from_secs(3);
/// A stream on which nothing is acknowledged for so long is given up: longer than a peer holds it for what was said before,
/// shorter than whoever hands in work waits for room, since the courier waits here for its slowest peer.
const ACKNOWLEDGING: Duration = Duration::from_millis(800);
/// How often a quiet connection is asked whether it is there, and how long it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pushes that may wait: few wait at a time, since whoever pushes waits for the acknowledgement.
const QUEUE: usize = 128;
/// The pause after the first failure, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// What a peer is called in a handshake of TLS: no name is sent for an address.
const ANY_NAME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A stream that lived so long was good: the next pause is a short one.
const GOOD: Duration = Duration::from_secs(5);

/// Bytes in and out, with or without TLS around them.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A stream that is open, for those who write to it.
#[derive(Debug)]
pub(super) struct OpenStream {
    pub(super) id: u64,
    last: AtomicU64,
    pushes: mpsc::Sender<Push>,
    taken: watch::Sender<u64>,
    broken: CancellationToken,
}

impl OpenStream {
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Push>) {
        let (pushes, pushed) = mpsc::channel(QUEUE);
        let stream = Self {
            id: rand::random_range(1..=u64::MAX),
            last: AtomicU64::new(0),
            pushes,
            taken: watch::Sender::new(0),
            broken: CancellationToken::new(),
        };
        (Arc::new(stream), pushed)
    }

    /// The number of the next envelope. Called in the order in which they are pushed.
    pub(super) fn next_number(&self) -> u64 {
        self.last.fetch_add(1, Relaxed) + 1
    }

    /// Hands over; what finds no room breaks the stream, since a part must not be missing.
    pub(super) fn push(&self, push: Push) {
        if self.pushes.try_send(push).is_err() {
            self.break_off();
        }
    }

    /// Nothing more goes over it.
    pub(super) fn break_off(&self) {
        self.broken.cancel();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Whether everything up to this number was acknowledged before the stream broke. A stream that does not answer is
    /// broken by that.
    pub(super) async fn has_taken(&self, number: u64) -> bool {
        let mut taken = self.taken.subscribe();
        let acknowledged = timeout(ACKNOWLEDGING, taken.wait_for(|taken| *taken >= number));
        let is_taken = tokio::select! {
            biased;
            acknowledged = acknowledged => matches!(acknowledged, Ok(Ok(_))),
            () = self.broken.cancelled() => *self.taken.borrow() >= number,
        };
        if !is_taken {
            self.break_off();
        }
        is_taken
    }
}

/// Keeps streams to all peers.
pub(super) struct Dialler {
    pub(super) shared: Arc<Shared>,
    pub(super) sent: Arc<Sent>,
    pub(super) heard: Arc<Heard>,
    pub(super) pub_sub: Arc<dyn Broker>,
    pub(super) tasks: TaskTracker,
}

impl Dialler {
    pub(super) async fn run(self, cancel: CancellationToken) {
        let mut view = self.shared.watch_view();
        let mut dialled: HashMap<NodeId, (Door, CancellationToken)> = HashMap::new();
        loop {
            let seen = view.borrow_and_update().clone();
            let doors: HashMap<NodeId, Door> = seen
                .peers
                .iter()
                .filter_map(|peer| Some((peer.node.clone(), peer.door.clone()?)))
                .collect();
            dialled.retain(|node, (door, ended)| {
                let is_there = doors.get(node) == Some(door);
                if !is_there {
                    ended.cancel();
                }
                is_there
            });
            for (node, door) in doors {
                dialled.entry(node.clone()).or_insert_with(|| {
                    let ended = cancel.child_token();
                    let line = Line {
                        shared: Arc::clone(&self.shared),
                        sent: Arc::clone(&self.sent),
                        pub_sub: Arc::clone(&self.pub_sub),
                        node,
                        door: door.clone(),
                    };
                    self.tasks.spawn(line.keep(ended.clone()));
                    (door, ended)
                });
            }
            let is_peer = |node: &NodeId| seen.peers.iter().any(|peer| peer.node == *node);
            self.sent.keep(is_peer);
            self.heard.keep(is_peer);
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = view.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// The way to one peer.
struct Line {
    shared: Arc<Shared>,
    sent: Arc<Sent>,
    pub_sub: Arc<dyn Broker>,
    node: NodeId,
    door: Door,
}

impl Line {
    async fn keep(self, ended: CancellationToken) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let why = tokio::select! {
                () = ended.cancelled() => return,
                why = self.live(&ended) => why,
            };
            if began.elapsed() > GOOD {
                failures = 0;
            }
            tracing::debug!(node = %self.node, door = ?self.door, %why, "no stream to a peer");
            tokio::select! {
                () = ended.cancelled() => return,
                () = sleep(backoff(BACKOFF.0, BACKOFF.1, failures)) => failures += 1,
            }
        }
    }

    /// One stream from beginning to end; returns why it ended.
    async fn live(&self, ended: &CancellationToken) -> Status {
        let (stream, pushed) = OpenStream::new();
        let opened = timeout(OPENING, self.open(&stream, pushed)).await;
        let mut acknowledged = match opened {
            Ok(Ok(acknowledged)) => acknowledged,
            Ok(Err(status)) => return status,
            Err(_) => return Status::deadline_exceeded("no answer to opening"),
        };
        let first = envelope::canary(&self.shared.identity, 0);
        let first = self.sent.open(&self.node, Arc::clone(&stream), &first);
        self.shared.stats.streams.fetch_add(1, Relaxed);
        // Whatever ends this, also that it is not polled again, ends the stream for those who write to it.
        let _open = Opened {
            line: self,
            stream: &stream,
        };
        let to = Destination::Node(self.node.clone());
        // The peer waits for it a while and goes on without it, should pub/sub be away.
        let _lost = self.pub_sub.publish(vec![(to, first)]).await;
        loop {
            tokio::select! {
                () = ended.cancelled() => return Status::cancelled("the peer is gone or this node ends"),
                () = stream.broken.cancelled() => return Status::deadline_exceeded("nothing was acknowledged"),
                word = acknowledged.message() => match word {
                    Ok(Some(Taken { last })) => drop(stream.taken.send_replace(last)),
                    Ok(None) => return Status::unavailable("the peer ended the stream"),
                    Err(status) => return status,
                },
            }
        }
    }

    /// In the clear, or by TLS with whoever shows the certificate that the registry names.
    async fn connect(&self) -> Result<Channel, anyhow::Error> {
        let tls = match self.door.certificate {
            Some(certificate) => Some(TlsConnector::from(Arc::new(certificate.client(b"h2")?))),
            None => None,
        };
        let address: Arc<str> = self.door.address.as_str().into();
        let dial = service_fn(move |_: Uri| dial(Arc::clone(&address), tls.clone()));
        let endpoint = Endpoint::from_shared(format!("http://{}", self.door.address))?
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(endpoint.connect_with_connector(dial).await?)
    }

    async fn open(
        &self,
        stream: &OpenStream,
        pushed: mpsc::Receiver<Push>,
    ) -> Result<tonic::Streaming<Taken>, Status> {
        let channel = self
            .connect()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let pushes = unfold(pushed, async |mut pushed: mpsc::Receiver<Push>| {
            let push = pushed.recv().await?;
            Some((push, pushed))
        });
        let mut request = Request::new(pushes);
        let ascii = |text: &str| {
            AsciiMetadataValue::try_from(text)
                .map_err(|_| Status::internal("a name that no header can hold"))
        };
        let metadata = request.metadata_mut();
        metadata.insert(KEY, ascii(&self.door.key)?);
        metadata.insert(NODE, ascii(self.shared.identity.node.as_str())?);
        metadata.insert(PROCESS, self.sent.process.into());
        metadata.insert(STREAM, stream.id.into());
        let answer = PeersClient::new(channel).exchange(request).await?;
        Ok(answer.into_inner())
    }
}

async fn dial(
    address: Arc<str>,
    tls: Option<TlsConnector>,
) -> io::Result<TokioIo<Box<dyn Duplex>>> {
    let socket = TcpStream::connect(&*address).await?;
    socket.set_nodelay(true)?;
    let Some(tls) = tls else {
        return Ok(TokioIo::new(Box::new(socket)));
    };
    // The certificate is known by itself: the name is nobody's.
    let socket = tls.connect(ServerName::from(ANY_NAME), socket).await?;
    Ok(TokioIo::new(Box::new(socket)))
}

/// Closes when dropped.
struct Opened<'a> {
    line: &'a Line,
    stream: &'a Arc<OpenStream>,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.stream.break_off();
        self.line.sent.close(&self.line.node, self.stream);
        self.line.shared.stats.streams.fetch_sub(1, Relaxed);
    }
}
