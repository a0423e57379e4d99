//! Streams from peers: what comes over them goes where pub/sub's goes, in the order it was said, and is acknowledged.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, unfold};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status, Streaming};
use wsc_proto::cluster::peers_server::{Peers, PeersServer};
use wsc_proto::cluster::{Push, Taken};

use super::heard::{Heard, Said, StreamId};
use super::{Doorway, KEY, NODE, PROCESS, STREAM};
use crate::cluster::backend::Listener;
use crate::cluster::shared::Shared;
use crate::cluster::status::bump;
use crate::protocol::NodeId;

/// How long a stream waits for what was said before it by pub/sub. Then that counts as lost, as it does without streams.
const HOLDING: Duration = Duration::from_millis(500);

/// Keeps the connection that a call came by for as long as what it returns lives: the listener's business.
#[derive(Clone)]
pub struct Keep(pub Arc<dyn Fn() -> Kept + Send + Sync>);

/// See [`Keep`].
pub type Kept = Box<dyn Any + Send + Sync>;

/// See the module.
pub(in crate::cluster) struct Incoming {
    pub(in crate::cluster) door: Doorway,
    pub(in crate::cluster) shared: Arc<Shared>,
    pub(in crate::cluster) heard: Arc<Heard>,
    pub(in crate::cluster) listener: Arc<dyn Listener>,
}

/// The service that peers call, until it is cancelled.
#[derive(Clone)]
pub struct PeerService {
    incoming: Arc<Incoming>,
    cancel: CancellationToken,
}

impl PeerService {
    pub(in crate::cluster) fn new(
        incoming: Arc<Incoming>,
        cancel: CancellationToken,
    ) -> PeersServer<Self> {
        PeersServer::new(Self { incoming, cancel })
    }
}

#[tonic::async_trait]
impl Peers for PeerService {
    type ExchangeStream = BoxStream<'static, Result<Taken, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<Push>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let incoming = &self.incoming;
        let (node, id) = incoming.judge(request.metadata())?;
        let kept = request.extensions().get::<Keep>().map(|keep| keep.0());
        tracing::debug!(%node, "a stream from a peer");
        incoming.heard.begin(&node, id);
        let taking = Taking {
            incoming: Arc::clone(incoming),
            cancel: self.cancel.clone(),
            node,
            id,
            pushes: request.into_inner(),
            _kept: kept,
        };
        let taken = unfold(Some(taking), async |taking| {
            let mut taking = taking?;
            match taking.next().await? {
                Ok(last) => Some((Ok(Taken { last }), Some(taking))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(taken.boxed()))
    }
}

impl Incoming {
    /// Who calls, if it is a peer.
    fn judge(&self, metadata: &MetadataMap) -> Result<(NodeId, StreamId), Status> {
        let shown = metadata.get(KEY).map(MetadataValue::as_bytes);
        if !shown.is_some_and(|shown| self.door.opens(shown)) {
            return Err(Status::unauthenticated(
                "this is for the gateway's own nodes",
            ));
        }
        let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        let number = |name| {
            let number = text(name).and_then(|text| text.parse().ok());
            number.ok_or_else(|| Status::invalid_argument(format!("{name}: no number")))
        };
        let node =
            text(NODE).ok_or_else(|| Status::invalid_argument(format!("{NODE}: missing")))?;
        let id = StreamId {
            process: number(PROCESS)?,
            stream: number(STREAM)?,
        };
        Ok((NodeId::new(node), id))
    }
}

/// A stream that is read as fast as its acknowledgements are taken.
struct Taking {
    incoming: Arc<Incoming>,
    cancel: CancellationToken,
    node: NodeId,
    id: StreamId,
    pushes: Streaming<Push>,
    _kept: Option<Kept>,
}

impl Taking {
    /// Takes one push; nothing: the stream is over.
    async fn next(&mut self) -> Option<Result<u64, Status>> {
        let push = tokio::select! {
            () = self.cancel.cancelled() => return None,
            push = self.pushes.message() => push,
        };
        match push {
            Ok(push) => Some(self.take(push?).await),
            // The peer is gone: nobody is there to be told.
            Err(_) => None,
        }
    }

    async fn take(&self, push: Push) -> Result<u64, Status> {
        let Incoming {
            heard,
            listener,
            shared,
            door: _,
        } = &*self.incoming;
        let said = Said {
            all: push.after_all,
            direct: push.after_direct,
        };
        let caught_up = timeout(HOLDING, heard.caught_up(&self.node, self.id, said));
        if caught_up.await.is_err() {
            bump(&shared.stats.order_given_up);
            heard.give_up(&self.node, self.id, said);
        }
        if !heard.take(&self.node, self.id, push.last) {
            return Err(Status::aborted("what is on this stream comes by pub/sub"));
        }
        let count = push.envelopes.len() as u64;
        shared.stats.streamed_in.fetch_add(count, Relaxed);
        for envelope in push.envelopes {
            listener.offer(envelope);
        }
        Ok(push.last)
    }
}
