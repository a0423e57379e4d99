//! Budgets by counts that no machine changes: bytes of an idle session, allocations and system calls of a delivery.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_config::GatewayConfig;
use wsc_gateway::app::Options;
use wsc_gateway::cluster::routing::{Balance, Policy};
use wsc_gateway::cluster::{Backend, Cluster, ClusterParams};
use wsc_gateway::delivery::Delivery;
use wsc_gateway::group::{GroupPatterns, Groups};
use wsc_gateway::hub::{Hub, Outgoing, Recipients, Shard, ShardContext};
use wsc_gateway::protocol::{NodeId, UserId};
use wsc_gateway::security::{JwtSettings, KeySet, Keys, NewToken, Scopes, TokenVerifier};
use wsc_gateway::service::MiddlewareStack;
use wsc_gateway::settings::Settings;
use wsc_gateway::telemetry::Instruments;
use wsc_gateway::ticket::{Means, Queue, Tickets};
use wsc_gateway::transport::{UpgradeState, Upgrades, ws};

/// Enough that what a shard keeps for itself, and what its maps grow by, is small beside it.
const SESSIONS: u64 = 1000;

/// One shard on this thread, whose allocations are counted, with clients on plain sockets.
struct Bench {
    /// The cluster's tasks live here, on another thread.
    _elsewhere: tokio::runtime::Runtime,
    runtime: LocalRuntime,
    shard: Rc<Shard>,
    clients: Vec<TcpStream>,
}

impl Bench {
    fn new() -> Self {
        Self::with(None, &[])
    }

    fn with(tls: Option<Arc<wsc_gateway::tls::ListenerTls>>, sets: &[&str]) -> Self {
        let elsewhere = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let config = configured(sets);
        let mut secrets = Options::default().secrets;
        secrets.jwt_key = Some(KEY.to_owned());
        let settings = Arc::new(Settings::resolve(&config, &secrets, "bench", None).unwrap());
        let (hub, _inboxes) = Hub::new(1);
        let params = ClusterParams {
            node: NodeId::new("bench"),
            address: String::new(),
            door: None,
            cluster_name: "bench".to_owned(),
            backend: Backend::Memory(Arc::default()),
            node_timeout: Duration::from_secs(60),
            node_sync_interval: Duration::from_secs(30),
            health_check_interval: Duration::from_secs(10),
            routing: Policy::default(),
            balance: Balance::default(),
            offline_delay: Duration::from_secs(5),
        };
        let guard = elsewhere.enter();
        let cluster = Cluster::start(
            params,
            hub.clone(),
            &TaskTracker::new(),
            CancellationToken::new(),
        );
        let delivery = Delivery::start(
            &config.wsc,
            (hub.clone(), cluster.clone()),
            &TaskTracker::new(),
            &CancellationToken::new(),
        );
        let service = wsc_gateway::service::Service::start(
            wsc_gateway::service::Extensions::default(),
            &tokio_util::task::TaskTracker::new(),
            &CancellationToken::new(),
        );
        let groups = Groups::start(
            (hub.clone(), cluster.clone(), delivery.clone()),
            service.clone(),
            Arc::new(arc_swap::ArcSwap::from(settings.clone())),
            (&TaskTracker::new(), &CancellationToken::new()),
        );
        let presence = wsc_gateway::presence::PresenceDesk::start(
            (hub.clone(), cluster.clone()),
            service.clone(),
            &TaskTracker::new(),
            &CancellationToken::new(),
        );
        let means = Means::of(&cluster, &delivery, &service);
        let tasks = TaskTracker::new();
        let tickets = Tickets::start(&config.wsc, means, &tasks, &CancellationToken::new());
        drop(guard);
        let instruments = Instruments::default();
        let rules = wsc_gateway::admission::Rules::new(&config.wsc);
        let admission = wsc_gateway::admission::Admission::new(rules, instruments.clone());
        let upgrades = UpgradeState {
            settings: Arc::new(arc_swap::ArcSwap::from(settings.clone())),
            instruments: Instruments::default(),
            revocations: Arc::default(),
            codecs: Arc::new(wsc_gateway::protocol::Codecs::new(&[]).unwrap()),
            hub: hub.clone(),
            draining: Arc::default(),
            admission: admission.clone(),
            cluster: cluster.clone(),
        };
        let context = ShardContext {
            service,
            presence,
            hub,
            cluster,
            delivery,
            groups,
            tickets,
            settings,
            admission,
            instruments,
            upgrades: Upgrades::new(upgrades, &MiddlewareStack::default(), None),
            tls,
            revocations: Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .unwrap();
        let shard = runtime.block_on(async { Shard::new(0, context) });
        runtime.spawn_local(Rc::clone(&shard).flush_forever());
        Self {
            _elsewhere: elsewhere,
            runtime,
            shard,
            clients: Vec::new(),
        }
    }

    /// Connects so many users through the whole handshake and reads their welcomes.
    fn connect(&mut self, count: u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..count {
            let mut client = self.enter(&listener, "");
            read_welcome(&mut client);
            self.clients.push(client);
        }
    }

    /// Has all but the first so many users join one group, and reads what they are answered.
    fn join(&mut self, after: usize) {
        let join = r#"{"type":"group.join","id":"j","data":{"group":"all"}}"#;
        let length = 0x80 | u8::try_from(join.len()).unwrap();
        let frame = [&[0x81, length, 0, 0, 0, 0], join.as_bytes()].concat();
        for index in after..self.clients.len() {
            let mut client = self.clients[index].try_clone().unwrap();
            client.write_all(&frame).unwrap();
            client.set_nonblocking(true).unwrap();
            let mut heard = Vec::new();
            while !String::from_utf8_lossy(&heard).contains(r#""ref":"j""#) {
                self.runtime
                    .block_on(async { tokio::task::yield_now().await });
                let mut piece = [0; 1024];
                if let Ok(read) = client.read(&mut piece) {
                    assert!(read > 0, "closed");
                    heard.extend_from_slice(&piece[..read]);
                }
            }
            assert!(
                String::from_utf8_lossy(&heard).contains("result"),
                "{}",
                String::from_utf8_lossy(&heard)
            );
        }
    }

    /// Connects a user with these header lines besides.
    fn enter(&self, listener: &TcpListener, lines: &str) -> TcpStream {
        let user = self.clients.len();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, peer) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        self.shard
            .handle()
            .unwrap()
            .pending()
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let request = request(user, lines);
        client.write_all(request.as_bytes()).unwrap();
        let entered = self.shard.len() + 1;
        self.runtime.block_on(async {
            let place = self.shard.context().admission.handshake(peer.ip()).unwrap();
            ws::take_over(&self.shard, socket, peer, place);
        });
        self.turn_until(|shard| {
            shard.len() == entered
                && shard
                    .handle()
                    .unwrap()
                    .pending()
                    .load(std::sync::atomic::Ordering::Relaxed)
                    == 0
        });
        client
    }

    /// Drives the shard until nothing is left to do for anybody: one task a connection, and the flusher.
    fn rest(&self) {
        let began = std::time::Instant::now();
        let alive = || self.runtime.metrics().num_alive_tasks();
        while alive() > self.shard.len() + 1 || !self.shard.has_settled() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{} tasks",
                alive()
            );
            self.runtime.block_on(async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                self.shard.tick();
            });
        }
    }

    /// Connects so many users by TLS. Each client is a thread of its own, whose allocations do not count.
    fn connect_by_tls(
        &mut self,
        certificate: &rustls::pki_types::CertificateDer<'static>,
        count: u64,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..count {
            let user = self.clients.len();
            let certificate = certificate.clone();
            let client = std::thread::spawn(move || greet_by_tls(address, &certificate, user));
            let (socket, peer) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let pending = self.shard.handle().unwrap().pending();
            pending.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.runtime.block_on(async {
                let place = self.shard.context().admission.handshake(peer.ip()).unwrap();
                ws::take_over(&self.shard, socket, peer, place);
            });
            self.runtime.block_on(async {
                while !client.is_finished() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            self.clients.push(client.join().unwrap());
        }
    }

    /// Runs the shard until the condition holds.
    fn turn_until(&self, condition: impl Fn(&Shard) -> bool) {
        self.runtime.block_on(async {
            for _ in 0..100_000 {
                if condition(&self.shard) {
                    return;
                }
                tokio::task::yield_now().await;
            }
            panic!("the shard did not get there");
        });
    }

    /// Delivers frames to everyone and runs the shard until all are written.
    fn deliver(&self, messages: &[Outgoing]) {
        let before = self.shard.context().hub.stats().messages_sent;
        let wanted = before + messages.len() as u64 * self.shard.len() as u64;
        self.runtime.block_on(async {
            for message in messages {
                self.shard.deliver(&Recipients::All, message);
            }
        });
        self.turn_until(|shard| shard.context().hub.stats().messages_sent >= wanted);
    }
}

/// A client that connects by TLS, reads its welcome and then only keeps the socket.
/// Anybody may make groups, and they hold many.
fn configured(sets: &[&str]) -> GatewayConfig {
    let fixed = [
        "wsc.group.enabled=true",
        "wsc.group.autoCreate=true",
        "wsc.group.maxGroupSize=10000",
    ];
    let sets = fixed.iter().chain(sets);
    let sets: Vec<String> = sets.map(|set| (*set).to_owned()).collect();
    GatewayConfig::load(None, [], &sets).unwrap()
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A handshake of this user, who may join any group.
fn request(user: usize, lines: &str) -> String {
    let config = GatewayConfig::default();
    let security = &config.wsc.security;
    let keys = KeySet::one(security.jwt.algorithm, KEY).unwrap();
    let keys = Keys::Fixed(Arc::new(keys));
    let verifier = TokenVerifier::new(JwtSettings::from_config(security), keys);
    let token = NewToken {
        groups: GroupPatterns::new(["*"]).unwrap(),
        user: UserId::new(&format!("user-{user}")).unwrap(),
        user_type: "customer".into(),
        scopes: Scopes::NONE,
        skills: Queue::default(),
        device: None,
        lifetime: Duration::from_mins(30),
        key_id: None,
    };
    let token = verifier.mint(&token).unwrap();
    format!(
        "GET /ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

fn greet_by_tls(
    address: std::net::SocketAddr,
    certificate: &rustls::pki_types::CertificateDer<'static>,
    user: usize,
) -> TcpStream {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut client = rustls::StreamOwned::new(session, socket);
    let request = request(user, "");
    client.write_all(request.as_bytes()).unwrap();
    let mut heard = Vec::new();
    let mut piece = [0; 2048];
    while !heard.ends_with(b"}}") {
        let read = client.read(&mut piece).unwrap();
        assert!(read > 0, "closed");
        heard.extend_from_slice(&piece[..read]);
    }
    client.sock
}

fn read_welcome(client: &mut TcpStream) {
    let mut heard = Vec::new();
    let mut piece = [0; 2048];
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    while !heard.ends_with(b"}}") {
        let read = client.read(&mut piece).unwrap();
        assert!(
            read > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&heard)
        );
        heard.extend_from_slice(&piece[..read]);
    }
}

/// A message as fresh as a publisher makes it: not in any form yet.
fn message() -> Outgoing {
    Outgoing::new(bytes::Bytes::from_static(br#"{"type":"text","content":"hello"}"#).into())
}

fn counted(work: impl FnOnce()) -> AllocationInfo {
    measure(work)
}

#[test]
fn an_idle_session_stays_within_two_kibibytes() {
    let mut bench = Bench::new();
    // What is made once: the router's first clone, pools, maps.
    bench.connect(50);
    bench.rest();
    let info = counted(|| {
        bench.connect(SESSIONS);
        bench.rest();
    });
    let each = info.bytes_current / i64::try_from(SESSIONS).unwrap();
    println!("an idle session holds {each} bytes");
    assert!(each <= 2 * 1024, "an idle session holds {each} bytes");
    assert!(each >= 300, "{each} bytes: the count missed the sessions");
}

#[test]
fn a_handshake_stays_within_its_allocations() {
    let mut bench = Bench::new();
    bench.connect(50);
    bench.rest();
    let of_clients = counted(|| {
        for user in 0..SESSIONS {
            drop(request(usize::try_from(user).unwrap(), ""));
        }
    });
    let info = counted(|| {
        bench.connect(SESSIONS);
        bench.rest();
    });
    let each = (info.count_total - of_clients.count_total) / SESSIONS;
    println!("a handshake makes {each} allocations");
    assert!(each <= 80, "a handshake makes {each} allocations");
    assert!(each >= 30, "{each}: the count missed the handshakes");
}

#[test]
fn an_idle_member_of_a_group_stays_within_two_and_a_half_kibibytes() {
    let mut bench = Bench::new();
    bench.connect(50);
    bench.join(0);
    bench.rest();
    let info = counted(|| {
        bench.connect(SESSIONS);
        bench.join(50);
        bench.rest();
    });
    let each = info.bytes_current / i64::try_from(SESSIONS).unwrap();
    println!("an idle member of a group holds {each} bytes");
    assert!(each <= 2560, "an idle member of a group holds {each} bytes");
    assert!(
        each >= 2048,
        "{each} bytes: the count missed the membership"
    );
}

#[test]
fn an_idle_session_by_tls_stays_within_ten_kibibytes() {
    const BY_TLS: u64 = 200;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = [
        ("tls.crt".to_owned(), made.cert.pem()),
        ("tls.key".to_owned(), made.signing_key.serialize_pem()),
    ];
    let config = wsc_config::TlsConfig::default().with_ws(true);
    let pairs = wsc_gateway::tls::TlsPairs::resolve(&config, &files.into()).unwrap();
    let tls = wsc_gateway::tls::TlsListeners::new(pairs, &Instruments::default());
    let mut bench = Bench::with(tls.ws, &[]);
    // Enough that the cache of sessions to be resumed is full: it is one for all.
    bench.connect_by_tls(made.cert.der(), 300);
    bench.rest();
    let info = counted(|| {
        bench.connect_by_tls(made.cert.der(), BY_TLS);
        bench.rest();
    });
    let each = info.bytes_current / i64::try_from(BY_TLS).unwrap();
    println!("an idle session by TLS holds {each} bytes");
    assert!(
        each <= 10 * 1024,
        "an idle session by TLS holds {each} bytes"
    );
    assert!(each >= 4096, "{each} bytes: the count missed the sessions");
    let before = bench.shard.context().hub.stats();
    bench.deliver(&[message()]);
    let after = bench.shard.context().hub.stats();
    assert_eq!(
        after.writes - before.writes,
        bench.clients.len() as u64,
        "a message costs one write of the socket"
    );
}

#[test]
fn a_delivery_costs_one_system_call_and_no_allocation_per_recipient() {
    let mut bench = Bench::new();
    bench.connect(200);
    // Fills the pool of queues and the scratch buffers.
    for _ in 0..3 {
        bench.deliver(&[message()]);
    }
    let before = bench.shard.context().hub.stats();
    let one = message();
    let info = counted(|| bench.deliver(&[one]));
    let after = bench.shard.context().hub.stats();
    println!(
        "one message to 200: {} allocations, {} writes",
        info.count_total,
        after.writes - before.writes
    );
    assert_eq!(
        (
            after.messages_sent - before.messages_sent,
            after.writes - before.writes
        ),
        (200, 200)
    );
    // The statistics that this test itself asks for, and one shared frame; nothing that grows with recipients.
    assert!(
        info.count_total < 100,
        "{} allocations for 200 recipients",
        info.count_total
    );
}

#[test]
fn a_shard_reads_into_the_buffer_that_is_configured() {
    let bench = Bench::new();
    let room = || bench.shard.read_buffer().borrow().len();
    assert_eq!(room(), 16_384);
    let sets = [
        "wsc.security.enableAuth=false".to_owned(),
        "wsc.performance.readBufferSize=64KiB".to_owned(),
    ];
    let config = GatewayConfig::load(None, [], &sets).unwrap();
    let settings = Settings::resolve(&config, &Options::default().secrets, "bench", None).unwrap();
    bench.shard.reload(Arc::new(settings));
    assert_eq!(room(), 65_536);
}

#[test]
fn eight_messages_in_flight_still_cost_one_system_call_per_recipient() {
    let mut bench = Bench::new();
    bench.connect(200);
    let fresh = || (0..8).map(|_| message()).collect::<Vec<_>>();
    for _ in 0..3 {
        bench.deliver(&fresh());
    }
    let before = bench.shard.context().hub.stats();
    let burst = fresh();
    let info = counted(|| bench.deliver(&burst));
    let after = bench.shard.context().hub.stats();
    println!(
        "eight messages to 200: {} allocations, {} writes",
        info.count_total,
        after.writes - before.writes
    );
    assert_eq!(
        (
            after.messages_sent - before.messages_sent,
            after.writes - before.writes
        ),
        (1600, 200)
    );
    assert!(
        info.count_total < 200,
        "{} allocations for 1600 deliveries",
        info.count_total
    );
}

/// A frame as a client may send it: under a mask that changes nothing.
fn masked(frame: &[u8]) -> Vec<u8> {
    let header = if frame[1] == 126 { 4 } else { 2 };
    let mut masked = frame.to_vec();
    masked[1] |= 0x80;
    masked.splice(header..header, [0; 4]);
    masked
}

#[test]
fn what_one_read_inflates_to_is_never_held_all_at_once() {
    const MIB: usize = 1 << 20;
    let bench = Bench::with(None, &["wsc.performance.enableCompression=true"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut client = bench.enter(&listener, lines);
    let content = "x".repeat(MIB - 100);
    let big = format!(r#"{{"type":"t","to":"nobody","durable":false,"content":"{content}"}}"#);
    let bomb = wsc_wire::Deflater::new(9, wsc_wire::Window::Wide)
        .encode(wsc_wire::Opcode::Text, big.as_bytes());
    // A frame that is waited for, and behind it what would wait with it.
    let first = br#"{"type":"auth","data":{"token":"x"}}"#;
    let mut burst = masked(&wsc_wire::encode(wsc_wire::Opcode::Text, first));
    for _ in 0..12 {
        burst.extend(masked(&bomb));
    }
    assert!(
        burst.len() < 16 * 1024,
        "{} bytes are one read",
        burst.len()
    );
    client.write_all(&burst).unwrap();
    let received = |shard: &Shard| shard.context().hub.stats().messages_received;
    let info = counted(|| bench.turn_until(|shard| received(shard) == 12));
    println!("twelve messages of 1 MiB hold {} bytes", info.bytes_max);
    assert!(
        info.bytes_max < 5 * MIB as u64,
        "{} bytes at a time",
        info.bytes_max
    );
}

#[test]
fn clients_that_never_read_hold_no_more_than_their_bounds_and_then_nothing() {
    const CLIENTS: u64 = 10;
    let mut bench = Bench::new();
    bench.connect(CLIENTS);
    let bound = CLIENTS * bench.shard.settings().outbox.bytes as u64;
    let info = counted(|| {
        // Far more than sockets and outboxes take.
        for round in 0..400 {
            for user in 0..CLIENTS {
                let content = "x".repeat(64 * 1024);
                let message = format!(r#"{{"type":"text","id":"{round}","content":"{content}"}}"#);
                let message = Outgoing::new(bytes::Bytes::from(message).into());
                let to = UserId::new(&format!("user-{user}")).unwrap();
                bench.runtime.block_on(async {
                    bench.shard.deliver(&Recipients::User(to), &message);
                    tokio::task::yield_now().await;
                });
            }
        }
    });
    println!(
        "ten that never read hold {} bytes at most, and {} in the end",
        info.bytes_max, info.bytes_current
    );
    assert!(
        info.bytes_max < bound + (1 << 20),
        "{} bytes at a time, of {bound}",
        info.bytes_max
    );
    assert!(info.bytes_max > 1 << 20, "nobody was slow");
    assert!(
        info.bytes_current < 1 << 20,
        "{} are kept",
        info.bytes_current
    );
}
