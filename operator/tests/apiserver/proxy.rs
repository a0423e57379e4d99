//! What stands between an operator and the API server: it lets requests through, counts them, and does to them what a test
//! wants. It has the rights; who asks it needs none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Answer = UnsyncBoxBody<Bytes, Fault>;

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub is_watch: bool,
    pub at: Instant,
    /// Which of the writes this is, counted from one; leases and events do not count.
    pub write: Option<usize>,
}

impl Call {
    pub fn is_lease(&self) -> bool {
        self.path.contains("/leases")
    }

    fn is_told(&self) -> bool {
        self.path.contains("/events")
    }

    fn is_write(&self) -> bool {
        self.method != Method::GET && !self.is_lease() && !self.is_told()
    }
}

/// What is done to a request.
#[derive(Clone, Debug)]
pub enum Deed {
    Pass,
    /// It is passed on after a while.
    Slow(Duration),
    /// It is answered with this code, and with the seconds after which to try again.
    Refuse(u16, Option<u32>),
    /// Its connection is closed.
    Cut,
    /// A watch that began is told that its version is too old.
    Expired,
    /// It is never answered, and never reaches the API server.
    Silence,
    /// It reaches the API server, and nobody hears what became of it.
    Last,
}

type Plan = Arc<dyn Fn(&Call) -> Deed + Send + Sync>;

struct State {
    client: Client,
    plan: Mutex<Plan>,
    calls: Mutex<Vec<Call>>,
    /// How often everything was cut.
    cuts: watch::Sender<u64>,
    /// Whether a last request was carried out.
    last: watch::Sender<bool>,
}

/// The proxy; gone with the value.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
    token: CancellationToken,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

impl Proxy {
    pub async fn new(client: Client) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            client,
            plan: Mutex::new(Arc::new(|_| Deed::Pass)),
            calls: Mutex::default(),
            cuts: watch::Sender::new(0),
            last: watch::Sender::new(false),
        });
        let token = CancellationToken::new();
        let serving = serve(listener, Arc::clone(&state), token.clone());
        TaskTracker::new().spawn(serving);
        Self {
            address,
            state,
            token,
        }
    }

    /// What is done from now on.
    pub fn plan(&self, plan: impl Fn(&Call) -> Deed + Send + Sync + 'static) {
        *self.state.plan.lock() = Arc::new(plan);
    }

    /// Cuts every connection there is, watches in the middle of a line as well.
    pub fn cut_all(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Awaits that a last request was carried out.
    pub async fn last(&self) {
        let mut last = self.state.last.subscribe();
        last.wait_for(|reached| *reached).await.unwrap();
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().clone()
    }

    /// Writes of objects and statuses so far.
    pub fn writes(&self) -> usize {
        let calls = self.state.calls.lock();
        calls.iter().filter(|call| call.write.is_some()).count()
    }

    /// The last write that was asked for.
    pub fn last_write(&self) -> Option<Instant> {
        let calls = self.state.calls.lock();
        let mut writes = calls.iter().rev().filter(|call| call.write.is_some());
        writes.next().map(|call| call.at)
    }
}

async fn serve(listener: TcpListener, state: Arc<State>, token: CancellationToken) {
    let tracker = TaskTracker::new();
    loop {
        let socket = tokio::select! {
            () = token.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let (state, token) = (Arc::clone(&state), token.clone());
        tracker.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = converse(socket, state) => {}
            }
        });
    }
}

async fn converse(socket: TcpStream, state: Arc<State>) {
    let mut cuts = state.cuts.subscribe();
    let service = service_fn(|request| answer(Arc::clone(&state), request));
    let serving = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        _ = serving => {}
        _ = cuts.changed() => {}
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Answer>, Fault> {
    let call = note(&state, &request);
    let plan = Arc::clone(&state.plan.lock());
    match plan(&call) {
        Deed::Slow(by) => {
            tokio::time::sleep(by).await;
            pass(&state, request).await
        }
        Deed::Refuse(code, after) => Ok(refuse(code, after)),
        Deed::Cut => Err("cut as the test wants".into()),
        Deed::Expired if call.is_watch => Ok(expired()),
        Deed::Expired | Deed::Pass => pass(&state, request).await,
        Deed::Silence => std::future::pending().await,
        Deed::Last => {
            // Whoever asked may give up meanwhile, as an operator does that lost its lease: it is carried out all the same.
            TaskTracker::new().spawn(async move {
                let passed = pass(&state, request).await;
                state.last.send_replace(true);
                passed.unwrap();
            });
            std::future::pending().await
        }
    }
}

fn note(state: &State, request: &Request<Incoming>) -> Call {
    let query = request.uri().query().unwrap_or_default();
    let mut call = Call {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        is_watch: query.contains("watch=true") || query.contains("watch=1"),
        at: Instant::now(),
        write: None,
    };
    let mut calls = state.calls.lock();
    if call.is_write() {
        let before = calls.iter().filter(|call| call.write.is_some()).count();
        call.write = Some(before + 1);
    }
    calls.push(call.clone());
    call
}

async fn pass(state: &State, request: Request<Incoming>) -> Result<Response<Answer>, Fault> {
    let (mut parts, body) = request.into_parts();
    // Of this connection, not of that to the API server.
    for header in ["host", "connection", "content-length"] {
        parts.headers.remove(header);
    }
    let body = body.collect().await?.to_bytes();
    let request = Request::from_parts(parts, Body::from(body.to_vec()));
    let response = state.client.send(request).await?;
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(
        parts,
        body.map_err(Into::into).boxed_unsync(),
    ))
}

fn status(code: u16, reason: &str) -> serde_json::Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "as the test wants", "reason": reason, "code": code,
    })
}

fn refuse(code: u16, after: Option<u32>) -> Response<Answer> {
    let reason = match code {
        403 => "Forbidden",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let body = Full::new(Bytes::from(status(code, reason).to_string()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    if let Some(after) = after {
        response.headers_mut().insert("retry-after", after.into());
    }
    response
}

/// A watch that ends as one from a version that was compacted.
fn expired() -> Response<Answer> {
    let event = json!({"type": "ERROR", "object": status(410, "Expired")});
    let line = Frame::data(Bytes::from(format!("{event}\n")));
    let body = StreamBody::new(stream::iter([Ok(line)]).boxed());
    Response::new(body.boxed_unsync())
}
