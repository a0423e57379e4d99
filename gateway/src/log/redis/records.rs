//! What recipients say of messages, and the records that are kept of it.

use ::redis::{Pipeline, ScriptInvocation};

use super::super::scripts::{ACKNOWLEDGE, ACKNOWLEDGE_ONE};
use super::super::{About, MessageName, Record, Word, name};
use super::RedisLog;
use crate::cluster::ClusterError;
use crate::protocol::{LogId, UserId};

impl RedisLog {
    pub(super) async fn acknowledge(
        &self,
        user: &UserId,
        About { id, sender }: About<'_>,
        (word, at): (&str, u64),
    ) -> Result<Vec<String>, ClusterError> {
        let log = LogId::Inbox(user.clone());
        let script = &ACKNOWLEDGE;
        let mut call: ScriptInvocation<'_> = script.key(self.key(&log, "acks"));
        call.key(self.key(&log, "records"))
            .arg(id)
            .arg(sender.unwrap_or_default())
            .arg(word)
            .arg(at);
        self.link
            .run("acknowledge", &call)
            .await
            .map(name::each_once)
    }

    pub(super) async fn acknowledge_one(
        &self,
        log: &LogId,
        (user, About { id, sender }): (&UserId, About<'_>),
        (word, at): (Word, u64),
    ) -> Result<Vec<String>, ClusterError> {
        let script = &ACKNOWLEDGE_ONE;
        let mut call = script.key(self.key(log, "acks"));
        call.key(self.key(log, "records"))
            .arg(id)
            .arg(sender.unwrap_or_default())
            .arg(user.as_str())
            .arg(word.as_str())
            .arg(at);
        self.link
            .run("acknowledge", &call)
            .await
            .map(name::each_once)
    }

    pub(super) async fn read_records(
        &self,
        log: &LogId,
        names: &[MessageName],
        now: u64,
    ) -> Result<Vec<Option<Record>>, ClusterError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::new();
        let command = pipeline.cmd("HMGET").arg(self.key(log, "records"));
        for MessageName { sender, id } in names {
            let name = name::text(sender, id);
            for change in ["", "d:", "r:", "x:"] {
                command.arg(format!("{change}{name}"));
            }
        }
        let (fields,): (Vec<Option<String>>,) = self.link.query("records", &pipeline).await?;
        let read = |(fields, name): (&[Option<String>], &MessageName)| {
            let record = record(&name.sender, fields);
            record.filter(|record| !record.is_over(self.retention().records, now))
        };
        Ok(fields.chunks(4).zip(names).map(read).collect())
    }
}

fn record(sender: &str, fields: &[Option<String>]) -> Option<Record> {
    let [Some(first), changes @ ..] = fields else {
        return None;
    };
    let (accepted_at, position) = first.split_once(' ')?;
    let mut at = changes.iter().map(|at| at.as_ref()?.parse().ok());
    let mut next = || at.next().flatten();
    Some(Record {
        sender: sender.to_owned(),
        position: position.parse().ok()?,
        accepted_at: accepted_at.parse().ok()?,
        delivered_at: next(),
        read_at: next(),
        expired_at: next(),
    })
}
