//! `Gates`: the addresses that the clients of a load may try, as a Service would give them, and the tokens they show.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longest a handshake may take before a client tries elsewhere.
const HANDSHAKE: Duration = Duration::from_secs(3);

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Gates {
    open: Arc<RwLock<Vec<String>>>,
    token: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

impl Gates {
    /// None is open yet; `token` gives a user's token.
    pub fn new(token: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self {
            open: Arc::default(),
            token: Arc::new(token),
        }
    }

    pub fn open(&self, url: String) {
        let mut open = self.open.write();
        if !open.contains(&url) {
            open.push(url);
        }
    }

    // Who has a Service before the nodes never closes one.
    #[allow(dead_code)]
    pub fn close(&self, url: &str) {
        self.open.write().retain(|open| open != url);
    }

    fn any(&self) -> Option<String> {
        let open = self.open.read();
        (!open.is_empty()).then(|| open[rand::random_range(0..open.len())].clone())
    }

    /// Connects to any of them, if there is one that lets the user in.
    pub async fn connect(&self, user: &str, resume: Option<&Value>) -> Option<Socket> {
        let url = self.any()?;
        let url = match resume {
            Some(resume) => format!("{url}?resume={}", encoded(&resume.to_string())),
            None => url,
        };
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {}", (self.token)(user));
        let headers = request.headers_mut();
        headers.insert("authorization", bearer.parse().unwrap());
        let connected = timeout(HANDSHAKE, connect_async(request)).await.ok()?;
        connected.ok().map(|(socket, _)| socket)
    }
}

fn encoded(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    bytes.concat()
}
