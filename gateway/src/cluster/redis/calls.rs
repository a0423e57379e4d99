//! `RedisCalls`: the link to Redis as one part of the gateway uses it: each operation under the deadline, and how long it
//! took noted under the name of that part. An operation for which there is no connection fails at once and is not noted.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use ::redis::{FromRedisValue, Pipeline, RedisResult, Script, ScriptInvocation};
use tokio::time::{Instant, timeout};

use super::RedisLink;
use super::dial::Line;
use super::link::Lane;
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
        self.query_over(self.line(Lane::Any)?, operation, pipeline)
            .await
    }

    /// The same in the order of the calls, even if their answers are not waited for or come too late.
    pub async fn query_in_order<T: FromRedisValue>(
        &self,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, ClusterError> {
        self.query_over(self.line(Lane::First)?, operation, pipeline)
            .await
    }

    async fn query_over<T: FromRedisValue>(
        &self,
        (generation, mut line): (u64, Line),
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, ClusterError> {
        let asking = pipeline.query_async(&mut line);
        self.answer((operation, generation), asking).await
    }

    /// Runs a script. All keys it touches are passed in.
    pub async fn run<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, ClusterError> {
        let (generation, mut line) = self.line(Lane::Any)?;
        let asking = script.invoke_async(&mut line);
        self.answer((operation, generation), asking).await
    }

    /// Runs a script and waits until a replica has what it wrote. One pipeline, since `WAIT` is about the writes of its
    /// own connection.
    pub async fn run_replicated<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &Script,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, ClusterError> {
        let patience = self.deadline() / 2;
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let mut pipeline = Pipeline::new();
        pipeline.load_script(script).ignore().invoke_script(call);
        pipeline.cmd("WAIT").arg(1).arg(millis);
        let (value, replicas): (T, u64) = self.query(operation, &pipeline).await?;
        if replicas == 0 {
            return Err(ClusterError::NotReplicated { millis });
        }
        Ok(value)
    }

    async fn answer<T>(
        &self,
        (operation, generation): (&'static str, u64),
        asking: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, ClusterError> {
        let began = Instant::now();
        let answer = timeout(self.deadline(), asking).await;
        self.times().redis(self.part, began.elapsed());
        self.judge(operation, generation, answer)
    }
}
