//! What a gateway does when it is short of something, or is sent what makes no sense without end: the program itself, whose
//! limits, time on the CPU and memory can be seen from outside.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::program::{FREE_PORTS, Running, address, get, told};

/// File descriptors: enough for itself and some clients.
const FILES: usize = 100;

const OPEN: [&str; 8] = [
    "--set",
    "wsc.security.enableAuth=false",
    "--set",
    "wsc.security.enableRateLimit=false",
    "--set",
    "wsc.security.maxHandshakesPerAddress=0",
    "--set",
    "wsc.security.handshakeTimeout=5m",
];

fn within(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "not in time: {what}"
        );
        std::thread::yield_now();
    }
}

type Client = WebSocket<TcpStream>;

fn connect(ws: &str, user: &str) -> Result<Client, String> {
    let socket = TcpStream::connect(ws).map_err(|error| error.to_string())?;
    let patience = Some(Duration::from_secs(20));
    socket.set_read_timeout(patience).unwrap();
    let (mut client, _) = tungstenite::client(format!("ws://{ws}/ws?user_id={user}"), socket)
        .map_err(|error| error.to_string())?;
    client.read().map_err(|error| error.to_string())?;
    Ok(client)
}

fn hear(client: &mut Client) -> Value {
    loop {
        if let Message::Text(text) = client.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

/// Says something to oneself and hears it.
fn is_served(client: &mut Client, user: &str) {
    let said = json!({"type": "text", "to": user, "durable": false, "content": "here"});
    client.send(Message::text(said.to_string())).unwrap();
    while hear(client)["content"] != "here" {}
}

/// The time that a process has spent on the CPU.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    // utime and stime, in hundredths of a second (proc_pid_stat(5)).
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// The memory that a process has in RAM, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn without_file_descriptors_it_serves_who_is_there_and_waits_for_some() {
    let mut gateway = Running::limited(FILES, &[&FREE_PORTS[..], &OPEN].concat());
    let ws = address(&told(&mut gateway, "\"serving\""), "ws");
    let mut alice = connect(&ws, "alice").unwrap();
    let crowd: Vec<TcpStream> = (0..2 * FILES)
        .map(|_| TcpStream::connect(&ws).unwrap())
        .collect();
    gateway.line_with("cannot accept connections");
    let (began, before) = (Instant::now(), cpu(gateway.pid()));
    is_served(&mut alice, "alice");
    // A lasting lack is said again after seconds, in which it goes on trying.
    gateway.line_with("cannot accept connections");
    is_served(&mut alice, "alice");
    let spent = cpu(gateway.pid()).checked_sub(before).unwrap();
    let passed = began.elapsed();
    assert!(spent < passed / 4, "{spent:?} on the CPU in {passed:?}");
    drop(crowd);
    // The crowd is noticed to be gone as it is accepted.
    within("newcomers get in again", || connect(&ws, "bob").is_ok());
    is_served(&mut alice, "alice");
    assert_eq!(gateway.terminate(), Some(0));
}

/// Frames of all sorts in a flood: a million with `WSC_PROOF_FRAMES=1000000`.
fn frames() -> usize {
    let wanted = std::env::var("WSC_PROOF_FRAMES").ok();
    wanted.map_or(20_000, |wanted| wanted.parse().unwrap())
}

/// One frame of a client, masked with zeroes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    assert!(len < 126);
    [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

/// What nobody should send, each with the close codes (RFC 6455, 7.4.1, or ours) that it may lead to.
fn nonsense() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let pieces = frame(0x00, b"").repeat(wsc_wire::MAX_FRAGMENTS as usize);
    let fragments = [frame(0x01, b""), pieces].concat();
    vec![
        ("no JSON", frame(0x81, b"{\"type\":").repeat(101), &[4006]),
        ("no UTF-8", frame(0x81, &[0xff, 0xfe]), &[1007]),
        ("no mask", vec![0x81, 1, b'x'], &[1002]),
        ("a reserved opcode", frame(0x83, b"x"), &[1002]),
        ("a reserved bit", frame(0xf1, b"x"), &[1002]),
        (
            "2^62 bytes",
            [&[0x81, 0xff, 0x40][..], &[0; 7], &[0; 4]].concat(),
            &[1009],
        ),
        (
            "a long ping",
            frame(0x89, &[0; 125])
                .split_last()
                .map(|(_, rest)| [&[0x89, 0xfe, 0, 126], rest].concat())
                .unwrap(),
            &[1002],
        ),
        ("tiny fragments", fragments, &[1008]),
        ("a close frame of one byte", frame(0x88, b"x"), &[1002]),
    ]
}

/// Sends it and reads the answer to its end: the close code.
fn close_code(ws: &str, bytes: &[u8]) -> u16 {
    let mut socket = TcpStream::connect(ws).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(
        socket,
        "GET /ws?user_id=mallory HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    // It may be closed before it has taken all.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    // The close frame is the last: two bytes of head, two of code, and a reason.
    let close = (0..answer.len().saturating_sub(3))
        .rev()
        .find(|at| answer[*at] == 0x88 && usize::from(answer[at + 1]) == answer.len() - at - 2);
    close.map_or(0, |at| u16::from_be_bytes([answer[at + 2], answer[at + 3]]))
}

fn flood(ws: &str, wanted: usize) {
    let mut sent = 0;
    while sent < wanted {
        for (what, bytes, codes) in nonsense() {
            let code = close_code(ws, &bytes);
            assert!(codes.contains(&code), "{what}: closed with {code}");
            sent += if bytes.len() > 1000 {
                bytes.len() / 6
            } else {
                1
            };
        }
    }
}

/// Sends pings until so many have been answered.
fn ping_flood(client: &mut Client, wanted: usize) {
    for batch in 0..wanted / 100 {
        for _ in 0..100 {
            client.write(Message::Ping(vec![0; 100].into())).unwrap();
        }
        client.flush().unwrap();
        for _ in 0..100 {
            while !matches!(client.read().unwrap(), Message::Pong(_)) {}
        }
        assert!(client.can_read(), "batch {batch}");
    }
}

#[test]
fn floods_of_nonsense_and_pings_end_as_they_should_and_leave_no_memory_taken() {
    let mut gateway = Running::start(&[&FREE_PORTS[..], &OPEN].concat());
    let serving = told(&mut gateway, "\"serving\"");
    let ws = address(&serving, "ws");
    let mut alice = connect(&ws, "alice").unwrap();
    // What is kept for reuse is there after the first time.
    flood(&ws, frames());
    ping_flood(&mut alice, 5_000);
    let gone = || get(&address(&serving, "admin"), "/metrics").contains("wsc_connections 1\n");
    within("the flood is over", gone);
    let before = resident(gateway.pid());
    for _ in 0..2 {
        flood(&ws, frames());
        ping_flood(&mut alice, 5_000);
    }
    within("the flood is over", gone);
    let after = resident(gateway.pid());
    println!(
        "{before} KiB before, {after} KiB after two more floods of {} frames",
        frames()
    );
    assert!(
        after <= before + before / 8 + 1024,
        "{before} KiB became {after} KiB"
    );
    is_served(&mut alice, "alice");
    assert_eq!(gateway.terminate(), Some(0));
}
