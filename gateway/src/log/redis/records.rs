//! What recipients say of messages, and the records that are kept of it.

use ::redis::Pipeline;

use super::super::scripts::ACKNOWLEDGE;
use super::super::{About, AckState, MessageName, Record, Word, name};
use super::RedisLog;
use crate::cluster::ClusterError;
use crate::protocol::{LogId, UserId};

impl RedisLog {
    pub(super) async fn note_word(
        &self,
        log: &LogId,
        (user, About { id, sender }): (&UserId, About<'_>),
        (word, at): (Word, u64),
    ) -> Result<Vec<String>, ClusterError> {
        let script = &ACKNOWLEDGE;
        let mut call = script.key(self.key(log, "acks"));
        call.key(self.key(log, "records"))
            .arg(id)
            .arg(sender.unwrap_or_default())
            .arg(user.as_str())
            .arg(letter(word))
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

/// A word as the script knows it.
const fn letter(word: Word) -> &'static str {
    match word {
        Word::Is(AckState::Delivered) => "d",
        Word::Is(AckState::Read) => "r",
        Word::Expired => "x",
    }
}

/// Whether one of the messages of this sender waits for the user's word. For each message there is a line
/// `POFFSET SENDER`, and after it one for each reader's word: `d|r|x`, the time, a space and the user.
fn awaits(held: &str, sender: &str, user: &UserId) -> bool {
    let mut waits = false;
    let mut of_sender = false;
    for (mark, whose) in held.lines().filter_map(|line| line.split_once(' ')) {
        if mark.starts_with('P') {
            if waits {
                return true;
            }
            of_sender = whose == sender;
            waits = of_sender;
        } else if of_sender && mark.starts_with(['d', 'r']) && whose == user.as_str() {
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
        let held = "P3 alice\nd7 bob\nx8 eve\nP5 ann\nP6 joe\nr9 bob";
        for (sender, who, waits) in [
            ("alice", "bob", false),
            ("alice", "eve", true),
            ("ann", "bob", true),
            ("joe", "bob", false),
            ("mallory", "bob", false),
        ] {
            assert_eq!(awaits(held, sender, &user(who)), waits, "{sender} {who}");
        }
        assert!(awaits("P1 a\nd7 bob\nP2 a", "a", &user("bob")), "the later");
    }
}
