//! `Together`: several scripts that are asked in one go over one connection to one server, each with commands before it. One
//! write there and one read back for all of them. Each is atomic by itself and fails by itself.

use ::redis::{
    Cmd, ErrorKind, Pipeline, RedisResult, Script, ScriptInvocation, ServerErrorKind, Value,
};

use super::dial::Line;

/// One of those that are asked together.
pub struct Ask {
    /// Commands that only have to succeed.
    pub before: Vec<Cmd>,
    /// The script's call. Behind its other arguments it gets the `run_id` of the server's process, or nothing where that is not known.
    pub call: ScriptInvocation<'static>,
}

/// What is asked in one go.
pub(super) struct Together<'a> {
    pub(super) script: &'a Script,
    pub(super) asks: Vec<Ask>,
    /// For how many milliseconds a replica is waited for at the end.
    pub(super) wait: Option<u64>,
}

/// What each came to, in order, and how many replicas have all of it.
pub(super) struct Answers {
    pub(super) each: Vec<RedisResult<Value>>,
    pub(super) replicas: Option<RedisResult<u64>>,
}

impl Together<'_> {
    /// Where the server does not know the script, the calls are made once more with it; what stands before them is done.
    pub(super) async fn ask(mut self, line: &mut Line) -> RedisResult<Answers> {
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
        let told = self.send(pipeline, line).await?;
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
            let mut told = self.send(pipeline, line).await?.into_iter();
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

    async fn send(
        &self,
        mut pipeline: Pipeline,
        line: &mut Line,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        if let Some(millis) = self.wait {
            pipeline.cmd("WAIT").arg(1).arg(millis);
        }
        pipeline.ignore_errors().query_async(line).await
    }
}

/// The last of these answers, or the first that is an error.
fn last(told: impl Iterator<Item = RedisResult<Value>>) -> RedisResult<Value> {
    // All are taken: what comes behind them is another's.
    told.fold(Ok(Value::Nil), Result::and)
}

fn is_unknown(told: &RedisResult<Value>) -> bool {
    let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
    told.as_ref().is_err_and(|error| error.kind() == unknown)
}
