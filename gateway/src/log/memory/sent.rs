//! `SentBooks`: what each sender has sent, in the order of sending.

use std::collections::{HashMap, VecDeque};

use super::super::sent::SENT_MAX;
use super::super::{Append, MessageName, Record, SentCursor, SentPage, SentQuery, SentRecord};
use crate::protocol::LogId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SentBooks(HashMap<String, VecDeque<Sent>>);

#[derive(Debug)]
struct Sent {
    at: SentCursor,
    stored_at: u64,
    log: LogId,
    id: String,
}

impl SentBooks {
    /// Notes who sent this.
    pub(super) fn note(&mut self, log: &LogId, message: &Append) {
        let sent = self.0.entry(message.sender.clone()).or_default();
        let last = sent.back().map(|last| last.at);
        let at = SentCursor {
            // A clock that was set back does not turn the order.
            millis: last.map_or(message.at, |last| last.millis.max(message.at)),
            number: last.map_or(0, |last| last.number + 1),
        };
        sent.push_back(Sent {
            at,
            stored_at: message.at,
            log: log.clone(),
            id: message.id.clone(),
        });
        if sent.len() > SENT_MAX {
            sent.pop_front();
        }
    }

    /// A page of what someone sent, with the records that there are.
    pub(super) fn page(
        &self,
        sender: &str,
        query: &SentQuery,
        record: impl Fn(&LogId, &MessageName) -> Option<Record>,
    ) -> SentPage {
        let all = self.0.get(sender);
        let wanted = all.into_iter().flatten().filter(|sent| {
            sent.at.millis >= query.since && query.after.is_none_or(|after| sent.at > after)
        });
        let page: Vec<&Sent> = wanted.take(query.limit).collect();
        let next = page.last().filter(|_| page.len() >= query.limit);
        let next = next.map(|last| last.at);
        let records = page.into_iter().filter_map(|sent| {
            let record = record(&sent.log, &MessageName::new(sender, &sent.id))?;
            // The id may have been used anew: the record is of that then.
            (record.accepted_at == sent.stored_at).then(|| SentRecord {
                log: sent.log.clone(),
                id: sent.id.clone(),
                record,
            })
        });
        SentPage {
            records: records.collect(),
            next,
        }
    }

    /// Forgets who has sent nothing since.
    pub(super) fn sweep(&mut self, since: u64) {
        let recent = |sent: &Sent| sent.at.millis >= since;
        self.0.retain(|_, sent| sent.back().is_some_and(recent));
    }
}
