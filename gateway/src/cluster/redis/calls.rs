//! `RedisCalls`: the link to Redis as one part of the gateway uses it: each operation under the deadline, and how long it
//! took noted under the name of that part. An operation for which there is no connection fails at once and is not noted.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, RedisResult, Script, ScriptInvocation, Value};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::RedisLink;
use super::dial::Line;
use super::link::Connection;
use super::pool::Lane;
use super::together::{Ask, Together};
use crate::cluster::ClusterError;
use crate::telemetry::RedisPart;
use crate::time::millis;

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
        let ask = async |line: &mut Line| pipeline.query_async(line).await;
        self.over(lane, operation, ask).await.map(|(told, _)| told)
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
        let ask = async |line: &mut Line| script.invoke_async(line).await;
        self.over(lane, operation, ask).await.map(|(told, _)| told)
    }

    /// Asks over a connection of this lane: the answer, and which generation of connections gave it.
    async fn over<T>(
        &self,
        lane: Lane,
        operation: &'static str,
        ask: impl AsyncFnOnce(&mut Line) -> RedisResult<T>,
    ) -> Result<(T, Arc<Connection>), ClusterError> {
        let (connection, mut turn) = self.turn(lane)?;
        let asking = ask(&mut turn.line);
        let answer = self.answer(Instant::now() + self.deadline(), asking).await;
        let told = self.judge(operation, (&connection, &turn), answer)?;
        Ok((told, connection))
    }

    /// The same over a connection on which nothing else comes meanwhile. Half of the deadline is for a replica, a quarter to
    /// get a connection, the rest for what is asked.
    async fn over_waiting<T>(
        &self,
        operation: &'static str,
        ask: impl AsyncFnOnce(&mut Line) -> RedisResult<T>,
    ) -> Result<(T, Arc<Connection>), ClusterError> {
        let until = Instant::now() + self.deadline();
        let connection = self.connection()?;
        let lent = self.waiting_line(operation, &connection, self.patience() / 2);
        let mut waiting = lent.await?;
        let answer = self.answer(until, ask(&mut waiting.line)).await;
        let told = self.judge_waiting(operation, (&connection, waiting), answer)?;
        Ok((told, connection))
    }

    /// For how long a replica is waited for.
    fn patience(&self) -> Duration {
        self.deadline() / 2
    }

    fn not_replicated(&self) -> ClusterError {
        ClusterError::NotReplicated {
            millis: millis(self.patience()),
        }
    }

    /// Runs a script and waits until a replica has what it wrote. One pipeline, since `WAIT` is about the writes of its
    /// own connection; on a connection of its own, since nothing else comes through meanwhile.
    pub async fn run_replicated<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &Script,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline.load_script(script).ignore().invoke_script(call);
        pipeline.cmd("WAIT").arg(1).arg(millis(self.patience()));
        let ask = async |line: &mut Line| pipeline.query_async(line).await;
        let ((value, replicas), _): ((T, u64), _) = self.over_waiting(operation, ask).await?;
        if replicas == 0 {
            return Err(self.not_replicated());
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
        let together = Together {
            script,
            asks,
            wait: None,
        };
        let ask = async |line: &mut Line| together.ask(line).await;
        let (answers, connection) = self.over(Lane::Any, operation, ask).await?;
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
        let together = Together {
            script,
            asks,
            wait: Some(self.patience()),
        };
        let ask = async |line: &mut Line| together.ask(line).await;
        let (answers, connection) = self.over_waiting(operation, ask).await?;
        let replicas = answers.replicas.transpose();
        let replicas = self.judge_one(operation, &connection, replicas)?;
        let each = answers.each.into_iter().map(|told| {
            let value = self.judge_one(operation, &connection, read(told))?;
            match replicas {
                None | Some(0) => Err(self.not_replicated()),
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
