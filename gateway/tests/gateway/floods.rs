//! Floods from one address, and others who want to get in meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use wsc_gateway::security::Scopes;

use crate::sandbox::{DEADLINE, Node, alone, eventually, token};

/// The status that a client from this address of loopback is answered with.
async fn knock(node: &Node, from: &str) -> Option<u16> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let stream = socket
        .connect(node.0.addresses().ws.unwrap())
        .await
        .unwrap();
    let mut request = node.ws().into_client_request().unwrap();
    let bearer = format!("Bearer {}", token("alice", Scopes::NONE));
    request
        .headers_mut()
        .insert("authorization", bearer.parse().unwrap());
    match timeout(DEADLINE, tokio_tungstenite::client_async(request, stream))
        .await
        .unwrap()
    {
        Ok((socket, _)) => {
            // Kept: it is counted for as long as it lives.
            std::mem::forget(socket);
            Some(101)
        }
        Err(tokio_tungstenite::tungstenite::Error::Http(refusal)) => {
            Some(refusal.status().as_u16())
        }
        Err(_) => None,
    }
}

async fn silent(node: &Node, count: usize) -> Vec<TcpStream> {
    let address = node.0.addresses().ws.unwrap();
    let sockets = join_all((0..count).map(|_| TcpStream::connect(address))).await;
    sockets.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_silent_sockets_from_one_address_leaves_room_for_others_and_ends() {
    let sets = [
        "wsc.security.maxHandshakesPerAddress=20",
        "wsc.security.handshakeTimeout=2s",
    ];
    let node = alone(&sets).await;
    let began = Instant::now();
    let mut flood = silent(&node, 300).await;
    eventually("twenty are shaken hands with", || async {
        node.0.hub().pending() == 20
    })
    .await;
    assert_eq!(
        knock(&node, "127.0.0.1").await,
        None,
        "cut: the flood is from there"
    );
    assert_eq!(knock(&node, "127.0.0.2").await, Some(101));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "the flood was still there"
    );
    for socket in &mut flood {
        let end = timeout(DEADLINE, socket.read_u8())
            .await
            .expect("cut in time");
        assert!(end.is_err());
    }
    eventually("there is room again", || async {
        node.0.hub().pending() == 0
    })
    .await;
    assert_eq!(knock(&node, "127.0.0.1").await, Some(101));
    let metrics = node.admin("/metrics").await.1;
    assert!(metrics.contains("limit=\"handshakes_per_address\""));
}

/// Connections to a port of the gateway from this address, and which of them are closed unasked.
async fn callers(port: std::net::SocketAddr, from: &str, count: usize) -> (Vec<TcpStream>, usize) {
    let mut kept = Vec::new();
    let mut cut = 0;
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(port).await.unwrap();
        // Long enough for a close, and well within what both listeners give a caller who says nothing.
        match timeout(Duration::from_millis(500), stream.read_u8()).await {
            Ok(Err(_)) => cut += 1,
            Ok(Ok(_)) | Err(_) => kept.push(stream),
        }
    }
    (kept, cut)
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_the_apis_are_limited_by_address_too_each_api_for_itself() {
    let node = alone(&["wsc.security.maxConnectionsPerAddress=2"]).await;
    let addresses = node.0.addresses();
    for (port, limit) in [
        (addresses.http, "http_connections_per_address"),
        (addresses.grpc, "grpc_connections_per_address"),
    ] {
        let (kept, cut) = callers(port, "127.0.0.5", 4).await;
        assert_eq!((kept.len(), cut), (2, 2), "{limit}");
        assert_eq!(callers(port, "127.0.0.6", 1).await.1, 0, "{limit}");
        let line = format!("wsc_limits_met_total{{limit=\"{limit}\"}} 2");
        let metrics = node.admin("/metrics").await.1;
        assert!(metrics.contains(&line), "{limit}: {metrics}");
        drop(kept);
        eventually("there is room again", || async {
            callers(port, "127.0.0.5", 1).await.1 == 0
        })
        .await;
    }
    // Nobody who asks for its health is among them, and clients have places of their own.
    assert_eq!(callers(addresses.admin, "127.0.0.5", 4).await.1, 0);
    assert_eq!(knock(&node, "127.0.0.5").await, Some(101));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_brings_callers_of_many_addresses() {
    let sets = [
        "wsc.security.maxConnectionsPerAddress=2",
        "wsc.security.trustedProxies=[127.0.0.7]",
    ];
    let node = alone(&sets).await;
    let http = node.0.addresses().http;
    assert_eq!(callers(http, "127.0.0.7", 4).await.1, 0);
    assert_eq!(callers(http, "127.0.0.8", 4).await.1, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_an_address_are_limited_and_those_of_others_are_not() {
    let node = alone(&["wsc.security.maxConnectionsPerAddress=2"]).await;
    assert_eq!(knock(&node, "127.0.0.3").await, Some(101));
    assert_eq!(knock(&node, "127.0.0.3").await, Some(101));
    assert_eq!(knock(&node, "127.0.0.3").await, Some(429));
    assert_eq!(knock(&node, "127.0.0.4").await, Some(101));
    let one = node.connect("bob").await;
    let two = node.connect("bob").await;
    assert_eq!(knock(&node, "127.0.0.1").await, Some(429));
    drop((one, two));
    eventually("there is room again", || async {
        knock(&node, "127.0.0.1").await == Some(101)
    })
    .await;
}
