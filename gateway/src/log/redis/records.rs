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

    pub(super) async fn read_awaits(
        &self,
        log: &LogId,
        name: &MessageName,
        user: &UserId,
    ) -> Result<bool, ClusterError> {
        let mut pipeline = Pipeline::new();
        let held = pipeline.cmd("HGET").arg(self.key(log, "acks"));
        held.arg(&name.id);
        let (held,): (Option<String>,) = self.link.query("acknowledgements", &pipeline).await?;
        Ok(held.is_some_and(|held| awaits(&held, &name.sender, user)))
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

/// Whether one of the messages of this sender waits for the user's word. For each message there is a line
/// `P|D|X OFFSET SENDER`, and after it, where several read it, one for each word: `d|r|x USER` without the space.
fn awaits(held: &str, sender: &str, user: &UserId) -> bool {
    let mut waits = false;
    let mut of_sender = false;
    for line in held.lines() {
        let of_message = line
            .split_once(' ')
            .filter(|_| line.starts_with(['P', 'D', 'X']));
        if let Some((state, whose)) = of_message {
            if waits {
                return true;
            }
            of_sender = whose == sender;
            waits = of_sender && state.starts_with('P');
        } else if of_sender && line.strip_prefix(['d', 'r']) == Some(user.as_str()) {
            waits = false;
        }
    }
    waits
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_for_who_said_it_of_which_message() {
        let user = |id: &str| UserId::new(id).unwrap();
        let held = "P3 alice\ndbob\nxeve\nP5 ann\nD6 joe";
        for (sender, who, waits) in [
            ("alice", "bob", false),
            ("alice", "eve", true),
            ("ann", "bob", true),
            ("joe", "bob", false),
            ("mallory", "bob", false),
        ] {
            assert_eq!(awaits(held, sender, &user(who)), waits, "{sender} {who}");
        }
        assert!(awaits("P1 a\ndbob\nP2 a", "a", &user("bob")), "the later");
    }
}
