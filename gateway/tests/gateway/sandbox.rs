//! N gateways in one process: alone on memory, or a cluster on a Redis of their own.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use wsc_config::GatewayConfig;
use wsc_gateway::app::{Gateway, Options};
use wsc_gateway::cluster::Link;
use wsc_gateway::group::GroupPatterns;
use wsc_gateway::protocol::UserId;
use wsc_gateway::security::{JwtSettings, KeySet, Keys, NewToken, Scopes, TokenVerifier};
use wsc_gateway::settings::Secrets;
use wsc_gateway::ticket::Queue;
use wsc_proto::v1::wsc_service_client::WscServiceClient;

use crate::client::Client;

const KEY: &str = "0123456789abcdef0123456789abcdef";
pub const API_KEY: &str = "fedcba9876543210fedcba9876543210";

/// Every await of a test ends within this.
pub const DEADLINE: Duration = Duration::from_secs(15);

const FILE: &str = "
http: {host: 127.0.0.1, port: 0}
grpc: {host: 127.0.0.1, port: 0}
admin: {host: 127.0.0.1, port: 0}
drain: {unreadyDelay: 0s, window: 1s, deadline: 10s, jitter: 0}
wsc: {nodeIp: 127.0.0.1, nodePort: 0, security: {messageRateLimit: {maxMessages: 100000}}}
";

/// A configuration on free ports of loopback, with `KEY=VALUE` on top.
pub fn config(sets: &[&str]) -> GatewayConfig {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    GatewayConfig::load(Some(FILE), [], &sets).unwrap()
}

pub fn options(node: &str) -> Options {
    let secrets = Secrets {
        jwt_key: Some(KEY.into()),
        api_key: Some(API_KEY.into()),
        ..Secrets::default()
    };
    Options {
        node: node.to_owned(),
        secrets,
        shards: 2,
        ..Options::default()
    }
}

/// A gateway on memory.
pub async fn alone(sets: &[&str]) -> Node {
    Node(
        Gateway::start(config(sets), options("alone"))
            .await
            .unwrap(),
    )
}

/// Gateways that share a Redis and see each other.
pub async fn cluster<const N: usize>(redis: u16, sets: &[&str]) -> [Node; N] {
    let named = |index| options(&format!("node-{index}"));
    Box::pin(cluster_of(redis, sets, std::array::from_fn(named))).await
}

/// The same with options of their own.
pub async fn cluster_of<const N: usize>(
    redis: u16,
    sets: &[&str],
    options: [Options; N],
) -> [Node; N] {
    Box::pin(cluster_through([redis; N], sets, options)).await
}

/// The same with a port for each by which it comes to Redis.
pub async fn cluster_through<const N: usize>(
    ports: [u16; N],
    sets: &[&str],
    options: [Options; N],
) -> [Node; N] {
    let mut all = vec![
        "wsc.distributed.enabled=true",
        "wsc.redis.host=127.0.0.1",
        "wsc.distributed.nodeTimeout=3s",
        "wsc.distributed.nodeSyncInterval=1s",
        "wsc.distributed.healthCheckInterval=1s",
    ];
    all.extend(sets);
    let mut nodes = Vec::new();
    for (options, port) in options.into_iter().zip(ports) {
        let port = format!("wsc.redis.port={port}");
        let sets: Vec<&str> = all.iter().copied().chain([&*port]).collect();
        let gateway = Gateway::start(config(&sets), options).await.unwrap();
        nodes.push(Node(gateway));
    }
    for node in &nodes {
        eventually("nodes see each other with all their sessions", || async {
            let streams = node.0.cluster().stats().streams.load(Relaxed);
            let status = node.0.cluster().status();
            let is_whole =
                status.link == Link::Up && status.peers.len() == N - 1 && streams == N as u64 - 1;
            is_whole && status.peers.iter().all(|peer| peer.synced)
        })
        .await;
    }
    nodes.try_into().ok().unwrap()
}

/// One gateway.
pub struct Node(pub Arc<Gateway>);

impl Node {
    pub fn ws(&self) -> String {
        format!("ws://{}/ws", self.0.addresses().ws.unwrap())
    }

    /// A path of the listener for clients.
    pub fn public(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.addresses().ws.unwrap())
    }

    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.addresses().http)
    }

    /// Connects a user and takes the welcome.
    pub async fn connect(&self, user: &str) -> Client {
        Client::connect(&self.ws(), &token(user, Scopes::NONE))
            .await
            .unwrap()
    }

    /// Connects an agent who can do this.
    pub async fn agent(&self, user: &str, skills: &[&str]) -> Client {
        let token = token_of(user, "agent", (Scopes::NONE, skills));
        Client::connect(&self.ws(), &token).await.unwrap()
    }

    pub async fn connect_with(&self, user: &str, scopes: Scopes) -> Client {
        Client::connect(&self.ws(), &token(user, scopes))
            .await
            .unwrap()
    }

    /// The status and body of an admin path.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.0.addresses().admin);
        let response = reqwest::get(url).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.admin("/status").await.1).unwrap()
    }

    pub async fn ready(&self) -> bool {
        self.admin("/readyz").await.0 == 200
    }

    /// A call of the HTTP API.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: serde_json::Value,
    ) -> (u16, serde_json::Value) {
        let method: reqwest::Method = method.parse().unwrap();
        let request = reqwest::Client::new()
            .request(method, self.http(path))
            .bearer_auth(API_KEY);
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The gRPC API, with its key.
    pub async fn grpc(&self) -> WscServiceClient<InterceptedService<Channel, WithKey>> {
        let endpoint = format!("http://{}", self.0.addresses().grpc);
        let channel = Channel::from_shared(endpoint)
            .unwrap()
            .connect()
            .await
            .unwrap();
        WscServiceClient::with_interceptor(channel, with_key as WithKey)
    }

    /// Users online, as this node says.
    pub async fn online(&self) -> Vec<String> {
        let (status, body) = self
            .call("GET", "/v1/users/online", serde_json::Value::Null)
            .await;
        match status {
            200 => serde_json::from_value(body["users"].clone()).unwrap(),
            _ => vec![format!("{status}: {body}")],
        }
    }
}

type WithKey = fn(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status>;

#[allow(clippy::unnecessary_wraps)] // the form of an interceptor
fn with_key(mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
    request.metadata_mut().insert(
        "authorization",
        format!("Bearer {API_KEY}").parse().unwrap(),
    );
    Ok(request)
}

/// A token of a customer for a quarter of an hour.
pub fn token(user: &str, scopes: Scopes) -> String {
    token_for(user, scopes, Duration::from_mins(15))
}

/// A token of a user of this type, with what it may and can do.
pub fn token_of(user: &str, kind: &str, (scopes, skills): (Scopes, &[&str])) -> String {
    mint(&NewToken {
        user: UserId::new(user).unwrap(),
        user_type: kind.to_owned(),
        scopes,
        groups: GroupPatterns::default(),
        skills: Queue::of(skills).unwrap(),
        device: None,
        lifetime: Duration::from_mins(15),
        key_id: None,
    })
}

pub fn token_for(user: &str, scopes: Scopes, lifetime: Duration) -> String {
    minted(user, scopes, &[], lifetime)
}

/// A token that lets its bearer into groups of these patterns.
pub fn token_into(user: &str, groups: &[&str]) -> String {
    minted(user, Scopes::NONE, groups, Duration::from_mins(15))
}

fn minted(user: &str, scopes: Scopes, groups: &[&str], lifetime: Duration) -> String {
    mint(&NewToken {
        user: UserId::new(user).unwrap(),
        user_type: "customer".into(),
        scopes,
        groups: GroupPatterns::new(groups).unwrap(),
        skills: Queue::default(),
        device: None,
        lifetime,
        key_id: None,
    })
}

fn mint(token: &NewToken) -> String {
    let config = config(&[]);
    let keys = KeySet::one(config.wsc.security.jwt.algorithm, KEY).unwrap();
    let settings = JwtSettings::from_config(&config.wsc.security);
    let verifier = TokenVerifier::new(settings, Keys::Fixed(Arc::new(keys)));
    verifier.mint(token).unwrap()
}

/// Waits until the condition holds; fails with its name at the deadline.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl FnMut() -> F) {
    within(DEADLINE, what, condition).await;
}

pub async fn within<F: Future<Output = bool>>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let began = Instant::now();
    while !condition().await {
        assert!(
            began.elapsed() < deadline,
            "not within {deadline:?}: {what}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}
