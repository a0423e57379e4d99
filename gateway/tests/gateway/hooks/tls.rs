//! Hooks behind certificates of a private authority: believed by that authority alone, under the name that is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};
use wsc_gateway::app::Gateway;
use wsc_gateway::settings::Secrets;
use wsc_proto::v1::hook_service_server::{HookService, HookServiceServer};
use wsc_proto::v1::{
    HookAdmission, HookConnectRequest, HookJoinGroupRequest, HookMessageRequest, HookTellRequest,
    HookTellResponse, HookVerdict,
};

use super::refused;
use crate::hook_target::{Target, says};
use crate::sandbox::{Node, config, options};

/// An authority of nobody but us.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Speaks TLS as this name in front of a port; the port that it does so at.
    async fn in_front_of(&self, port: u16, (name, alpn): (&str, &[u8])) -> u16 {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let (Ok(mut front), Ok(mut back)) = (
                        acceptor.accept(socket).await,
                        TcpStream::connect(("127.0.0.1", port)).await,
                    ) else {
                        return;
                    };
                    let _ended = tokio::io::copy_bidirectional(&mut front, &mut back).await;
                });
            }
        });
        at
    }
}

const H1: &[u8] = b"http/1.1";

/// A gate at a port of this pod that speaks TLS.
fn gate(port: u16, tls: &str, more: &str) -> String {
    let ca = "caSecretRef: {name: rules, key: ca.crt}";
    format!(
        "hooks=[{{name: gate, points: [connect], target: {{local: {{port: {port}}}}}, tls: {{{ca}{tls}}}, timeout: 5s{more}}}]"
    )
}

fn secrets(ca: &str) -> Secrets {
    Secrets {
        hook_cas: BTreeMap::from([("gate".to_owned(), ca.to_owned())]),
        ..options("hooked").secrets
    }
}

async fn start(set: &str, ca: &str) -> Node {
    let mut options = options("hooked");
    options.secrets = secrets(ca);
    Node(Gateway::start(config(&[set]), options).await.unwrap())
}

/// Whether the hook's own no comes through: over any other connection than a good one it would be `unavailable`.
async fn is_asked(node: &Node) -> bool {
    let (frame, code) = refused(node, "mallory").await;
    match code {
        4010 => frame["message"] == "we have met",
        1013 => false,
        other => panic!("{other}: {frame}"),
    }
}

async fn denying() -> Target {
    Target::start(|_| says(&json!({"action": "deny", "reason": "we have met"}))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_private_authority_is_believed_by_that_authority_alone() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let target = denying().await;
    let port = ours.in_front_of(target.port, ("127.0.0.1", H1)).await;
    let set = gate(port, "", "");
    assert!(is_asked(&start(&set, &ours.pem).await).await);
    let wary = start(&set, &theirs.pem).await;
    assert!(!is_asked(&wary).await);
    // An authority that is replaced is taken over under clients that stay, and a file without one is not.
    let both = format!("{}{}", theirs.pem, ours.pem);
    let new = Arc::new(secrets(&both));
    wary.0.reload_all(config(&[&set]), new).await.unwrap();
    assert!(is_asked(&wary).await);
    let none = Arc::new(secrets("no certificate"));
    let error = wary.0.reload_all(config(&[&set]), none).await.unwrap_err();
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert!(chain.contains("hook gate: tls: caSecretRef"), "{chain}");
    assert!(is_asked(&wary).await, "the old one goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_authority_a_hook_does_not_start_and_without_a_word_the_public_ones_judge() {
    let ours = Authority::new();
    let target = denying().await;
    let port = ours.in_front_of(target.port, ("127.0.0.1", H1)).await;
    let set = gate(port, "", "");
    let error = Gateway::start(config(&[&set]), options("hooked")).await;
    let chain = format!("{:#}", anyhow::Error::from(error.err().unwrap()));
    assert!(
        chain.contains("hook gate: no hook-ca-gate in the secrets directory"),
        "{chain}"
    );
    let url = format!(
        "hooks=[{{name: gate, points: [connect], timeout: 5s, target: {{url: 'https://127.0.0.1:{port}'}}}}]"
    );
    assert!(!is_asked(&start(&url, &ours.pem).await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_must_carry_the_name_that_is_asked_for() {
    let ours = Authority::new();
    let target = denying().await;
    let port = ours.in_front_of(target.port, ("rules.example", H1)).await;
    let node = start(&gate(port, "", ""), &ours.pem).await;
    assert!(!is_asked(&node).await, "it is not that of the address");
    for (name, fits) in [("rules.example", true), ("other.example", false)] {
        let tls = format!(", serverName: {name}");
        let node = start(&gate(port, &tls, ""), &ours.pem).await;
        assert_eq!(is_asked(&node).await, fits, "{name}");
    }
}

/// Lets nobody in.
struct Denying;

#[tonic::async_trait]
impl HookService for Denying {
    async fn connect_client(
        &self,
        _: Request<HookConnectRequest>,
    ) -> Result<Response<HookAdmission>, Status> {
        Ok(Response::new(HookAdmission {
            action: "deny".to_owned(),
            reason: "we have met".to_owned(),
            ..HookAdmission::default()
        }))
    }

    async fn message(
        &self,
        _: Request<HookMessageRequest>,
    ) -> Result<Response<HookVerdict>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }

    async fn join_group(
        &self,
        _: Request<HookJoinGroupRequest>,
    ) -> Result<Response<HookAdmission>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }

    async fn tell(
        &self,
        _: Request<HookTellRequest>,
    ) -> Result<Response<HookTellResponse>, Status> {
        Err(Status::unimplemented("nobody tells"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_goes_for_hooks_over_grpc() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behind = listener.local_addr().unwrap().port();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let serving = tonic::transport::Server::builder()
        .add_service(HookServiceServer::new(Denying))
        .serve_with_incoming(incoming);
    tokio::spawn(serving);
    let port = ours.in_front_of(behind, ("rules.example", b"h2")).await;
    let set = gate(port, ", serverName: rules.example", ", transport: grpc");
    assert!(is_asked(&start(&set, &ours.pem).await).await);
    assert!(!is_asked(&start(&set, &theirs.pem).await).await);
}
