//! What is on in a scenario beside the plain exchange, and what turns it on in each server.

use crate::peer::{KEY, NODE_PORTS, PORTS, Place};
use crate::redis;

/// How long a connection may be quiet before a server pings it, in seconds, where that is measured: one of the few
/// intervals that uWebSockets has, too.
pub const HEARTBEAT: u64 = 8;
/// How many sessions a leaving node tells in a second.
pub const LEAVE_RATE: u32 = 200;
/// How many nodes a cluster has.
pub(crate) const NODES: u16 = 3;

/// What has to have happened before a message counts as accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is in the process' memory.
    None,
    /// Redis has it.
    Stored,
    /// Redis and a replica have it.
    Replicated,
}

impl Acceptance {
    /// Its name in the configuration and in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Stored => "stored",
            Self::Replicated => "replicated",
        }
    }

    /// What a receipt says that is not less than that.
    pub fn receipt(self) -> &'static str {
        match self {
            Self::None => r#""state":"accepted","level":"none""#,
            Self::Stored => r#""state":"accepted","level":"stored""#,
            Self::Replicated => r#""state":"accepted","level":"replicated""#,
        }
    }
}

/// What is on in a scenario beside the plain exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    Nothing,
    /// TLS by the server itself.
    Tls,
    /// permessage-deflate.
    Deflate,
    /// Nobody is asked for a token.
    Open,
    /// Everybody is asked for a token, also by servers that know nobody.
    Token,
    /// Several nodes, with a Redis where they need one.
    Nodes,
    /// A Redis that keeps messages, and when they are accepted.
    Durable(Acceptance),
    /// Pings at short intervals.
    Heartbeats,
    /// Servers that are ended while clients are there: nodes of a cluster, where a server has that.
    Leaving,
}

impl Extra {
    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Tls => "tls",
            Self::Deflate => "deflate",
            Self::Open => "open",
            Self::Token => "token",
            Self::Nodes => "nodes",
            Self::Durable(level) => level.name(),
            Self::Heartbeats => "heartbeats",
            Self::Leaving => "restart",
        }
    }

    /// What turns it on in the gateway.
    pub(crate) fn settings(self, port: u16) -> Vec<String> {
        let mut settings = match self {
            Self::Tls => vec!["tls.ws=true".to_owned()],
            Self::Deflate => vec!["wsc.performance.enableCompression=true".to_owned()],
            Self::Open => vec!["wsc.security.enableAuth=false".to_owned()],
            // With `acceptance: none` nothing is stored and no sender hears of it: `none` is what one says without a Redis.
            Self::Nothing | Self::Token | Self::Nodes | Self::Durable(Acceptance::None) => vec![],
            Self::Durable(level) => vec![format!("wsc.delivery.acceptance={}", level.name())],
            Self::Heartbeats => vec![format!("wsc.heartbeatInterval={HEARTBEAT}s")],
            Self::Leaving => vec![
                "drain.unreadyDelay=1s".to_owned(),
                "drain.window=1s".to_owned(),
                format!("drain.ratePerSecond={LEAVE_RATE}"),
            ],
        };
        let alone = matches!(
            self,
            Self::Nothing
                | Self::Tls
                | Self::Deflate
                | Self::Open
                | Self::Token
                | Self::Heartbeats
                | Self::Durable(Acceptance::None)
        );
        if !alone {
            settings.extend([
                "wsc.distributed.enabled=true".to_owned(),
                "wsc.redis.host=127.0.0.1".to_owned(),
                format!("wsc.redis.port={}", redis::port(port)),
            ]);
        }
        settings
            .into_iter()
            .flat_map(|setting| ["--set".to_owned(), setting])
            .collect()
    }

    /// The variables that turn it on in the peers' mains.
    pub(crate) fn variables(self, place: &Place, port: u16) -> Vec<(&'static str, String)> {
        match self {
            Self::Nothing | Self::Open | Self::Durable(_) | Self::Leaving => vec![],
            Self::Token => vec![("BENCH_JWT_KEY", KEY.to_owned())],
            Self::Tls => {
                let secrets = place.scratch.join("secrets");
                vec![("BENCH_TLS", secrets.display().to_string())]
            }
            Self::Deflate => vec![("BENCH_DEFLATE", "1".to_owned())],
            Self::Nodes => {
                let nodes: Vec<_> = nodes(port / PORTS * PORTS)
                    .map(|node| node.to_string())
                    .collect();
                vec![
                    ("BENCH_REDIS", format!("127.0.0.1:{}", redis::port(port))),
                    ("BENCH_NODES", nodes.join(",")),
                ]
            }
            Self::Heartbeats => vec![("BENCH_HEARTBEAT", HEARTBEAT.to_string())],
        }
    }
}

/// The ports of a cluster's nodes, of which the first is on `port`.
pub(crate) fn nodes(port: u16) -> impl Iterator<Item = u16> {
    (0..NODES).map(move |node| port + node * NODE_PORTS)
}
