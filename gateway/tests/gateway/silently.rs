//! Messages that are stored and of which nobody is told, as when the node that stored them ended before it handed them on.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wsc_gateway::cluster::redis::RedisLink;
use wsc_gateway::cluster::{Listener, RedisParams};
use wsc_gateway::hub::unix_millis;
use wsc_gateway::log::{Append, Log as _, RedisLog, Retention};
use wsc_gateway::protocol::{LogId, NodeId, TicketId};

use crate::redis::RedisServer;
use crate::sandbox::Node;

/// Something said in a ticket some milliseconds ago.
pub async fn append_to_ticket(
    node: &Node,
    redis: &RedisServer,
    (ticket, content): (&str, &str),
    ago: u64,
) {
    let message = json!({"type": "text", "id": content, "from": "ann", "ticket_id": ticket, "content": content});
    let log = LogId::Ticket(TicketId::new(ticket).unwrap());
    append(node, redis, (&log, message), ago).await;
}

/// A frame of this log, stored some milliseconds ago.
pub async fn append(node: &Node, redis: &RedisServer, (log, message): (&LogId, Value), ago: u64) {
    let config = node.0.config();
    let mut params = RedisParams::at("127.0.0.1", redis.port);
    params.key_prefix.clone_from(&config.wsc.redis.key_prefix);
    let link = RedisLink::standalone(&params, config.wsc.distributed.cluster());
    let cancel = tokio_util::sync::CancellationToken::new();
    let keeping = link.clone();
    tokio::spawn(keeping.keep(NodeId::new("writer"), Arc::new(Deaf), cancel.clone()));
    link.connected().await;
    let hour = Duration::from_secs(3600);
    let retention = Retention {
        age: hour * 24,
        messages: 1000,
        tickets: hour * 24,
        dedupe: hour,
        records: None,
    };
    let append = Append {
        id: message["id"].as_str().unwrap().to_owned(),
        sender: message["from"].as_str().unwrap().to_owned(),
        own_id: false,
        json: message.to_string().into(),
        at: unix_millis() - ago,
        ack: false,
        trace: None,
    };
    let logs = RedisLog::new(&link, retention, false);
    logs.append(log, &[append]).await.unwrap();
    cancel.cancel();
}

struct Deaf;

impl Listener for Deaf {
    fn offer(&self, _envelope: bytes::Bytes) {}
}
