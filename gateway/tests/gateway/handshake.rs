//! Who gets in, and how those who do not are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Error;
use wsc_gateway::admission::{MemoryGauge, MemoryUse};
use wsc_gateway::app::Gateway;
use wsc_gateway::security::Scopes;

use crate::client::Client;
use crate::sandbox::{DEADLINE, Node, alone, config, eventually, options, token, token_for};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: chat.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a raw request and reads the answer's head and what the server says before it ends.
async fn ask(node: &Node, request: &str) -> String {
    let mut socket = TcpStream::connect(node.0.addresses().ws.unwrap())
        .await
        .unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") || answer.ends_with(b"\r\n\r\n") {
        let read = timeout(DEADLINE, socket.read(&mut piece))
            .await
            .expect("an answer in time")
            .unwrap_or(0);
        answer.extend_from_slice(&piece[..read]);
        if read == 0 || answer.starts_with(b"HTTP/1.1 101") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn with(headers: &str) -> String {
    format!("{HANDSHAKE}{headers}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_handshake_is_that_of_the_rfc() {
    let node = alone(&[]).await;
    let token = token("alice", Scopes::NONE);
    let answer = ask(
        &node,
        &with(&format!(
            "Sec-WebSocket-Protocol: chat, wsc.v1.json, wsc.bearer.{token}\r\n"
        )),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let lower = answer.to_lowercase();
    // The example of RFC 6455 §1.3.
    assert!(
        lower.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{answer}"
    );
    assert!(
        lower.contains("sec-websocket-protocol: wsc.v1.json\r\n"),
        "{answer}"
    );
    assert!(!answer.contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_honest() {
    let node = alone(&["wsc.websocketOrigins=[https://app.example.com]"]).await;
    let auth = format!("Authorization: Bearer {}\r\n", token("alice", Scopes::NONE));
    let cases = [
        (with(&auth).replace("/ws", "/elsewhere"), "404", "not_found"),
        (
            with(&auth).replace("Upgrade: websocket\r\n", ""),
            "400",
            "Upgrade",
        ),
        (
            with(&auth).replace("Version: 13", "Version: 8"),
            "426",
            "13",
        ),
        (
            with(&auth).replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
            "400",
            "Sec-WebSocket-Key",
        ),
        (
            with(&format!("{auth}Origin: https://evil.example.com\r\n")),
            "403",
            "origin",
        ),
        (with(&format!("{auth}Origin: null\r\n")), "403", "origin"),
        (
            with(&format!("{auth}Sec-WebSocket-Protocol: soap\r\n")),
            "400",
            "wsc.v1.json",
        ),
        (with("Authorization: Bearer a.b.c\r\n"), "401", "token"),
        (
            with("Authorization: Basic YWxpY2U6cHc=\r\n"),
            "401",
            "Bearer",
        ),
        (
            with("").replace("/ws", "/ws?access_token=a.b.c"),
            "401",
            "query",
        ),
        (
            "BREW /ws HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "405",
            r#"only GET is answered here""#,
        ),
    ];
    for (request, status, part) in cases {
        let answer = ask(&node, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{status} expected: {answer}"
        );
        assert!(answer.contains(part), "{part:?} expected: {answer}");
    }
    assert!(
        ask(
            &node,
            &with(&format!("{auth}Origin: https://app.example.com\r\n"))
        )
        .await
        .starts_with("HTTP/1.1 101")
    );
    let counted = node.0.hub().stats().refused;
    for expected in [
        ("bad_request", 3),
        ("websocket_version", 1),
        ("origin", 2),
        ("unauthenticated", 3),
        ("method_not_allowed", 1),
        ("not_found", 1),
        ("other", 0),
        ("full", 0),
    ] {
        assert!(counted.contains(&expected), "{expected:?}: {counted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_as_a_request_is_refused_with_a_body_and_counted() {
    let node = alone(&[]).await;
    let long = "x".repeat(17 * 1024);
    let lines = |count: usize| -> String {
        // Five lines are in the handshake.
        "X-Line: x\r\n".repeat(count - 5)
    };
    let cases = [
        (
            format!("GET /ws?{long} HTTP/1.1\r\n\r\n"),
            431,
            "head_too_large",
        ),
        (with(&format!("X-Long: {long}\r\n")), 431, "head_too_large"),
        (with(&lines(65)), 431, "head_too_large"),
        ("\u{16}\u{3}nonsense\r\n\r\n".to_owned(), 400, "bad_request"),
    ];
    for (request, status, code) in cases {
        let answer = ask(&node, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], code, "{answer}");
    }
    let most = format!("Authorization: Bearer {}\r\n", token("alice", Scopes::NONE));
    let answer = ask(&node, &with(&(lines(63) + &most))).await;
    assert!(
        answer.starts_with("HTTP/1.1 101 "),
        "64 lines are: {answer}"
    );
    let metrics = node.admin("/metrics").await.1;
    let counted = "wsc_limits_met_total{limit=\"request_head\"} 3\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_served_at_the_path_that_is_configured_and_nowhere_else() {
    let node = alone(&["wsc.path=/chat"]).await;
    let user = token("alice", Scopes::NONE);
    let there = node.ws().replace("/ws", "/chat");
    Client::connect(&there, &user).await.unwrap();
    match Client::connect(&node.ws(), &user).await {
        Err(Error::Http(refusal)) => assert_eq!(refusal.status(), 404),
        other => panic!("{:?}", other.map(|client| client.welcome)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_says_so_before_the_upgrade() {
    let node = alone(&["wsc.performance.maxConnectionsPerNode=2"]).await;
    let (_first, second) = (node.connect("alice").await, node.connect("bob").await);
    let Err(Error::Http(refused)) =
        Client::connect(&node.ws(), &token("carol", Scopes::NONE)).await
    else {
        panic!("let in");
    };
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "5")
    );
    drop(second);
    eventually("there is room again", || async {
        Client::connect(&node.ws(), &token("carol", Scopes::NONE))
            .await
            .is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_short_of_memory_refuses_newcomers_until_it_has_some_and_keeps_who_is_there() {
    let used = Arc::new(AtomicU64::new(500));
    let reading = Arc::clone(&used);
    let gauge = MemoryGauge::new(move || {
        Some(MemoryUse {
            used: reading.load(Relaxed),
            limit: 1000,
        })
    });
    let mut options = options("short");
    options.gauge = gauge;
    let node = Node(Gateway::start(config(&[]), options).await.unwrap());
    let mut alice = node.connect("alice").await;
    let bearer = format!("Authorization: Bearer {}\r\n", token("bob", Scopes::NONE));
    used.store(901, Relaxed);
    eventually("newcomers are refused", || async {
        ask(&node, &with(&bearer))
            .await
            .starts_with("HTTP/1.1 503 ")
    })
    .await;
    let refused = ask(&node, &with(&bearer)).await.to_lowercase();
    assert!(
        refused.contains("\"memory\"") && refused.contains("retry-after: 5"),
        "{refused}"
    );
    let metrics = node.admin("/metrics").await.1;
    assert!(metrics.contains("wsc_limits_met_total{limit=\"memory\"}"));
    alice.say("alice", "still here").await;
    assert_eq!(alice.hear().await, "still here");
    used.store(900, Relaxed);
    eventually("and let in again", || async {
        ask(&node, &with(&bearer))
            .await
            .starts_with("HTTP/1.1 101 ")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_frame_may_bring_the_token() {
    let node = alone(&[]).await;
    let mut alice = Client::open(&node.ws(), &[]).await.unwrap();
    alice
        .send(json!({"type": "auth", "data": {"token": token("alice", Scopes::NONE)}}))
        .await;
    let welcome = alice.next().await;
    assert_eq!(
        (&welcome["type"], &welcome["data"]["user_id"]),
        (&"welcome".into(), &"alice".into())
    );

    let mut mallory = Client::open(&node.ws(), &[]).await.unwrap();
    mallory
        .send(json!({"type": "auth", "data": {"token": "a.b.c"}}))
        .await;
    assert_eq!(mallory.closed().await, (vec![], 4001));

    let mut eager = Client::open(&node.ws(), &[]).await.unwrap();
    eager.say("alice", "who am I?").await;
    assert_eq!(eager.closed().await, (vec![], 4001));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_no_token_in_time_is_closed() {
    let node = alone(&["wsc.security.authTimeout=1s"]).await;
    let mut silent = Client::open(&node.ws(), &[]).await.unwrap();
    assert_eq!(silent.closed().await, (vec![], 4001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_handshake_is_cut() {
    let node = alone(&["wsc.security.handshakeTimeout=1s"]).await;
    for stalled in ["", "GET /ws HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut socket = TcpStream::connect(node.0.addresses().ws.unwrap())
            .await
            .unwrap();
        socket.write_all(stalled.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(5), socket.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the socket stayed open after {stalled:?}");
    }
    eventually("nothing is pending", || async {
        node.0.hub().pending() == 0
    })
    .await;
    let counted = "wsc_limits_met_total{limit=\"handshake_time\"} 2\n";
    let metrics = node.admin("/metrics").await.1;
    assert!(metrics.contains(counted), "{metrics}");
}

/// Says so much, then a byte at a time for ever; how long it takes until nobody listens any more.
pub async fn trickle(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    first: &[u8],
    then: u8,
) -> Duration {
    socket.write_all(first).await.unwrap();
    let (began, mut pace) = (Instant::now(), interval(Duration::from_millis(50)));
    let mut piece = [0; 512];
    loop {
        tokio::select! {
            _ = pace.tick() => {
                if socket.write_all(&[then]).await.is_err() {
                    return began.elapsed();
                }
            }
            read = socket.read(&mut piece) => {
                if !matches!(read, Ok(1..)) {
                    return began.elapsed();
                }
            }
        }
        assert!(began.elapsed() < DEADLINE, "it may go on and on");
    }
}

/// Neither at once nor much later than a second, with the two seconds that a close frame is waited for.
pub fn is_cut_after_a_second(took: Duration) {
    let bounds = Duration::from_millis(800)..Duration::from_secs(6);
    assert!(bounds.contains(&took), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_trickles_a_request_or_a_token_has_no_more_time_than_who_says_nothing() {
    let times = [
        "wsc.security.handshakeTimeout=1s",
        "wsc.security.authTimeout=1s",
    ];
    let node = alone(&times).await;
    let address = node.0.addresses().ws.unwrap();
    let slow = TcpStream::connect(address).await.unwrap();
    let request = b"GET /ws HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    is_cut_after_a_second(trickle(slow, request, b'x').await);

    let slow = Client::open(&node.ws(), &[]).await.unwrap();
    let MaybeTlsStream::Plain(slow) = slow.into_inner().into_inner() else {
        panic!("no TLS here");
    };
    // A text frame of four kibibytes, masked with zeroes.
    let auth = b"\x81\xfe\x10\x00\0\0\0\0{\"type\":\"auth\",\"data\":{\"token\":\"";
    is_cut_after_a_second(trickle(slow, auth, b'x').await);
    eventually("it is counted as who brought no token", || async {
        let ends = node.0.hub().stats().disconnects;
        ends.contains(&("unauthenticated", 1))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_ends_its_session() {
    // No leeway: the token's own second counts.
    let node = alone(&["wsc.security.jwt.leeway=0s"]).await;
    let token = token_for("alice", Scopes::NONE, Duration::from_secs(2));
    let mut alice = Client::connect(&node.ws(), &token).await.unwrap();
    assert_eq!(alice.closed().await, (vec![], 4002));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_authentication_the_query_names_the_user() {
    let node = alone(&["wsc.security.enableAuth=false"]).await;
    let mut alice = Client::open(&format!("{}?user_id=alice&user_type=agent", node.ws()), &[])
        .await
        .unwrap();
    assert_eq!(alice.next().await["data"]["user_type"], "agent");
    let refused = Client::open(&format!("{}?user_id=alice&user_type=king", node.ws()), &[]).await;
    assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == 400));
}
