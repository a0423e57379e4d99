//! The gRPC skin: `wsc.v1.WscService`, `wsc.v1.GroupService`, `wsc.v1.TicketService`, `grpc.health.v1.Health`, and
//! reflection where it is asked for.
//!
//! The key is judged on the headers of a call, before its message is read. Health needs no key: probes have none.
//! Limits of HTTP/2 and of connections are in `serve`, the meaning of each call in `service`.

mod convert;
mod desk;
mod groups;
mod guard;
mod serve;
mod service;
mod socket;
mod tickets;

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::http::Response as HttpResponse;
use axum::middleware::from_fn_with_state;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tower::{Service, service_fn};
use wsc_proto::v1::group_service_server::GroupServiceServer;
use wsc_proto::v1::ticket_service_server::TicketServiceServer;
use wsc_proto::v1::wsc_service_server::WscServiceServer;

pub use serve::serve_grpc;

use super::calls::{ApiContext, BodyLimit};
use super::fault::Fault;
use super::traced::traced;
use groups::GrpcGroups;
use service::GrpcApi;
use tickets::GrpcTickets;

use crate::telemetry::{ApiKind, ApiMethod};

/// Whether callers can ask which services and methods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reflection {
    /// As `grpc.reflection: true` says.
    On,
    /// The default.
    Off,
}

/// The descriptors could not be read; they are made with the code, so that this is a defect of the build.
#[derive(Debug, thiserror::Error)]
#[error("the descriptors for gRPC reflection cannot be read")]
pub struct ReflectionError(#[from] tonic_reflection::server::Error);

/// What `grpc.health.v1` says of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GrpcHealth(HealthReporter);

impl GrpcHealth {
    /// From now on calls are welcome.
    pub async fn serving(&self) {
        self.set(ServingStatus::Serving).await;
    }

    /// From now on callers should go elsewhere; calls are answered all the same.
    pub async fn not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        // The empty name stands for the whole server.
        let names = [
            "",
            <WscServiceServer<GrpcApi> as NamedService>::NAME,
            <GroupServiceServer<GrpcGroups> as NamedService>::NAME,
            <TicketServiceServer<GrpcTickets> as NamedService>::NAME,
        ];
        for service in names {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// Runs one call to its end and wraps what came of it.
async fn answered<T>(
    api: &ApiContext,
    method: ApiMethod,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<Response<T>, Status> {
    Ok(Response::new(api.run(ApiKind::Grpc, method, work).await?))
}

/// The routes of a service whose messages may have as many bytes as the limit is when a call comes: tonic fixes it when a
/// service is made, so that each call gets one of its own.
fn limited<S>(
    limit: &BodyLimit,
    make: impl Fn(usize) -> S + Clone + Send + Sync + 'static,
) -> Router
where
    S: Service<Request, Response = HttpResponse<Body>, Error = Infallible> + NamedService,
    S::Future: Send + 'static,
{
    let limit = limit.clone();
    let call = service_fn(move |request: Request| make(limit.bytes()).call(request));
    Router::new().route_service(&format!("/{}/{{*method}}", S::NAME), call)
}

/// Every service. Health says "not serving" until it is told otherwise.
pub async fn grpc_routes(
    context: ApiContext,
    reflection: Reflection,
) -> Result<(Routes, GrpcHealth), ReflectionError> {
    let limit = &context.max_body;
    let api = context.clone();
    let service = limited(limit, move |bytes| {
        WscServiceServer::new(GrpcApi::new(api.clone())).max_decoding_message_size(bytes)
    });
    let api = context.clone();
    let groups = limited(limit, move |bytes| {
        GroupServiceServer::new(GrpcGroups::new(api.clone())).max_decoding_message_size(bytes)
    });
    let api = context.clone();
    let tickets = limited(limit, move |bytes| {
        TicketServiceServer::new(GrpcTickets::new(api.clone())).max_decoding_message_size(bytes)
    });
    let guarded = Routes::default()
        .into_axum_router()
        .merge(service)
        .merge(groups)
        .merge(tickets)
        .layer(from_fn_with_state(context.clone(), guard::judge))
        .layer(from_fn_with_state(context.clone(), traced));
    let (reporter, health_service) = health_reporter();
    let health = GrpcHealth(reporter);
    health.not_serving().await;
    let mut routes = Routes::from(guarded);
    if reflection == Reflection::On {
        let service = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wsc_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        routes = routes.add_service(service);
    }
    let gate = from_fn_with_state(context, guard::gate);
    let gated = routes.into_axum_router().layer(gate);
    // Probes come from anywhere, and are told nothing but that.
    Ok((Routes::from(gated).add_service(health_service), health))
}
