//! How messages are stored: those of all logs that are due at the same time go together, with what is noted of their senders.

use ::redis::ScriptInvocation;
use futures_util::future::{join, join_all};

use super::super::scripts::APPEND;
use super::super::{Append, AppendOutcome, Appended, Batch, name};
use super::{RedisLog, owner, unreadable};
use crate::cluster::redis::Ask;
use crate::protocol::LogId;
use crate::time::millis;

/// What goes over one connection in one go: others wait behind it for some milliseconds at most.
const GO_BYTES: usize = 1 << 20;

impl RedisLog {
    /// The call of the script that stores these messages, but for the last argument.
    fn appending(&self, log: &LogId, messages: &[Append]) -> ScriptInvocation<'static> {
        let mut call = APPEND.prepare_invoke();
        for name in ["log", "meta", "acks", "records"] {
            call.key(self.key(log, name));
        }
        // In the same slot, since groups have the tag that their logs have.
        let is_group = matches!(log, LogId::Group(_));
        call.key(self.key(log, if is_group { "members" } else { "log" }));
        for message in messages {
            let name = name::text(&message.sender, &message.id);
            call.key(self.key(log, &format!("seen:{name}")));
        }
        let now = messages.last().map_or(0, |message| message.at);
        call.arg(millis(self.retention().age_of(log)))
            .arg(self.retention().messages)
            .arg(millis(self.retention().dedupe))
            .arg(self.retention().records.map_or(0, millis))
            .arg(now);
        let name = log.to_string();
        for message in messages {
            call.arg(&message.id)
                .arg(&message.sender)
                .arg(
                    &*self
                        .link
                        .sealer()
                        .seal(&owner(&name, &message.id), &message.json),
                )
                .arg(u8::from(message.ack))
                .arg(u8::from(message.own_id))
                .arg(
                    message
                        .trace
                        .map(|trace| trace.to_string())
                        .unwrap_or_default(),
                );
        }
        call
    }

    /// What each log's messages come to, in order.
    pub(super) async fn append_all(&self, batch: &[Batch<'_>]) -> Vec<AppendOutcome> {
        if self.link.is_cluster() {
            let appends = batch.iter().map(|of_log| self.append_apart(*of_log));
            return join_all(appends).await;
        }
        let goes = goes(batch).into_iter().map(|go| self.append_together(go));
        join_all(goes).await.into_iter().flatten().collect()
    }

    /// In one go: Redis reads and answers once, and a replica is waited for once.
    async fn append_together(&self, batch: &[Batch<'_>]) -> Vec<AppendOutcome> {
        let ask = |(log, messages): &Batch<'_>| Ask {
            before: self.notes(log, messages).into_iter().flatten().collect(),
            call: self.appending(log, messages),
        };
        let asks = batch.iter().map(ask).collect();
        let told: Result<Vec<Result<Vec<String>, _>>, _> = if self.replicated {
            self.link.run_each_replicated("append", &APPEND, asks).await
        } else {
            self.link.run_each("append", &APPEND, asks).await
        };
        match told {
            Ok(each) => {
                let each = each.into_iter().zip(batch);
                each.map(|(told, (_, messages))| all_appended(&told?, messages.len()))
                    .collect()
            }
            Err(error) => batch.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// By calls of its own: what is noted of a sender lies in another slot than the log.
    async fn append_apart(&self, (log, messages): Batch<'_>) -> AppendOutcome {
        let mut call = self.appending(log, messages);
        // Which of the servers it is has to be asked by the script.
        call.arg("");
        let stored = async {
            if self.replicated {
                self.link.run_replicated("append", &APPEND, &call).await
            } else {
                self.link.run("append", &call).await
            }
        };
        let noted = self.note_senders(log, messages);
        let (told, noted): (Result<Vec<String>, _>, _) = join(stored, noted).await;
        if let (Ok(_), Err(error)) = (&told, noted) {
            tracing::warn!(%error, "a sender was not noted");
        }
        all_appended(&told?, messages.len())
    }
}

/// Logs that go together: as many as have so many bytes in all, or one.
fn goes<'a, 'b>(batch: &'a [Batch<'b>]) -> Vec<&'a [Batch<'b>]> {
    let bytes = |(_, messages): &Batch<'_>| -> usize {
        messages.iter().map(|message| message.json.len()).sum()
    };
    let (mut goes, mut rest) = (Vec::new(), batch);
    while !rest.is_empty() {
        let mut size = 0;
        let fits = rest.iter().take_while(|of_log| {
            size += bytes(of_log);
            size <= GO_BYTES
        });
        let (go, others) = rest.split_at(fits.count().max(1));
        goes.push(go);
        rest = others;
    }
    goes
}

fn all_appended(told: &[String], wanted: usize) -> AppendOutcome {
    let read: Vec<Appended> = told.iter().filter_map(|told| appended(told)).collect();
    if read.len() == wanted {
        Ok(read)
    } else {
        Err(unreadable("append"))
    }
}

fn appended(told: &str) -> Option<Appended> {
    let (before, position) = told.split_once(' ')?;
    let position = position.parse().ok()?;
    Some(match before {
        "0" => Appended::New(position),
        _ => Appended::Repeated(position),
    })
}
