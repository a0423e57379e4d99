//! A real API server over a real etcd, on ports of their own, for as long as the tests run; no controllers, no nodes.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Config};
use parking_lot::Mutex;
use rcgen::KeyPair;
use tokio::sync::OnceCell;
use wsc_operator::api::crd;

use crate::ground::eventually;

/// The API server may have to wait for its cores.
const UP_WITHIN: Duration = Duration::from_secs(120);
const TOKEN: &str = "throw-away";

static PLANE: LazyLock<Plane> = LazyLock::new(|| Plane::start("all"));
static PREPARED: OnceCell<()> = OnceCell::const_new();

struct Plane {
    port: u16,
    dir: PathBuf,
    of_server: Vec<String>,
    /// Closed when this process ends, whichever way; the processes end with it.
    guards: Vec<(Child, ChildStdin)>,
}

/// One of a test's own, which may be killed, or where an operator may look at everything.
pub struct Own(Plane);

impl Own {
    /// Starts it with the CRD.
    pub async fn start(name: &str) -> Self {
        let own = Self(Plane::start(name));
        prepare(&own.client()).await;
        own
    }

    /// Starts it without the CRD.
    pub async fn bare(name: &str) -> Self {
        let own = Self(Plane::start(name));
        serves(&own.client()).await;
        own
    }

    /// A client with every right.
    pub fn client(&self) -> Client {
        self.client_as(TOKEN)
    }

    /// A client of whom this token is.
    pub fn client_as(&self, token: &str) -> Client {
        connect(self.0.port, token)
    }

    /// See the function of this name.
    pub fn kubeconfig(&self, path: &Path) -> PathBuf {
        write_kubeconfig(self.0.port, path)
    }

    /// Kills the API server where it stands.
    pub fn kill(&self) {
        let pid = self.0.dir.join("kube-apiserver.pid");
        let pid = std::fs::read_to_string(pid).unwrap();
        let killed = Command::new("kill").args(["-9", pid.trim()]).status();
        assert!(killed.unwrap().success());
    }

    /// Starts it again, as it was, and awaits that it serves.
    pub async fn begin(&mut self) {
        let plane = &mut self.0;
        let server = guarded(&program("kube-apiserver"), &plane.of_server, &plane.dir);
        plane.guards.push(server);
        let client = self.client();
        serves(&client).await;
    }
}

/// A client with every right, bound to the test's own runtime.
pub async fn client() -> Client {
    let client = client_as(TOKEN);
    PREPARED.get_or_init(|| prepare(&client)).await;
    client
}

/// A client of whom this token is.
pub fn client_as(token: &str) -> Client {
    connect(PLANE.port, token)
}

async fn prepare(client: &Client) {
    serves(client).await;
    install_crd(client).await;
}

async fn serves(client: &Client) {
    eventually(UP_WITHIN, "the API server serves", async || {
        client.apiserver_version().await.ok()
    })
    .await;
}

fn connect(port: u16, token: &str) -> Client {
    let url = format!("https://127.0.0.1:{port}");
    let mut config = Config::new(url.parse().unwrap());
    config.accept_invalid_certs = true;
    config.auth_info.token = Some(token.to_owned().into());
    Client::try_from(config).unwrap()
}

async fn install_crd(client: &Client) {
    let all: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("test").force();
    let name = "websocketgateways.wsc.dev";
    all.patch(name, &params, &Patch::Apply(crd()))
        .await
        .unwrap();
    eventually(UP_WITHIN, "the CRD is served", async || {
        let found = all.get(name).await.ok()?;
        let conditions = found.status?.conditions?;
        conditions
            .iter()
            .any(|found| found.type_ == "Established" && found.status == "True")
            .then_some(())
    })
    .await;
}

/// Writes a kubeconfig with every right, for other programs.
pub fn kubeconfig(path: &Path) -> PathBuf {
    write_kubeconfig(PLANE.port, path)
}

fn write_kubeconfig(port: u16, path: &Path) -> PathBuf {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
        clusters: [{{name: test, cluster: {{server: \"https://127.0.0.1:{port}\", insecure-skip-tls-verify: true}}}}]\n\
        contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
        users: [{{name: test, user: {{token: {TOKEN}}}}}]\n"
    );
    std::fs::write(path, text).unwrap();
    path.to_owned()
}

impl Plane {
    fn start(name: &str) -> Self {
        let ports = free_ports::<3>();
        let name = format!("apiserver-{name}-{}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.join("sa.key"), key.serialize_pem()).unwrap();
        std::fs::write(dir.join("sa.pub"), key.public_key_pem()).unwrap();
        let token = format!("{TOKEN},admin,admin,system:masters\n");
        std::fs::write(dir.join("tokens.csv"), token).unwrap();
        let [etcd, peer, port] = ports;
        let (etcd, peer) = (
            format!("http://127.0.0.1:{etcd}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let of_etcd = [
            format!("--data-dir={}", dir.join("etcd").display()),
            format!("--listen-client-urls={etcd}"),
            format!("--advertise-client-urls={etcd}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
        ];
        let path = |file: &str| dir.join(file).display().to_string();
        let of_server = [
            format!("--etcd-servers={etcd}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", dir.display()),
            // A thousand gateways have thousands of Services.
            "--service-cluster-ip-range=10.96.0.0/12".to_owned(),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", path("sa.key")),
            format!("--service-account-key-file={}", path("sa.pub")),
        ];
        Self {
            port,
            guards: vec![
                guarded(&program("etcd"), &of_etcd, &dir),
                guarded(&program("kube-apiserver"), &of_server, &dir),
            ],
            dir,
            of_server: of_server.into(),
        }
    }
}

/// Runs a program until our end of its guard's input is closed.
fn guarded(program: &Path, args: &[String], dir: &Path) -> (Child, ChildStdin) {
    const GUARD: &str = r#"dir=$1; shift; "$@" >"$dir/$(basename "$1").log" 2>&1 & child=$!
        echo $child >"$dir/$(basename "$1").pid"; read -r _; kill -9 $child; wait $child; rm -rf "$dir""#;
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, "guard"])
        .arg(dir)
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let input = guard.stdin.take().unwrap();
    (guard, input)
}

/// Where `e2e/cluster/up` puts what it builds.
pub fn program(name: &str) -> PathBuf {
    let cache = std::env::var_os("CLUSTER_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/wsc-cluster"),
        PathBuf::from,
    );
    let found = cache.join("bin").join(name);
    assert!(
        found.exists(),
        "{} is not there: `make cluster-up` builds it",
        found.display()
    );
    found
}

/// Ports that nobody has at the moment and no other test was given. Below the ephemeral range, so that no connection and no
/// proxy takes one before its server has it, and apart from those that tests of the gateway beside these look for.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock();
    [(); N].map(|()| {
        loop {
            let port = rand::random_range(12_000..20_000);
            if TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
                return port;
            }
        }
    })
}
