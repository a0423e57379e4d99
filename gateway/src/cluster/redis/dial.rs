//! `Dial`: makes the connections of a link: to one server, to the primary that Sentinels name, or to a Redis Cluster, in
//! the clear or by TLS. Knows nothing of what they are used for; whoever keeps them decides when to dial anew.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClientBuilder;
use ::redis::cluster_async::ClusterConnection;
use ::redis::io::AsyncDNSResolver;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError,
    RedisFuture, RedisResult, TlsCertificates, TlsMode, Value,
};
use futures_util::future::{try_join, try_join_all};
use socket2::TcpKeepalive;

use super::sentinel;
use crate::cluster::RedisParams;
use crate::cluster::params::{Address, RedisTls, Topology};

/// A connection is asked for a sign of life when it has been quiet for so long.
const QUIET: Duration = Duration::from_secs(10);

/// The pause between two such questions.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// What the other end has not confirmed within this time shows that it is gone. Longer than the deadline of an operation, by
/// which a connection that hangs is noticed first if anybody uses it.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// What a connection calls with what Redis says unasked.
pub(super) type OnPush = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// One connection, or one to each member of a Redis Cluster. Cheap to clone.
#[derive(Clone)]
pub(super) enum Line {
    /// To one server, and which process it is: its `run_id`, or nothing where it does not say.
    Server(MultiplexedConnection, Arc<str>),
    /// To a Redis Cluster.
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(..) => "Server",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl Line {
    /// Which process of a server it leads to; nothing: not one, or it does not say.
    pub(super) fn run_id(&self) -> &str {
        match self {
            Self::Server(_, run_id) => run_id,
            Self::Cluster(_) => "",
        }
    }

    /// Listens to these channels; in a Redis Cluster to sharded ones, one by one, since each lies where its slot does.
    pub(super) async fn listen(&mut self, channels: &[String]) -> RedisResult<()> {
        match self {
            Self::Server(line, _) => line.subscribe(channels).await,
            Self::Cluster(line) => {
                for channel in channels {
                    line.ssubscribe(channel).await?;
                }
                Ok(())
            }
        }
    }
}

impl ConnectionLike for Line {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(line, _) => line.req_packed_command(cmd),
            Self::Cluster(line) => line.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(line, _) => line.req_packed_commands(pipeline, offset, count),
            Self::Cluster(line) => line.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(line, _) => line.get_db(),
            Self::Cluster(line) => line.get_db(),
        }
    }
}

/// What one dialling came to.
#[derive(Debug)]
pub(super) struct Dialled {
    /// For commands, in the order of their ears.
    pub(super) commands: Vec<Line>,
    /// For messages from other nodes.
    pub(super) messages: Line,
    /// Which server it led to, and leads to from now on; nothing: those of a Redis Cluster.
    pub(super) at: Option<Address>,
}

/// Who is told what Redis says unasked.
pub(super) struct Ears {
    /// One for each connection for commands.
    pub(super) commands: Vec<OnPush>,
    pub(super) messages: OnPush,
}

/// All connections of a link, or none.
pub(super) async fn dial(redis: &RedisParams, ears: &Ears) -> RedisResult<Dialled> {
    if redis.tls.is_some() {
        provide_crypto();
    }
    let at = match &redis.topology {
        Topology::Server => Some(redis.address()),
        Topology::Sentinel(sentinels) => Some(sentinel::primary(redis, sentinels).await?),
        Topology::Cluster(_) => None,
    };
    let commands = ears.commands.iter().cloned();
    let commands = commands.map(|ear| line(redis, at.as_ref(), ear));
    let messages = line(redis, at.as_ref(), ears.messages.clone());
    let (mut commands, messages) = try_join(try_join_all(commands), messages).await?;
    if let (Topology::Sentinel(_), Some(first)) = (&redis.topology, commands.first_mut()) {
        sentinel::confirm(first).await?;
    }
    Ok(Dialled {
        commands,
        messages,
        at,
    })
}

/// One connection more, to where the others lead.
pub(super) async fn line(
    redis: &RedisParams,
    at: Option<&Address>,
    ear: OnPush,
) -> RedisResult<Line> {
    let hear = move |push: PushInfo| -> Result<(), std::convert::Infallible> {
        ear(push);
        Ok(())
    };
    if let Some(address) = at {
        let config = config(redis, address).set_push_sender(hear);
        let client = client(redis, address, Login::Redis)?;
        let line = client.get_multiplexed_async_connection_with_config(&config);
        let mut line = line.await?;
        let run_id = run_id(&mut line).await?;
        return Ok(Line::Server(line, run_id));
    }
    let nodes: RedisResult<Vec<ConnectionInfo>> = redis
        .members()
        .map(|address| info(redis, &address, Login::Redis))
        .collect();
    let mut builder = ClusterClientBuilder::new(nodes?)
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(redis.deadline)
        .response_timeout(redis.deadline)
        .tcp_settings(tcp())
        .push_sender(hear);
    if let Some(tls) = &redis.tls {
        builder = builder.tls(TlsMode::Secure).certs(certificates(tls)?);
    }
    Ok(Line::Cluster(
        builder.build()?.get_async_connection().await?,
    ))
}

/// A connection leads to one process for as long as it lives, so that it is asked once.
async fn run_id(line: &mut MultiplexedConnection) -> RedisResult<Arc<str>> {
    let told: RedisResult<String> = ::redis::cmd("INFO").arg("server").query_async(line).await;
    match told {
        Ok(told) => {
            let mut lines = told.lines();
            let run_id = lines.find_map(|line| line.strip_prefix("run_id:"));
            Ok(run_id.unwrap_or_default().into())
        }
        // Who may not ask is told so when it matters.
        Err(error) if error.code().is_some() => Ok("".into()),
        Err(error) => Err(error),
    }
}

/// With whose credentials a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// Redis' own.
    Redis,
    /// None.
    Nobody,
}

/// Who to connect to and how.
pub(super) fn client(redis: &RedisParams, address: &Address, login: Login) -> RedisResult<Client> {
    let info = info(redis, address, login)?;
    match &redis.tls {
        None => Client::open(info),
        Some(tls) => Client::build_with_tls(info, certificates(tls)?),
    }
}

/// The deadlines of a connection, and where the name that its certificate carries is to be looked for.
pub(super) fn config(redis: &RedisParams, address: &Address) -> AsyncConnectionConfig {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(redis.deadline))
        .set_response_timeout(Some(redis.deadline));
    match &redis.tls {
        Some(RedisTls {
            server_name: Some(_),
            ..
        }) => config.set_dns_resolver(Elsewhere(address.clone())),
        Some(_) | None => config,
    }
}

fn info(redis: &RedisParams, address: &Address, login: Login) -> RedisResult<ConnectionInfo> {
    let mut settings = RedisConnectionInfo::default();
    if login == Login::Redis {
        settings = settings
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(redis.db.into());
        if let Some(username) = &redis.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &redis.password {
            settings = settings.set_password(password.reveal());
        }
    }
    let Address { host, port } = address.clone();
    let address = match &redis.tls {
        None => ConnectionAddr::Tcp(host, port),
        Some(tls) => ConnectionAddr::TcpTls {
            host: tls.server_name.clone().unwrap_or(host),
            port,
            insecure: false,
            tls_params: None,
        },
    };
    let info = address.into_connection_info()?;
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp()))
}

/// A peer that is gone without a word is noticed: what was sent is given up when nobody has confirmed it for so long, and a
/// quiet connection is asked whether it is still there.
fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(QUIET)
        .with_interval(ASK_AGAIN);
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(UNCONFIRMED)
}

/// What Redis' certificate is judged by: the given authorities, or else those of the system.
fn certificates(tls: &RedisTls) -> RedisResult<TlsCertificates> {
    // A file without a certificate would otherwise be an empty list, and every certificate unknown.
    if let Some(ca) = &tls.ca
        && !ca.contains("-----BEGIN CERTIFICATE-----")
    {
        let why = "wsc.redis.tls.caSecretRef: there is no certificate in PEM form";
        return Err(RedisError::from((ErrorKind::InvalidClientConfig, why)));
    }
    Ok(TlsCertificates {
        client_tls: None,
        root_cert: tls.ca.as_ref().map(|ca| ca.as_bytes().to_vec()),
    })
}

/// Once per process; who came first decides, and all of them choose the same.
fn provide_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Whatever name is asked for is found at this address: the connection is made to it, and its certificate is held against
/// the name.
struct Elsewhere(Address);

impl AsyncDNSResolver for Elsewhere {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _: &'b str,
        _: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = std::net::SocketAddr> + Send + 'a>> {
        Box::pin(async {
            let found = tokio::net::lookup_host((self.0.host.as_str(), self.0.port)).await?;
            let found: Vec<_> = found.collect();
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = _> + Send>)
        })
    }
}
