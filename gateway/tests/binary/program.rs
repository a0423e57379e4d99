//! The program as a person starts it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const FREE_PORTS: [&str; 8] = [
    "--set",
    "wsc.nodePort=0",
    "--set",
    "http.port=0",
    "--set",
    "grpc.port=0",
    "--set",
    "admin.port=0",
];

fn gateway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsc-gateway"));
    command.args(arguments);
    outside(command)
}

/// As a person runs it, whatever runs the tests.
fn outside(mut command: Command) -> Command {
    command
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env_remove("POD_NAME");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
fn run(arguments: &[&str]) -> Output {
    gateway(arguments).output().unwrap()
}

fn refusal(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A directory of this test, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wsc-binary-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        replace_file(&path, text);
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Replaces a file at once, as the kubelet does: whoever reads it finds all of the old or all of the new.
pub fn replace_file(path: &Path, text: &str) {
    let beside = path.with_file_name("..new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// A running gateway, killed with the value.
pub struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        Self::of(gateway(arguments))
    }

    /// The same with so many file descriptors at most.
    pub fn limited(files: usize, arguments: &[&str]) -> Self {
        let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_wsc-gateway")])
            .args(arguments);
        Self::of(outside(command))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The first line with this in it.
    pub fn line_with(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "the program ended without saying {part:?}");
            if line.contains(part) {
                return line;
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::yield_now();
        }
        panic!("it did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn get(address: &str, path: &str) -> String {
    get_as(address, path, address)
}

fn get_as(address: &str, path: &str, host: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn dev_mode_offers_a_page_with_tokens_and_leaves_on_sigterm() {
    let mut gateway = Running::start(&[&["--dev"][..], &FREE_PORTS].concat());
    let line = gateway.line_with("/#alice");
    let address = line
        .trim()
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert!(
        gateway.line_with("alice: ").contains(": ey"),
        "a token for other clients"
    );
    let page = get(&address, "/");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("text/html"),
        "{page}"
    );
    assert!(
        page.contains("\"alice\":\"ey") && page.contains("\"bob\":\"ey"),
        "{page}"
    );
    let rebound = get_as(&address, "/", "evil.example.com");
    assert!(
        rebound.starts_with("HTTP/1.1 421") && !rebound.contains("ey"),
        "{rebound}"
    );
    assert_eq!(gateway.terminate(), Some(0));
}

#[test]
fn a_token_of_the_subcommand_is_let_in() {
    let scratch = Scratch::new("token");
    scratch.file("jwt-key", "0123456789abcdef0123456789abcdef\n");
    let dir = scratch.0.display().to_string();
    let minted = run(&["token", "--user", "alice", "--secrets-dir", &dir]);
    assert!(minted.status.success(), "{minted:?}");
    let token = String::from_utf8(minted.stdout).unwrap();
    let free = [&["--secrets-dir", &dir][..], &FREE_PORTS].concat();
    let mut gateway = Running::start(&free);
    let line = gateway.line_with("\"serving\"");
    let log: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = log["ws"]
        .as_str()
        .unwrap()
        .trim_start_matches("Some(")
        .trim_end_matches(')')
        .to_owned();
    let port = address.rsplit(':').next().unwrap();
    let mut socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    write!(
        socket,
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {}\r\n\r\n",
        token.trim()
    )
    .unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    let long = run(&[
        "token",
        "--user",
        "alice",
        "--ttl",
        "48h",
        "--secrets-dir",
        &dir,
    ]);
    assert!(
        !long.status.success(),
        "a token that no gateway would take was minted"
    );
}

#[test]
fn what_is_wrong_with_the_start_is_named() {
    let scratch = Scratch::new("wrong");
    let file = scratch.file(
        "wrong.yaml",
        "wsc:\n  heartBeatInterval: 5s\n  clientTimeout: 1s\n",
    );
    let said = refusal(&["--config", &file]);
    assert!(
        said.contains("wsc.heartBeatInterval") && said.contains("heartbeatInterval"),
        "{said}"
    );
    assert!(refusal(&["--config", "/nowhere.yaml"]).contains("/nowhere.yaml"));
    assert!(
        refusal(&FREE_PORTS).contains("jwt-key"),
        "authentication without a key"
    );
    assert!(refusal(&["--set", "wsc.nodePort=seven"]).contains("wsc.nodePort"));

    let dir = scratch.0.display().to_string();
    scratch.file("jwt-key", "short");
    let said = refusal(&[&["--secrets-dir", &dir][..], &FREE_PORTS].concat());
    assert!(said.contains("jwt-key") && said.contains("32"), "{said}");

    let key = "wsc.security.enableEncryption";
    let set = format!("{key}=true");
    let said = refusal(&[&["--dev", "--set", &set][..], &FREE_PORTS].concat());
    assert!(said.contains(key), "{said}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("http.port={}", taken.local_addr().unwrap().port());
    let said = refusal(&[&["--dev"][..], &FREE_PORTS, &["--set", &port]].concat());
    assert!(
        said.contains("http.port") && said.contains("in use"),
        "{said}"
    );
}

#[test]
fn switches_for_machines_without_users_are_refused_in_a_pod() {
    for switch in ["--dev", "--conformance-echo"] {
        let output = gateway(&[switch])
            .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            String::from_utf8(output.stderr)
                .unwrap()
                .contains("refused in a pod")
        );
    }
}

/// The JSON line with this in it, as a value.
pub fn told(gateway: &mut Running, part: &str) -> serde_json::Value {
    serde_json::from_str(&gateway.line_with(part)).unwrap()
}

pub fn address(serving: &serde_json::Value, listener: &str) -> String {
    let text = serving[listener].as_str().unwrap();
    text.trim_start_matches("Some(")
        .trim_end_matches(')')
        .replace("0.0.0.0", "127.0.0.1")
}

/// A handshake whose client takes this long over it.
fn slow_handshake(address: &str, pause: Duration) {
    let mut socket = TcpStream::connect(address).unwrap();
    let began = Instant::now();
    socket.write_all(b"GET /ws HTTP/1.1\r\n").unwrap();
    while began.elapsed() < pause {
        std::thread::yield_now();
    }
    write!(
        socket,
        "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[test]
fn files_are_followed_while_it_runs_and_a_wrong_one_changes_nothing() {
    let scratch = Scratch::new("reload");
    scratch.file("jwt-key", "0123456789abcdef0123456789abcdef");
    let dir = scratch.0.display().to_string();
    let config = scratch.file(
        "gateway.yaml",
        "wsc: {performance: {slowLogThreshold: 1h}}\n",
    );
    let arguments = [
        &["--config", &config, "--secrets-dir", &dir][..],
        &FREE_PORTS,
    ]
    .concat();
    let mut gateway = Running::start(&arguments);
    let serving = told(&mut gateway, "\"serving\"");
    let (ws, admin) = (address(&serving, "ws"), address(&serving, "admin"));
    assert!(get(&admin, "/metrics").starts_with("HTTP/1.1 200"));

    // Not before the first look at the files: what is there then is what it was started with.
    let began = Instant::now();
    let mut asked = 0;
    while !get(&admin, "/metrics").contains("wsc_config_reloads_total{outcome=\"refused\"} 1") {
        asked += 1;
        scratch.file("gateway.yaml", &format!("wsc: {{nodePrt: {asked}}}\n"));
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the file is not followed"
        );
        while began.elapsed() < Duration::from_secs(2 * asked) {
            std::thread::yield_now();
        }
    }
    assert!(gateway.line_with("refused").contains("wsc.nodePrt"));
    let metrics = get(&admin, "/metrics");
    assert!(
        metrics.contains("wsc_config_last_reload_successful 0"),
        "{metrics}"
    );
    assert!(get(&admin, "/status").contains("did you mean wsc.nodePort"));

    let text =
        "wsc: {nodePort: 9999, performance: {slowLogThreshold: 20ms, enableMetrics: false}}\n";
    scratch.file("gateway.yaml", text);
    assert!(
        gateway
            .line_with("\"reloaded\"")
            .contains("wsc.performance.slowLogThreshold")
    );
    assert!(get(&admin, "/metrics").starts_with("HTTP/1.1 404"));
    slow_handshake(&ws, Duration::from_millis(200));
    let slow = told(&mut gateway, "\"slow\"");
    assert_eq!(
        (&slow["level"], &slow["operation"]),
        (&"WARN".into(), &"handshake".into())
    );
    // The gateway begins to count when it accepts, which may be a little after the client has begun.
    assert!(slow["took_ms"].as_u64().unwrap() >= 20, "{slow}");

    // The port waits for a restart; the file now says what was served all along.
    scratch.file(
        "gateway.yaml",
        "wsc: {performance: {slowLogThreshold: 20ms, enableSlowLog: false}}\n",
    );
    gateway.line_with("\"reloaded\"");
    slow_handshake(&ws, Duration::from_millis(200));
    assert!(
        get(&admin, "/metrics").contains("wsc_slow_operations_total 1"),
        "off: not even counted"
    );
    assert!(get(&admin, "/status").contains("\"waiting_for_restart\":[]"));
    assert_eq!(gateway.terminate(), Some(0));
}
