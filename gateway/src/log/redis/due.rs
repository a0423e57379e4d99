//! What waits for an acknowledgement, by the time when it is given up: one sorted set for each share.

use std::collections::HashMap;

use ::redis::Pipeline;
use futures_util::future::try_join_all;

use super::super::Awaited;
use super::RedisLog;
use crate::cluster::ClusterError;

impl RedisLog {
    pub(super) async fn remember(
        &self,
        awaited: &[Awaited],
        until: u64,
    ) -> Result<(), ClusterError> {
        let shares = by_share(awaited).into_iter().map(|(share, awaited)| {
            let mut pipeline = Pipeline::new();
            // A repetition does not put it off.
            let add = pipeline.cmd("ZADD").arg(self.due_key(share)).arg("NX");
            for awaited in awaited {
                add.arg(until).arg(awaited.text());
            }
            add.ignore();
            async move {
                self.link
                    .query::<()>("await an acknowledgement", &pipeline)
                    .await
            }
        });
        try_join_all(shares).await.map(drop)
    }

    pub(super) async fn read_due(
        &self,
        share: u8,
        (now, limit): (u64, usize),
    ) -> Result<Vec<Awaited>, ClusterError> {
        let mut pipeline = Pipeline::new();
        let range = pipeline
            .cmd("ZRANGE")
            .arg(self.due_key(share))
            .arg("-inf")
            .arg(now);
        range.arg("BYSCORE").arg("LIMIT").arg(0).arg(limit);
        let (due,): (Vec<String>,) = self.link.query("read what is due", &pipeline).await?;
        let (mut read, mut unreadable) = (Vec::with_capacity(due.len()), Vec::new());
        for text in due {
            match Awaited::parse(&text) {
                Some(awaited) => read.push(awaited),
                None => unreadable.push(text),
            }
        }
        // What another release wrote otherwise would stand before all others for ever.
        if !unreadable.is_empty() {
            let mut pipeline = Pipeline::new();
            let remove = pipeline.cmd("ZREM").arg(self.due_key(share));
            remove.arg(&unreadable).ignore();
            let forget = self.link.query::<()>("forget what was due", &pipeline);
            forget.await?;
        }
        Ok(read)
    }

    pub(super) async fn forget_due(&self, awaited: &[Awaited]) -> Result<(), ClusterError> {
        let shares = by_share(awaited).into_iter().map(|(share, awaited)| {
            let mut pipeline = Pipeline::new();
            let remove = pipeline.cmd("ZREM").arg(self.due_key(share));
            for awaited in awaited {
                remove.arg(awaited.text());
            }
            remove.ignore();
            async move {
                self.link
                    .query::<()>("forget what was due", &pipeline)
                    .await
            }
        });
        try_join_all(shares).await.map(drop)
    }

    fn due_key(&self, share: u8) -> String {
        self.link.key(&format!("due:{share}"), "acks")
    }
}

fn by_share(awaited: &[Awaited]) -> HashMap<u8, Vec<&Awaited>> {
    let mut shares: HashMap<u8, Vec<&Awaited>> = HashMap::new();
    for one in awaited {
        shares.entry(one.share()).or_default().push(one);
    }
    shares
}
