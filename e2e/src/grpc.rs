//! The gateway's gRPC API as a backend uses it, at one chosen pod.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use kube::Client;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use wsc_proto::v1::wsc_service_client::WscServiceClient;

use crate::forward::{self, PodPort};

/// Longest a call may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// A client of the API that sends the key with each call.
pub type ApiClient = WscServiceClient<InterceptedService<Channel, ApiKey>>;

/// Connects to the gRPC port of a pod.
pub async fn connect(client: &Client, to: PodPort, key: &str) -> Result<ApiClient> {
    let what = format!("gRPC at {}/{}", to.namespace, to.pod);
    let key = ApiKey(
        format!("Bearer {key}")
            .parse()
            .context("the API key is not ASCII")?,
    );
    let client = client.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let (client, to) = (client.clone(), to.clone());
        async move {
            forward::open(&client, &to)
                .await
                .map(TokioIo::new)
                .map_err(std::io::Error::other)
        }
    });
    let channel = Endpoint::from_static("http://pod")
        .timeout(DEADLINE)
        .connect_timeout(DEADLINE)
        .connect_with_connector(connector)
        .await
        .context(what)?;
    Ok(WscServiceClient::with_interceptor(channel, key))
}

/// Puts the API key into a call's metadata.
#[derive(Clone)]
pub struct ApiKey(MetadataValue<tonic::metadata::Ascii>);

impl tonic::service::Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}
