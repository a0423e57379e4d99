//! A peer that uses HTTP/2 against the gateway is sent away, and others are served meanwhile.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsc_proto::v1::GetStatsRequest;

use crate::support::grpc::{GrpcApi, keyed};
use crate::support::service::KEY;

const DEADLINE: Duration = Duration::from_secs(15);
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// HPACK (RFC 7541): POST, http, and a path and an authority as literals.
fn head(path: &str) -> Vec<u8> {
    let literal = |name: u8, text: &str| {
        [
            &[0x40 | name, u8::try_from(text.len()).unwrap()],
            text.as_bytes(),
        ]
        .concat()
    };
    [vec![0x83, 0x86], literal(4, path), literal(1, "x")].concat()
}

async fn connect(api: &GrpcApi) -> TcpStream {
    let mut socket = TcpStream::connect(api.address).await.unwrap();
    socket
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    socket
}

/// Reads to the end: the code of the last GOAWAY, if there was one.
async fn end(socket: &mut TcpStream) -> Option<u32> {
    let mut code = None;
    let read = async {
        loop {
            let mut head = [0; 9];
            if socket.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if socket.read_exact(&mut payload).await.is_err() {
                return;
            }
            if head[3] == GOAWAY {
                code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
    };
    timeout(DEADLINE, read).await.expect("the connection ends");
    code
}

async fn serves(api: &GrpcApi) {
    let call = async {
        api.client()
            .await
            .get_stats(keyed(GetStatsRequest {}))
            .await
    };
    timeout(Duration::from_secs(5), call)
        .await
        .expect("served in time")
        .unwrap();
}

#[tokio::test]
async fn streams_opened_and_reset_at_once_end_the_connection() {
    let api = GrpcApi::start().await;
    let mut socket = connect(&api).await;
    let head = head("/wsc.v1.WscService/GetStats");
    let mut flood = Vec::new();
    for number in 0..5_000 {
        let stream = 2 * number + 1;
        flood.extend(frame(HEADERS, 4, stream, &head));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // The gateway may end it before everything is written.
    let _ = socket.write_all(&flood).await;
    let code = end(&mut socket).await;
    assert!(
        code.is_none_or(|code| code == ENHANCE_YOUR_CALM),
        "{code:?}"
    );
    serves(&api).await;
}

#[tokio::test]
async fn headers_without_end_end_the_connection() {
    let api = GrpcApi::start().await;
    let mut socket = connect(&api).await;
    let _ = socket.write_all(&frame(HEADERS, 0, 1, &head("/x"))).await;
    // Never indexed, name `a`, a value of a hundred bytes, over and over.
    let field = [&[0x10, 1, b'a', 100][..], &[b'x'; 100]].concat();
    let part = frame(CONTINUATION, 0, 1, &field.repeat(100));
    let flood = async {
        // Sixteen MiB and more; written until the gateway takes no more.
        for _ in 0..2_000 {
            if socket.write_all(&part).await.is_err() {
                break;
            }
        }
        end(&mut socket).await
    };
    let _any = timeout(DEADLINE, flood).await.expect("the connection ends");
    serves(&api).await;
}

#[tokio::test]
async fn settings_without_end_are_not_taken_without_end_and_hold_up_nobody_else() {
    let api = GrpcApi::start().await;
    let mut socket = connect(&api).await;
    // Far more than all buffers of the way hold.
    let flood = frame(SETTINGS, 0, 0, &[]).repeat(8_000_000);
    // Nothing is read: the acknowledgements find no room, and the gateway stops reading, or ends it.
    let written = timeout(Duration::from_secs(3), socket.write_all(&flood)).await;
    assert!(!matches!(written, Ok(Ok(()))), "all of it was taken");
    serves(&api).await;
    drop(socket);
}

#[tokio::test]
async fn streams_beyond_the_most_of_a_connection_are_refused_and_the_connection_goes_on() {
    const MOST: u32 = 256;
    const REFUSED_STREAM: u32 = 7;
    let api = GrpcApi::start().await;
    let mut socket = connect(&api).await;
    // Their messages never come, so that all of them stay open.
    let key = format!("Bearer {KEY}");
    let mut head = head("/wsc.v1.WscService/GetStats");
    // A literal that is not indexed, by the name `authorization`.
    head.extend([0x0f, 23 - 15, u8::try_from(key.len()).unwrap()]);
    head.extend(key.as_bytes());
    for number in 0..=MOST {
        let opened = frame(HEADERS, 4, 2 * number + 1, &head);
        socket.write_all(&opened).await.unwrap();
    }
    let (stream, code) = timeout(DEADLINE, reset(&mut socket)).await.unwrap();
    assert_eq!((stream, code), (2 * MOST + 1, REFUSED_STREAM));
    serves(&api).await;
}

/// The first stream that is reset, and why.
async fn reset(socket: &mut TcpStream) -> (u32, u32) {
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        socket.read_exact(&mut payload).await.unwrap();
        if head[3] == RST_STREAM {
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            return (stream, u32::from_be_bytes(payload[..4].try_into().unwrap()));
        }
    }
}
