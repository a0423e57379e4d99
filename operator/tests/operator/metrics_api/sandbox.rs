//! The metrics API on a real socket, the API server around it, and clients that speak TLS to it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::TaskTracker;
use wsc_operator::census::{Phase, PodCount, Readings, RedisLink};
use wsc_operator::counting::Counting;
use wsc_operator::metrics::Metrics;
use wsc_operator::metrics_api::{MetricsApi, Place};
use wsc_operator::scope::Scope;
use wsc_operator::stopping::Stopping;
use wsc_operator::stores::PodView;

use crate::trust::believing;

const DEADLINE: Duration = Duration::from_secs(10);
const SERVICE: &str = "wsc-operator-metrics-api";

/// The user that the API server lets do everything; another one it does not judge.
pub const AUTOSCALER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
pub const NOT_JUDGED: &str = "not-judged";

/// An authority that signs certificates of clients.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub type Pair = (String, String);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "the front proxy's authority");
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn client(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.0).unwrap();
        (signed.pem(), key.serialize_pem())
    }
}

/// What of the API server is needed, and what it was asked.
#[derive(Clone)]
pub struct ApiServer {
    front_proxy: String,
    secret: Arc<Mutex<Value>>,
    api_service: Arc<Mutex<Value>>,
    pub reviews: Arc<Mutex<Vec<Value>>>,
}

impl ApiServer {
    fn new(authority: &Authority) -> Self {
        let secret = json!({
            "metadata": {"name": SERVICE, "namespace": "wsc-system", "resourceVersion": "1"},
        });
        let api_service = json!({
            "metadata": {"name": "v1beta1.external.metrics.k8s.io", "resourceVersion": "1"},
            "spec": {
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"namespace": "wsc-system", "name": SERVICE},
            },
        });
        Self {
            front_proxy: authority.0.pem(),
            secret: Arc::new(Mutex::new(secret)),
            api_service: Arc::new(Mutex::new(api_service)),
            reviews: Arc::default(),
        }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let known = match parts.uri.path().rsplit('/').next().unwrap() {
            SERVICE => &self.secret,
            "v1beta1.external.metrics.k8s.io" => &self.api_service,
            "extension-apiserver-authentication" => return reply(&self.config_map()),
            "subjectaccessreviews" => return self.review(body),
            // The watch: the looks have to do.
            "secrets" => return forbidden(),
            other => panic!("{other}"),
        };
        let mut known = known.lock();
        if parts.method == Method::PATCH {
            for part in ["data", "spec"] {
                for (key, value) in body[part].as_object().into_iter().flatten() {
                    known[part][key] = value.clone();
                }
            }
        }
        reply(&known)
    }

    fn config_map(&self) -> Value {
        json!({
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": {
                "requestheader-client-ca-file": self.front_proxy,
                "requestheader-allowed-names": r#"["front-proxy"]"#,
                "requestheader-username-headers": r#"["X-Remote-User"]"#,
                "requestheader-group-headers": r#"["X-Remote-Group"]"#,
                "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
            },
        })
    }

    fn review(&self, mut review: Value) -> Response<Body> {
        let user = review["spec"]["user"].as_str().unwrap().to_owned();
        if user == NOT_JUDGED {
            let status = json!({"kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError", "message": "etcd is away"});
            let mut response = reply(&status);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        }
        self.reviews.lock().push(review["spec"].clone());
        review["status"] = json!({"allowed": user == AUTOSCALER});
        reply(&review)
    }

    /// What callers of the operator are told to believe.
    fn bundle(&self) -> Option<String> {
        let bundle = self.api_service.lock()["spec"]["caBundle"].clone();
        let bundle = STANDARD.decode(bundle.as_str()?).unwrap();
        Some(String::from_utf8(bundle).unwrap())
    }
}

fn forbidden() -> Response<Body> {
    let status = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "as the test wants"});
    let mut response = reply(&status);
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

fn reply(object: &Value) -> Response<Body> {
    Response::new(Body::from(object.to_string().into_bytes()))
}

/// The operator's side, and all that is needed to talk to it.
pub struct Sandbox {
    address: SocketAddr,
    pub server: ApiServer,
    pub authority: Authority,
    pub counting: Counting,
    pub metrics: Arc<Metrics>,
    pub stopping: Stopping,
    pub tracker: TaskTracker,
}

impl Sandbox {
    pub async fn new() -> Self {
        let authority = Authority::new();
        let server = ApiServer::new(&authority);
        let counting = Counting::new(Scope::All);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::default());
        let api = MetricsApi {
            client: server.client(),
            place: Place {
                namespace: "wsc-system".to_owned(),
                service: SERVICE.to_owned(),
            },
            counting: vec![counting.clone()],
            metrics: Arc::clone(&metrics),
        };
        let (tracker, stopping) = (TaskTracker::new(), Stopping::default());
        let missing = api.start(listener, &tracker, &stopping).unwrap();
        assert!(missing().is_some());
        let sandbox = Self {
            address,
            server,
            authority,
            counting,
            metrics,
            stopping,
            tracker,
        };
        sandbox.count(&[("chat-1", Some(7)), ("chat-2", Some(5))]);
        let ready = async {
            while missing().is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, ready).await.unwrap();
        sandbox
    }

    /// What a round of the census says of `chat`, all of whose pods are ready; and of `desk`, which has two connections.
    pub fn count(&self, pods: &[(&str, Option<i64>)]) {
        self.counting.census.read(readings(pods, Instant::now()));
    }

    pub fn front_proxy(&self) -> Pair {
        self.authority.client("front-proxy")
    }

    /// A socket from an address of this machine's own.
    pub async fn socket(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(from.parse().unwrap(), 0))
            .unwrap();
        socket.connect(self.address).await.unwrap()
    }

    pub async fn dial(&self, shown: Option<&Pair>, protocol: &[u8]) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        self.greet(socket, shown, protocol).await
    }

    /// The handshake.
    pub async fn greet(
        &self,
        socket: TcpStream,
        shown: Option<&Pair>,
        protocol: &[u8],
    ) -> TlsStream<TcpStream> {
        let config = believing(&self.server.bundle().unwrap());
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
                    .map(Result::unwrap)
                    .collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from(format!("{SERVICE}.wsc-system.svc")).unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, socket);
        timeout(DEADLINE, connecting).await.unwrap().unwrap()
    }

    /// Asks on a connection of its own.
    pub async fn get(&self, shown: Option<&Pair>, user: Option<&str>, path: &str) -> (u16, Value) {
        let stream = self.dial(shown, b"http/1.1").await;
        self.ask(stream, user, path).await
    }

    /// Asks on this connection.
    pub async fn ask(
        &self,
        stream: TlsStream<TcpStream>,
        user: Option<&str>,
        path: &str,
    ) -> (u16, Value) {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.tracker.spawn(connection);
        let response = sender.send_request(request(user, path)).await.unwrap();
        read(response).await
    }

    pub async fn stop(self) {
        self.stopping.over.cancel();
        self.tracker.close();
        timeout(DEADLINE, self.tracker.wait()).await.unwrap();
    }
}

pub fn readings(pods: &[(&str, Option<i64>)], began: Instant) -> Readings {
    let mut readings = Readings::begun(Timestamp::now(), began);
    let mut heard = |gateway: &str, name: &str, count: Option<i64>| {
        let pod = json!({
            "metadata": {"name": name},
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let pod = PodView::of(&serde_json::from_value(pod).unwrap());
        let count = count.map(|count| PodCount::new(count, Phase::Serving, RedisLink::Up));
        readings.heard(
            &("default".to_owned(), gateway.to_owned()),
            &pod,
            count.as_ref(),
        );
    };
    for (name, count) in pods {
        heard("chat", name, *count);
    }
    heard("desk", "desk-1", Some(2));
    readings
}

pub fn request(user: Option<&str>, path: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::get(path).header("host", "metrics");
    if let Some(user) = user {
        request = request
            .header("X-Remote-User", user)
            .header("X-Remote-Group", "system:authenticated");
    }
    request.body(Empty::new()).unwrap()
}

pub async fn read(response: Response<hyper::body::Incoming>) -> (u16, Value) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}
