//! The way to a gateway behind TLS: its certificate is judged by the file that is given, and by nothing else then.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn stats(port: u16, ca_file: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wscctl"))
        .args([
            "stats",
            "--output",
            "json",
            "--url",
            &format!("https://localhost:{port}"),
        ])
        .arg("--ca-file")
        .arg(ca_file)
        .output()
        .unwrap()
}

#[test]
fn only_a_server_with_the_right_certificate_is_spoken_to() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let dir = std::env::temp_dir().join(format!("wscctl-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (right, wrong) = (dir.join("right.pem"), dir.join("wrong.pem"));
    std::fs::write(&right, made.cert.pem()).unwrap();
    std::fs::write(&wrong, other.cert.pem()).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(session, socket.unwrap());
            let mut head = [0; 1024];
            if stream.read(&mut head).is_ok() {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"node\":\"tls-1\"}";
                let _ = stream.write_all(answer);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });

    let good = stats(port, &right);
    assert!(good.status.success(), "{good:?}");
    assert!(String::from_utf8(good.stdout).unwrap().contains("tls-1"));
    let bad = stats(port, &wrong);
    assert_eq!(bad.status.code(), Some(5), "{bad:?}");
    assert!(String::from_utf8(bad.stderr).unwrap().contains("TLS"));
    let none = stats(port, &dir.join("nowhere.pem"));
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    std::fs::remove_dir_all(dir).unwrap();
}
