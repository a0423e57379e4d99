//! The gRPC API on a socket of its own, with clients that may know the key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use wsc_gateway::admission::Door;
use wsc_gateway::api::{GrpcHealth, MAX_CONNECTIONS, Reflection, grpc_routes, serve_grpc};
use wsc_gateway::telemetry::Instruments;
use wsc_proto::v1::SendRequest;
use wsc_proto::v1::wsc_service_client::WscServiceClient;

use super::service::{KEY, Recorder, context};

pub(crate) struct GrpcApi {
    pub(crate) address: SocketAddr,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) health: GrpcHealth,
    pub(crate) instruments: Instruments,
    pub(crate) cancel: CancellationToken,
    pub(crate) server: JoinSet<Result<(), tonic::transport::Error>>,
}

pub(crate) type Client = WscServiceClient<Channel>;

impl GrpcApi {
    pub(crate) async fn start() -> Self {
        Self::start_with(Some(KEY), Duration::from_secs(10), Reflection::Off).await
    }

    pub(crate) async fn start_with(
        key: Option<&str>,
        deadline: Duration,
        reflection: Reflection,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = Arc::new(Recorder::default());
        let context = context(&recorder, key, deadline);
        let instruments = context.instruments.clone();
        let (routes, health) = grpc_routes(context, reflection).await.unwrap();
        let cancel = CancellationToken::new();
        let mut server = JoinSet::new();
        server.spawn(serve_grpc(
            (listener, Door::new(MAX_CONNECTIONS)),
            routes,
            None,
            cancel.clone(),
        ));
        Self {
            address,
            recorder,
            health,
            instruments,
            cancel,
            server,
        }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::new(self.channel().await)
    }
}

pub(crate) fn keyed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let key = format!("Bearer {KEY}").parse().unwrap();
    request.metadata_mut().insert("authorization", key);
    request
}

pub(crate) fn to_bob() -> SendRequest {
    SendRequest {
        to: vec!["bob".to_owned()],
        message: None,
    }
}
