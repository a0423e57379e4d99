//! An identity provider as a test has one: key pairs, the tokens they sign, and the set that it publishes over HTTP or HTTPS.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What openssl prints.
pub fn openssl(args: &str, input: &str) -> String {
    let mut child = Command::new("openssl")
        .args(args.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "openssl {args}");
    String::from_utf8(done.stdout).unwrap()
}

/// A private key on P-256, as PEM.
pub fn p256() -> String {
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", "")
}

/// Its public half.
pub fn public(private: &str) -> String {
    openssl("pkey -pubout", private)
}

/// A key pair of ES256 with a name.
pub struct Signer {
    pub kid: String,
    key: EncodingKey,
}

impl Signer {
    pub fn new(kid: &str) -> Self {
        let key = EncodingKey::from_ec_pem(p256().as_bytes()).unwrap();
        let kid = kid.to_owned();
        Self { kid, key }
    }

    /// What is published of it.
    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).unwrap()
    }

    /// A token of this user for a quarter of an hour, by this name of the key.
    pub fn token_as(&self, user: &str, kid: Option<&str>) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let claims = json!({"sub": user, "iat": now, "exp": now + 900});
        let mut header = Header::new(Algorithm::ES256);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }

    pub fn token(&self, user: &str) -> String {
        self.token_as(user, Some(&self.kid))
    }
}

/// The set of these keys.
pub fn set(signers: &[&Signer]) -> String {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// A server that answers every request with one document.
pub struct Server {
    pub port: u16,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    pub async fn http(document: String) -> Self {
        Self::start(document, None).await
    }

    /// With a certificate of its own for localhost, which is given back.
    pub async fn https(document: String) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::start(document, Some(acceptor)).await, made.cert.pem())
    }

    async fn start(document: String, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new((200, document)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, count) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (tls, told, count) = (tls.clone(), told.clone(), count.clone());
                tokio::spawn(async move {
                    let _gone = match tls {
                        None => respond(socket, &told, &count).await,
                        Some(tls) => match tls.accept(socket).await {
                            Ok(socket) => respond(socket, &told, &count).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self {
            port,
            answer,
            asked,
        }
    }

    pub fn publish(&self, status: u16, document: String) {
        *self.answer.lock() = (status, document);
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

async fn respond(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Mutex<(u16, String)>,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    asked.fetch_add(1, SeqCst);
    let (status, document) = answer.lock().clone();
    let length = document.len();
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{document}");
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}
