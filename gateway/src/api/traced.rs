//! Reads what a caller says about tracing, before the call itself is looked at. Costs nothing when traces are off.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::calls::ApiContext;
use crate::protocol::Parent;
use crate::telemetry::traces;

/// Lets the call know what its caller decided.
pub(super) async fn traced(
    State(api): State<ApiContext>,
    request: Request,
    next: Next,
) -> Response {
    if !api.instruments.tracer().is_on() {
        return next.run(request).await;
    }
    let header = request.headers().get("traceparent");
    let header = header.and_then(|value| value.to_str().ok());
    let parent = header.map(Parent::of_header).unwrap_or_default();
    traces::called_by(parent, next.run(request)).await
}
