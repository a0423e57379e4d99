//! Sentinel: which server is the primary now. All Sentinels are asked at once, so that a silent one costs nothing as long
//! as most of the others agree; one that was cut off and knows an older primary is outvoted. Whether the server itself
//! agrees is asked once there is a connection: during a failover there may be none that does, and the link dials again.

use std::collections::BTreeMap;

use ::redis::{ErrorKind, RedisError, RedisResult, Value};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::dial::{Line, Login, client, config};
use crate::cluster::RedisParams;
use crate::cluster::params::{Address, Sentinels};

/// The primary's address, by the word of most.
pub(super) async fn primary(redis: &RedisParams, sentinels: &Sentinels) -> RedisResult<Address> {
    let Sentinels { master, addresses } = sentinels;
    let ask = |address| async move {
        match timeout(redis.deadline, ask(redis, address, master)).await {
            Ok(answer) => answer,
            Err(_) => Err(fail("no answer in time", address)),
        }
    };
    let mut asked: FuturesUnordered<_> = addresses.iter().map(ask).collect();
    let mut votes: BTreeMap<Address, usize> = BTreeMap::new();
    let mut reason = None;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(Some(address)) => {
                let count = votes.entry(address.clone()).or_default();
                *count += 1;
                if *count * 2 > addresses.len() {
                    return Ok(address);
                }
            }
            Ok(None) => {}
            Err(error) => reason = Some(error),
        }
    }
    let most = votes.into_iter().max_by_key(|(_, count)| *count);
    match (most, reason) {
        (Some((address, _)), _) => Ok(address),
        (None, Some(error)) => Err(error),
        (None, None) => Err(RedisError::from((
            ErrorKind::InvalidClientConfig,
            "wsc.redis.sentinel.masterName: no Sentinel knows it",
            master.clone(),
        ))),
    }
}

/// Sentinels often have no password; one that wants one is given Redis' own.
async fn ask(redis: &RedisParams, address: &Address, master: &str) -> RedisResult<Option<Address>> {
    match ask_as(redis, address, master, Login::Nobody).await {
        Err(error) if error.code() == Some("NOAUTH") && redis.password.is_some() => {
            ask_as(redis, address, master, Login::Redis).await
        }
        answer => answer,
    }
}

async fn ask_as(
    redis: &RedisParams,
    address: &Address,
    master: &str,
    login: Login,
) -> RedisResult<Option<Address>> {
    // Sentinels have no databases to select.
    let redis = RedisParams {
        db: 0,
        ..redis.clone()
    };
    let client = client(&redis, address, login)?;
    let config = config(&redis, address);
    let mut sentinel = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let found: Option<(String, u16)> = ::redis::cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(master)
        .query_async(&mut sentinel)
        .await?;
    Ok(found.map(|(host, port)| Address { host, port }))
}

/// Whether the server says itself that it is the primary.
pub(super) async fn confirm(line: &mut Line) -> RedisResult<()> {
    let role: Vec<Value> = ::redis::cmd("ROLE").query_async(line).await?;
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        _ => Err(RedisError::from((
            ErrorKind::InvalidClientConfig,
            "the server that the Sentinels name is no primary",
        ))),
    }
}

fn fail(what: &'static str, address: &Address) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, what, address.to_string()))
}
