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

use axum::middleware::from_fn_with_state;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use wsc_proto::v1::group_service_server::GroupServiceServer;
use wsc_proto::v1::ticket_service_server::TicketServiceServer;
use wsc_proto::v1::wsc_service_server::WscServiceServer;

pub use serve::serve_grpc;

use super::calls::ApiContext;
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

/// Every service. Health says "not serving" until it is told otherwise.
pub async fn grpc_routes(
    context: ApiContext,
    reflection: Reflection,
) -> Result<(Routes, GrpcHealth), ReflectionError> {
    let service = WscServiceServer::new(GrpcApi::new(context.clone()))
        .max_decoding_message_size(context.max_body_bytes);
    let groups = GroupServiceServer::new(GrpcGroups::new(context.clone()))
        .max_decoding_message_size(context.max_body_bytes);
    let tickets = TicketServiceServer::new(GrpcTickets::new(context.clone()))
        .max_decoding_message_size(context.max_body_bytes);
    let guarded = Routes::new(service)
        .add_service(groups)
        .add_service(tickets)
        .into_axum_router()
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
