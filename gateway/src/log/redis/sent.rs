//! What each sender has sent, as a stream of its own beside the logs: `<ms>-<n>` → log, message id, time.
//!
//! Written together with the message and not after it, so that nothing accepted is missing here but what Redis refused to
//! note, which the gateway's own log tells of. What was not stored after all, or was a repetition, has no record of this very
//! sending, and is left out when it is read.

use std::collections::{BTreeMap, HashMap};

use ::redis::{Cmd, Pipeline, cmd};
use futures_util::future::try_join_all;

use super::super::sent::SENT_MAX;
use super::super::{Append, MessageName, Record, SentCursor, SentPage, SentQuery, SentRecord};
use super::RedisLog;
use crate::cluster::ClusterError;
use crate::protocol::LogId;
use crate::time::millis;

/// One entry as Redis gives it: the stream's id, then names and values of fields.
type Raw = (String, Vec<String>);

/// One sending.
struct Sent {
    at: u64,
    log: LogId,
    id: String,
}

impl RedisLog {
    /// What notes who sends these messages: commands for each sender.
    pub(super) fn notes(&self, log: &LogId, messages: &[Append]) -> Vec<Vec<Cmd>> {
        let Some(ttl) = self.retention().records.map(millis) else {
            return Vec::new();
        };
        let mut by_sender: BTreeMap<&str, Vec<&Append>> = BTreeMap::new();
        for message in messages {
            by_sender.entry(&message.sender).or_default().push(message);
        }
        let name = log.to_string();
        let notes = by_sender.into_iter().map(|(sender, messages)| {
            let key = self.sent_key(sender);
            let now = messages.iter().map(|message| message.at).max();
            let oldest = now.unwrap_or_default().saturating_sub(ttl);
            let add = messages.into_iter().map(|message| {
                let mut add = cmd("XADD");
                add.arg(&key).arg("MAXLEN").arg("~").arg(SENT_MAX).arg("*");
                add.arg("l").arg(&name).arg("i").arg(&message.id);
                add.arg("t").arg(message.at);
                add
            });
            let mut commands: Vec<Cmd> = add.collect();
            let mut trim = cmd("XTRIM");
            trim.arg(&key).arg("MINID").arg("~").arg(oldest);
            let mut expire = cmd("PEXPIRE");
            expire.arg(&key).arg(ttl);
            commands.extend([trim, expire]);
            commands
        });
        notes.collect()
    }

    /// Notes who sends these messages.
    pub(super) async fn note_senders(
        &self,
        log: &LogId,
        messages: &[Append],
    ) -> Result<(), ClusterError> {
        let notes = self.notes(log, messages).into_iter().map(async |commands| {
            let mut pipeline = Pipeline::new();
            for command in commands {
                pipeline.add_command(command).ignore();
            }
            self.link.query::<()>("note a sender", &pipeline).await
        });
        try_join_all(notes).await.map(drop)
    }

    pub(super) async fn read_sent(
        &self,
        sender: &str,
        query: &SentQuery,
        now: u64,
    ) -> Result<SentPage, ClusterError> {
        let Some(ttl) = self.retention().records.map(millis) else {
            return Ok(SentPage::default());
        };
        let since = query.since.max(now.saturating_sub(ttl));
        let start = match query.after {
            Some(after) if after.millis >= since => format!("({after}"),
            Some(_) | None => since.to_string(),
        };
        let mut pipeline = Pipeline::new();
        let range = pipeline
            .cmd("XRANGE")
            .arg(self.sent_key(sender))
            .arg(start)
            .arg("+");
        range.arg("COUNT").arg(query.limit);
        let (raw,): (Vec<Raw>,) = self.link.query("read what was sent", &pipeline).await?;
        let next = raw.last().filter(|_| raw.len() >= query.limit);
        let next: Option<SentCursor> = next.and_then(|(id, _)| id.parse().ok());
        let sent: Vec<Sent> = raw
            .into_iter()
            .filter_map(|(_, fields)| parsed(fields))
            .collect();
        let records = self.records_of(sender, &sent, now).await?;
        let both = sent.into_iter().zip(records);
        let records = both.filter_map(|(sent, record)| {
            // A repetition, or the id used anew: the record is not of this sending.
            let record = record.filter(|record| record.accepted_at == sent.at)?;
            Some(SentRecord {
                log: sent.log,
                id: sent.id,
                record,
            })
        });
        Ok(SentPage {
            records: records.collect(),
            next,
        })
    }

    /// The record of each, in order: one call for each log.
    async fn records_of(
        &self,
        sender: &str,
        sent: &[Sent],
        now: u64,
    ) -> Result<Vec<Option<Record>>, ClusterError> {
        let mut by_log: HashMap<&LogId, (Vec<usize>, Vec<MessageName>)> = HashMap::new();
        for (index, sent) in sent.iter().enumerate() {
            let (indexes, names) = by_log.entry(&sent.log).or_default();
            indexes.push(index);
            names.push(MessageName::new(sender, &sent.id));
        }
        let reads = by_log
            .into_iter()
            .map(|(log, (indexes, names))| async move {
                let read = self.read_records(log, &names, now).await?;
                Ok::<_, ClusterError>(indexes.into_iter().zip(read).collect::<Vec<_>>())
            });
        let mut found: HashMap<usize, Option<Record>> =
            try_join_all(reads).await?.into_iter().flatten().collect();
        Ok((0..sent.len())
            .map(|index| found.remove(&index).flatten())
            .collect())
    }

    fn sent_key(&self, sender: &str) -> String {
        self.link.key(&format!("s:{sender}"), "sent")
    }
}

fn parsed(fields: Vec<String>) -> Option<Sent> {
    let [_, log, _, id, _, at] = <[String; 6]>::try_from(fields).ok()?;
    Some(Sent {
        at: at.parse().ok()?,
        log: log.parse().ok()?,
        id,
    })
}
