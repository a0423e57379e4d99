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
