//! `Together`: several scripts that are asked in one go over one connection to one server, each with commands before it. One
//! write there and one read back for all of them. Each is atomic by itself and fails by itself.

use std::time::Duration;

use ::redis::{
    Cmd, ErrorKind, Pipeline, RedisResult, Script, ScriptInvocation, ServerErrorKind, Value,
};
use tokio::time::Instant;

use super::dial::Line;
use crate::time::millis;

/// One of those that are asked together.
pub struct Ask {
    /// Commands whose failure takes nothing from the script: it is written to the gateway's own log.
    pub before: Vec<Cmd>,
    /// The script's call. Behind its other arguments it gets the `run_id` of the server's process, or nothing where that is not known.
    pub call: ScriptInvocation<'static>,
}

/// What is asked in one go.
pub(super) struct Together<'a> {
    pub(super) script: &'a Script,
    pub(super) asks: Vec<Ask>,
    /// For how long a replica is waited for, in all.
    pub(super) wait: Option<Duration>,
}

/// What each came to, in order, and how many replicas have all of it.
pub(super) struct Answers {
    pub(super) each: Vec<RedisResult<Value>>,
    pub(super) replicas: Option<RedisResult<u64>>,
}

impl Together<'_> {
    /// Where the server does not know the script, the calls are made once more with it; what stands before them is done.
    pub(super) async fn ask(mut self, line: &mut Line) -> RedisResult<Answers> {
        let until = self.wait.map(|wait| Instant::now() + wait);
        for ask in &mut self.asks {
            ask.call.arg(line.run_id());
        }
        let mut pipeline = Pipeline::new();
        for ask in &self.asks {
            for command in &ask.before {
                pipeline.add_command(command.clone());
            }
            pipeline.invoke_script(&ask.call);
        }
        let told = send(pipeline, until, line).await?;
        let mut told = told.into_iter();
        let mut each: Vec<RedisResult<Value>> = self
            .asks
            .iter()
            .map(|ask| last(told.by_ref().take(ask.before.len() + 1)))
            .collect();
        let mut waited = told.next();
        let unknown: Vec<usize> = (0..)
            .zip(&each)
            .filter_map(|(place, told)| is_unknown(told).then_some(place))
            .collect();
        if !unknown.is_empty() {
            let mut pipeline = Pipeline::new();
            pipeline.load_script(self.script).ignore();
            for ask in unknown.iter().filter_map(|place| self.asks.get(*place)) {
                pipeline.invoke_script(&ask.call);
            }
            let mut told = send(pipeline, until, line).await?.into_iter();
            for (place, told) in unknown.into_iter().zip(told.by_ref()) {
                if let Some(each) = each.get_mut(place) {
                    *each = told;
                }
            }
            waited = told.next();
        }
        let replicas = waited.map(|waited| Ok(::redis::from_redis_value(waited?)?));
        Ok(Answers { each, replicas })
    }
}

/// Runs the pipeline and then waits for a replica until this time.
async fn send(
    mut pipeline: Pipeline,
    until: Option<Instant>,
    line: &mut Line,
) -> RedisResult<Vec<RedisResult<Value>>> {
    if let Some(until) = until {
        let left = until.saturating_duration_since(Instant::now());
        // With none Redis would wait for ever.
        pipeline.cmd("WAIT").arg(1).arg(millis(left));
    }
    pipeline.ignore_errors().query_async(line).await
}

/// The last of these answers, which is the script's.
fn last(told: impl Iterator<Item = RedisResult<Value>>) -> RedisResult<Value> {
    // All are taken: what comes behind them is another's.
    let mut last = Ok(Value::Nil);
    for told in told {
        if let (Err(error), Ok(_)) = (&last, &told) {
            tracing::warn!(%error, "Redis refused what goes with a script");
        }
        last = told;
    }
    last
}

fn is_unknown(told: &RedisResult<Value>) -> bool {
    let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
    told.as_ref().is_err_and(|error| error.kind() == unknown)
}
