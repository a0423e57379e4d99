//! `RedisCalls`: the link to Redis as one part of the gateway uses it: each operation under the deadline, and how long it
//! took noted under the name of that part. An operation for which there is no connection fails at once and is not noted.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use ::redis::{FromRedisValue, Pipeline, RedisResult, Script, ScriptInvocation, Value};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::RedisLink;
use super::pool::Lane;
use super::together::{Ask, Together};
use crate::cluster::ClusterError;
use crate::telemetry::RedisPart;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RedisCalls {
    link: Arc<RedisLink>,
    part: RedisPart,
}

impl Deref for RedisCalls {
    type Target = RedisLink;

    fn deref(&self) -> &RedisLink {
        &self.link
    }
}

impl RedisCalls {
    pub(super) const fn new(link: Arc<RedisLink>, part: RedisPart) -> Self {
        Self { link, part }
    }

    /// Runs a pipeline.
    pub async fn query<T: FromRedisValue>(
        &self,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, ClusterError> {
        self.query_over(Lane::Any, operation, pipeline).await
    }

    /// The same in the order of the calls, even if their answers are not waited for or come too late.
    pub async fn query_in_order<T: FromRedisValue>(
        &self,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, ClusterError> {
        self.query_over(Lane::First, operation, pipeline).await
    }

    async fn query_over<T: FromRedisValue>(
        &self,
        lane: Lane,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, ClusterError> {
        let (connection, mut turn) = self.turn(lane)?;
        let asking = pipeline.query_async(&mut turn.line);
        let answer = self.answer(Instant::now() + self.deadline(), asking).await;
        self.judge(operation, (&connection, &turn), answer)
    }

    /// Runs a script. All keys it touches are passed in.
    pub async fn run<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, ClusterError> {
        self.run_over(Lane::Any, operation, script).await
    }

    /// The same for a small one that many ask at a time: they go together.
    pub async fn run_with_others<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, ClusterError> {
        self.run_over(Lane::Last, operation, script).await
    }

    async fn run_over<T: FromRedisValue>(
        &self,
        lane: Lane,
        operation: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, ClusterError> {
        let (connection, mut turn) = self.turn(lane)?;
        let asking = script.invoke_async(&mut turn.line);
        let answer = self.answer(Instant::now() + self.deadline(), asking).await;
        self.judge(operation, (&connection, &turn), answer)
    }

    /// Runs a script and waits until a replica has what it wrote. One pipeline, since `WAIT` is about the writes of its
    /// own connection; on a connection of its own, since nothing else comes through meanwhile. Half of the deadline is for
    /// the replica, a quarter to get a connection, the rest for the script.
    pub async fn run_replicated<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &Script,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, ClusterError> {
        let until = Instant::now() + self.deadline();
        let patience = self.deadline() / 2;
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let connection = self.connection()?;
        let lent = self.waiting_line(operation, &connection, patience / 2);
        let mut waiting = lent.await?;
        let mut pipeline = Pipeline::new();
        pipeline.load_script(script).ignore().invoke_script(call);
        pipeline.cmd("WAIT").arg(1).arg(millis);
        let asking = pipeline.query_async(&mut waiting.line);
        let answer = self.answer(until, asking).await;
        let (value, replicas): (T, u64) =
            self.judge_waiting(operation, (&connection, waiting), answer)?;
        if replicas == 0 {
            return Err(ClusterError::NotReplicated { millis });
        }
        Ok(value)
    }

    /// Runs a script for each of these, all of them in one go over one connection; what each came to. Not in a Redis Cluster.
    pub async fn run_each<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &Script,
        asks: Vec<Ask>,
    ) -> Result<Vec<Result<T, ClusterError>>, ClusterError> {
        let (connection, mut turn) = self.turn(Lane::Any)?;
        let together = Together {
            script,
            asks,
            wait: None,
        };
        let asking = together.ask(&mut turn.line);
        let answer = self.answer(Instant::now() + self.deadline(), asking).await;
        let answers = self.judge(operation, (&connection, &turn), answer)?;
        let each = answers.each.into_iter();
        let each = each.map(|told| self.judge_one(operation, &connection, read(told)));
        Ok(each.collect())
    }

    /// The same, and waits once until a replica has what all of them wrote, as for one of them.
    pub async fn run_each_replicated<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &Script,
        asks: Vec<Ask>,
    ) -> Result<Vec<Result<T, ClusterError>>, ClusterError> {
        let until = Instant::now() + self.deadline();
        let patience = self.deadline() / 2;
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let connection = self.connection()?;
        let lent = self.waiting_line(operation, &connection, patience / 2);
        let mut waiting = lent.await?;
        let together = Together {
            script,
            asks,
            wait: Some(patience),
        };
        let asking = together.ask(&mut waiting.line);
        let answer = self.answer(until, asking).await;
        let answers = self.judge_waiting(operation, (&connection, waiting), answer)?;
        let replicas = answers.replicas.transpose();
        let replicas = self.judge_one(operation, &connection, replicas)?;
        let each = answers.each.into_iter().map(|told| {
            let value = self.judge_one(operation, &connection, read(told))?;
            match replicas {
                None | Some(0) => Err(ClusterError::NotReplicated { millis }),
                Some(_) => Ok(value),
            }
        });
        Ok(each.collect())
    }

    async fn answer<T>(
        &self,
        until: Instant,
        asking: impl Future<Output = RedisResult<T>>,
    ) -> Result<RedisResult<T>, Elapsed> {
        let began = Instant::now();
        let answer = timeout_at(until, asking).await;
        self.times().redis(self.part, began.elapsed());
        answer
    }
}

fn read<T: FromRedisValue>(told: RedisResult<Value>) -> RedisResult<T> {
    Ok(::redis::from_redis_value(told?)?)
}
