//! Listeners that speak TLS, spoken to by real TLS clients: sessions, certificates that change, the APIs, and peers that
//! mean no good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tonic::transport::{Channel, Endpoint};
use wsc_gateway::app::{Gateway, Options};
use wsc_gateway::security::Scopes;
use wsc_gateway::settings::Secrets;
use wsc_gateway::tls::Fingerprint;
use wsc_proto::v1::GetStatsRequest;
use wsc_proto::v1::wsc_service_client::WscServiceClient;

use crate::client::Client;
use crate::grpc_stream::{GrpcStream, code};
use crate::handshake::trickle;
use crate::redis::RedisServer;
use crate::sandbox::{API_KEY, DEADLINE, Node, cluster_of, config, eventually, options, token};

const ALL: [&str; 3] = ["tls.ws=true", "tls.http=true", "tls.grpc=true"];

/// A certificate for localhost and its key.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    fn secrets(&self) -> Secrets {
        Secrets {
            tls: BTreeMap::from([
                ("tls.crt".to_owned(), self.certificate.clone()),
                ("tls.key".to_owned(), self.key.clone()),
            ]),
            ..options("x").secrets
        }
    }

    /// By TLS to one of the node's ports, believing this certificate only.
    async fn dial(&self, port: u16, protocols: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        roots.add(certificate.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, socket);
        timeout(DEADLINE, connecting).await.unwrap()
    }

    /// For calls of gRPC.
    async fn channel(self: &Arc<Self>, port: u16) -> Channel {
        let pair = Arc::clone(self);
        let connector = tower::service_fn(move |_: axum::http::Uri| {
            let pair = pair.clone();
            async move { pair.dial(port, &[b"h2"]).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector(connector).await.unwrap()
    }

    async fn session(&self, node: &Node, user: &str) -> std::io::Result<Session> {
        let socket = self.dial(ports(node).0, &[b"http/1.1"]).await?;
        let mut request = "wss://localhost/ws".into_client_request().unwrap();
        let bearer = format!("Bearer {}", token(user, Scopes::NONE));
        request
            .headers_mut()
            .insert("authorization", bearer.parse().unwrap());
        let (socket, _) = tokio_tungstenite::client_async(request, socket)
            .await
            .unwrap();
        let mut session = Session(socket);
        assert_eq!(session.next().await["type"], "welcome");
        Ok(session)
    }
}

/// A session over TLS.
struct Session(WebSocketStream<TlsStream<TcpStream>>);

impl Session {
    async fn send(&mut self, frame: Value) {
        let sent = self.0.send(Message::text(frame.to_string()));
        timeout(DEADLINE, sent).await.unwrap().unwrap();
    }

    async fn raw(&mut self) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
        timeout(DEADLINE, self.0.next()).await.unwrap()
    }

    async fn next(&mut self) -> Value {
        loop {
            match self.raw().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn hear(&mut self) -> String {
        let frame = self.next().await;
        frame["content"]
            .as_str()
            .unwrap_or_else(|| panic!("{frame}"))
            .to_owned()
    }
}

fn ports(node: &Node) -> (u16, u16, u16) {
    let addresses = node.0.addresses();
    (
        addresses.ws.unwrap().port(),
        addresses.http.port(),
        addresses.grpc.port(),
    )
}

async fn node(pair: &Pair, sets: &[&str]) -> Node {
    let sets = [&ALL, sets].concat();
    let options = Options {
        secrets: pair.secrets(),
        ..options("alone")
    };
    Node(Gateway::start(config(&sets), options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_over_tls_is_a_session_like_any_other() {
    let pair = Pair::new();
    let node = node(&pair, &[]).await;
    let mut alice = pair.session(&node, "alice").await.unwrap();
    let mut bob = pair.session(&node, "bob").await.unwrap();
    // Shorter than a record, of several records, and longer than what any buffer on the way holds.
    for length in [0, 1, 5_000, 16_384, 16_385, 300_000, 700_000] {
        let content = "x".repeat(length);
        alice
            .send(json!({"type": "text", "to": "bob", "content": content}))
            .await;
        assert_eq!(bob.hear().await.len(), length);
    }
    for number in 0..500 {
        let frame = json!({"type": "text", "to": "bob", "content": number.to_string()});
        alice
            .0
            .feed(Message::text(frame.to_string()))
            .await
            .unwrap();
    }
    alice.0.flush().await.unwrap();
    for number in 0..500 {
        assert_eq!(bob.hear().await, number.to_string());
    }
    let socket = reqwest::Client::new(); // The admin port never speaks TLS.
    let ready = socket.get(format!("http://{}/readyz", node.0.addresses().admin));
    assert_eq!(ready.send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_hears_its_close_frame_and_the_end_of_tls() {
    let pair = Pair::new();
    let node = node(&pair, &[]).await;
    let mut alice = pair.session(&node, "alice").await.unwrap();
    node.0
        .hub()
        .order_kick(
            wsc_gateway::hub::KickWhom::User(wsc_gateway::protocol::UserId::new("alice").unwrap()),
            "enough",
        )
        .await;
    assert_eq!(alice.next().await["type"], "kicked");
    let Some(Ok(Message::Close(Some(frame)))) = alice.raw().await else {
        panic!("no close frame");
    };
    assert_eq!(u16::from(frame.code), 4003);
    assert!(
        !matches!(alice.raw().await, Some(Err(_))),
        "TLS ends with a word, so that nothing was cut off"
    );
    eventually("the place is free", || async {
        node.0.hub().connections() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_meets_its_policy_and_what_waits_is_bounded() {
    let pair = Pair::new();
    let node = node(&pair, &["wsc.messageBufferSize=16"]).await;
    let mut alice = pair.session(&node, "alice").await.unwrap();
    let lazy = pair.session(&node, "lazy").await.unwrap();
    let content = "x".repeat(200_000);
    let began = std::time::Instant::now();
    while node.0.hub().connections() > 1 {
        assert!(began.elapsed() < DEADLINE, "the slow client is cut off");
        let frame = json!({"type": "text", "to": "lazy", "content": content, "durable": false});
        alice.send(frame).await;
    }
    drop(lazy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_certificate_holds_for_new_connections_and_ends_none() {
    let (old, new) = (Pair::new(), Pair::new());
    let node = node(&old, &[]).await;
    let mut alice = old.session(&node, "alice").await.unwrap();
    let config = || config(&ALL);
    node.0
        .reload_all(config(), Arc::new(new.secrets()))
        .await
        .unwrap();
    let mut bob = new.session(&node, "bob").await.unwrap();
    assert!(
        old.session(&node, "eve").await.is_err(),
        "the old one is over"
    );
    for port in [ports(&node).1, ports(&node).2] {
        assert!(new.dial(port, &[]).await.is_ok() && old.dial(port, &[]).await.is_err());
    }
    alice
        .send(json!({"type": "text", "to": "bob", "content": "still here"}))
        .await;
    assert_eq!(bob.hear().await, "still here");

    // A pair that does not belong together changes nothing.
    let mut mixed = new.secrets();
    mixed.tls.insert("tls.key".to_owned(), old.key.clone());
    let refused = node
        .0
        .reload_all(config(), Arc::new(mixed))
        .await
        .unwrap_err();
    let why = format!("{:?}", anyhow::Error::from(refused));
    assert!(why.contains("tls.ws: the certificate and its key"), "{why}");
    assert!(!why.contains("PRIVATE"), "{why}");
    assert!(new.session(&node, "carol").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_files_a_listener_does_not_start() {
    for (missing, file) in [("tls.crt", "ws-tls.crt"), ("tls.key", "ws-tls.key")] {
        let mut secrets = Pair::new().secrets();
        secrets.tls.remove(missing);
        let options = Options {
            secrets,
            ..options("alone")
        };
        let refused = Gateway::start(config(&ALL), options).await.err().unwrap();
        let why = format!("{:?}", anyhow::Error::from(refused));
        assert!(why.contains(file) && why.contains("tls.ws"), "{why}");
    }
    let mut secrets = Pair::new().secrets();
    secrets
        .tls
        .insert("grpc-tls.crt".to_owned(), "not PEM".to_owned());
    let options = Options {
        secrets,
        ..options("alone")
    };
    let refused = Gateway::start(config(&ALL), options).await.err().unwrap();
    let why = format!("{:?}", anyhow::Error::from(refused));
    assert!(
        why.contains("tls.grpc: grpc-tls.crt holds no certificate"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apis_speak_tls_and_agree_on_their_protocol() {
    let pair = Pair::new();
    let node = node(&pair, &[]).await;
    let (ws, http, grpc) = ports(&node);
    for (port, agreed) in [(ws, "http/1.1"), (http, "http/1.1"), (grpc, "h2")] {
        let socket = pair.dial(port, &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(socket.get_ref().1.alpn_protocol(), Some(agreed.as_bytes()));
    }

    let mut socket = pair.dial(http, &[]).await.unwrap();
    let request = format!(
        "GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {API_KEY}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, socket.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"alone\""),
        "{answer}"
    );

    let channel = Arc::new(pair).channel(grpc).await;
    let mut request = tonic::Request::new(GetStatsRequest {});
    let bearer = format!("Bearer {API_KEY}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let stats = WscServiceClient::new(channel)
        .get_stats(request)
        .await
        .unwrap();
    assert_eq!(stats.into_inner().node, "alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_grpc_goes_over_tls_up_to_its_last_word() {
    let pair = Arc::new(Pair::new());
    let node = node(&pair, &[]).await;
    let bearer = format!("Bearer {}", token("alice", Scopes::NONE));
    let metadata = [("authorization", bearer.as_str())];
    let channel = pair.channel(ports(&node).2).await;
    let mut alice = GrpcStream::over(channel, &metadata).await.unwrap();
    assert_eq!(alice.next().await["type"], "welcome");
    let mut bob = pair.session(&node, "bob").await.unwrap();
    bob.send(json!({"type": "text", "to": "alice", "content": "hello"}))
        .await;
    assert_eq!(alice.next().await["content"], "hello");
    alice.say("bob", "hello yourself").await;
    assert_eq!(bob.hear().await, "hello yourself");
    let ((), ended) = tokio::join!(node.0.drain(), alice.ended());
    assert_eq!(code(&ended.1), 1012, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_no_tls_or_nothing_at_all_is_cut_in_time() {
    let pair = Pair::new();
    let node = node(&pair, &["wsc.security.handshakeTimeout=500ms"]).await;
    let ports = ports(&node);
    let garbage = [
        b"GET /ws HTTP/1.1\r\n\r\n".as_slice(),
        &[0xff; 64],
        &[0x16, 3, 1],
    ];
    for port in [ports.0, ports.1, ports.2] {
        for words in garbage.iter().take(2) {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            socket.write_all(words).await.unwrap();
            let ended = timeout(DEADLINE, socket.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok(), "{port}");
        }
    }
    for words in [b"".as_slice(), garbage[2]] {
        let mut socket = TcpStream::connect(("127.0.0.1", ports.0)).await.unwrap();
        socket.write_all(words).await.unwrap();
        let ended = timeout(Duration::from_secs(5), socket.read_to_end(&mut Vec::new())).await;
        assert!(
            ended.is_ok(),
            "a stalled handshake is cut after handshakeTimeout"
        );
    }
    let slow = TcpStream::connect(("127.0.0.1", ports.0)).await.unwrap();
    // The head of a record that never ends.
    let took = trickle(slow, &[0x16, 3, 1, 0x3f, 0xff, 1, 0], 0).await;
    assert!(took < Duration::from_secs(5), "{took:?} a byte at a time");
    let metrics = node.admin("/metrics").await.1;
    for listener in ["ws", "http", "grpc"] {
        let line = format!("wsc_tls_handshakes_failed_total{{listener=\"{listener}\"}}");
        assert!(metrics.contains(&line), "{line}");
    }
    assert!(pair.session(&node, "alice").await.is_ok());
}

/// Reads until this has come; everything up to there.
async fn until(socket: &mut TlsStream<TcpStream>, word: &str) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if text.contains(word) {
            return text;
        }
        let more = timeout(DEADLINE, socket.read_buf(&mut read)).await;
        let more = more.unwrap_or_else(|_| panic!("no {word} in time: {text}"));
        assert!(more.unwrap() > 0, "ended before {word}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_and_its_requests_go_over_tls() {
    let pair = Pair::new();
    let node = node(&pair, &[]).await;
    let bearer = token("alice", Scopes::NONE);
    let ask = async |line: &str, body: &str| {
        let mut socket = pair.dial(ports(&node).0, &[b"http/1.1"]).await.unwrap();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    };
    let mut stream = ask("GET /sse", "").await;
    let head = until(&mut stream, "event: welcome").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // More than one record of TLS holds.
    let text = "x".repeat(100_000);
    let frame = json!({"type": "text", "id": "c1", "to": "alice", "content": text, "data": {"last": "by TLS"}});
    let mut request = ask("POST /sse/messages", &frame.to_string()).await;
    let answer = until(&mut request, r#""state":"accepted""#).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let event = until(&mut stream, "by TLS").await;
    assert!(event.contains(&text));
    let gateway = node.0.clone();
    let drained = tokio::spawn(async move { gateway.drain().await });
    until(&mut stream, "event: close").await;
    let mut rest = Vec::new();
    let ended = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    ended.unwrap().unwrap();
    drained.await.unwrap();
}

/// Each node has a certificate of its own, which nobody signed: the registry says which it is.
#[tokio::test(flavor = "multi_thread")]
async fn streams_between_nodes_go_over_tls_through_a_change_of_certificate() {
    let redis = RedisServer::start();
    let pairs = [Pair::new(), Pair::new()];
    let named = |index: usize| Options {
        secrets: pairs[index].secrets(),
        ..options(&format!("node-{index}"))
    };
    let [one, two] = cluster_of(redis.port, &["tls.grpc=true"], [named(0), named(1)]).await;
    let (mut alice, mut bob) = (one.connect("alice").await, two.connect("bob").await);
    let taken = || two.0.cluster().stats().streamed_in.load(Relaxed);
    await_stream(&mut alice, &mut bob, taken).await;

    let door = || one.0.cluster().status().peers[0].door.clone();
    let before = door();
    let renewed = Arc::new(Pair::new().secrets());
    let config = (*two.0.config()).clone();
    two.0.reload_all(config, renewed).await.unwrap();
    eventually("the new certificate is told", || async { door() != before }).await;
    await_stream(&mut alice, &mut bob, taken).await;
}

/// Alice talks to bob until a stream has brought some of it; a busy machine may have the first go by pub/sub.
async fn await_stream(alice: &mut Client, bob: &mut Client, taken: impl Fn() -> u64) {
    let (began, before) = (Instant::now(), taken());
    while taken() == before {
        assert!(began.elapsed() < DEADLINE, "no stream");
        alice.say("bob", "hello").await;
        assert_eq!(bob.hear().await, "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_by_a_fingerprint_is_nobody_else() {
    let (known, other) = (Pair::new(), Pair::new());
    let certificate = CertificateDer::from_pem_slice(known.certificate.as_bytes()).unwrap();
    let client = Fingerprint::of(&certificate).client(b"h2").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    for (pair, is_known) in [(&known, true), (&other, false)] {
        let node = node(pair, &[]).await;
        let socket = TcpStream::connect(("127.0.0.1", ports(&node).2))
            .await
            .unwrap();
        let anybody = ServerName::try_from("nobody.example").unwrap();
        let connecting = connector.connect(anybody, socket);
        let connected = timeout(DEADLINE, connecting).await.unwrap();
        assert_eq!(connected.is_ok(), is_known, "{connected:?}");
    }
}
