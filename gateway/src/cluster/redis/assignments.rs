//! `RedisAssignments`: who has which work, each under a key of its own that runs out when nobody asks for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::keys::{holder, parse_holder};
use super::scripts::ASSIGN;
use super::{RedisCalls, RedisLink};
use crate::cluster::ClusterError;
use crate::cluster::assignments::{Assignments, Holder};
use crate::telemetry::RedisPart;

/// How long an assignment is remembered that nobody asks for.
const MEMORY: Duration = Duration::from_hours(1);

/// See the module.
#[derive(Debug)]
pub struct RedisAssignments {
    link: RedisCalls,
}

impl RedisAssignments {
    /// Over this link.
    pub fn new(link: &Arc<RedisLink>) -> Self {
        let link = link.calls(RedisPart::Registry);
        Self { link }
    }
}

impl Assignments for RedisAssignments {
    fn assign<'a>(
        &'a self,
        work: &'a str,
        pick: &'a Holder,
        live: &'a [Holder],
    ) -> BoxFuture<'a, Result<Holder, ClusterError>> {
        Box::pin(async move {
            let script = &ASSIGN;
            let mut call = script.key(self.link.key(&format!("w:{work}"), "node"));
            call.arg(holder(&pick.0, pick.1)).arg(MEMORY.as_secs());
            for (node, epoch) in live {
                call.arg(holder(node, *epoch));
            }
            let given: String = self.link.run("assign", &call).await?;
            // What cannot be read was never among the living, so the script has replaced it.
            Ok(parse_holder(&given).unwrap_or_else(|| pick.clone()))
        })
    }
}
