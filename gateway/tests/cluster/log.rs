//! What every log must do, run over memory and over a real Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wsc_gateway::cluster::redis::RedisLink;
use wsc_gateway::cluster::{Listener, RedisParams};
use wsc_gateway::group::{Bounds, Entry, Generation, GroupStore, MemoryGroups, RedisGroups};
use wsc_gateway::log::{
    About, AckState, Append, Appended, Awaited, Gap, Log, MemoryLog, MessageName, Most, RedisLog,
    Retention, SentQuery, Word,
};
use wsc_gateway::protocol::{GroupId, LogId, NodeId, Position, TicketId, TraceContext, UserId};

use crate::support::redis::RedisServer;

pub const RETENTION: Retention = Retention {
    age: Duration::from_secs(3600),
    messages: 10,
    tickets: Duration::from_secs(3600),
    dedupe: Duration::from_secs(60),
    records: Some(Duration::from_secs(3600)),
};

struct Deaf;

impl Listener for Deaf {
    fn offer(&self, _: Bytes) {}
}

/// A log over a Redis, and what keeps its link.
pub struct Linked {
    pub log: RedisLog,
    pub link: Arc<RedisLink>,
    _ends: tokio_util::sync::DropGuard,
}

pub async fn linked(redis: &RedisServer, retention: Retention) -> Linked {
    let link = RedisLink::standalone(&RedisParams::at("127.0.0.1", redis.port), "logs");
    let cancel = CancellationToken::new();
    tokio::task::spawn(
        link.clone()
            .keep(NodeId::new("n"), Arc::new(Deaf), cancel.clone()),
    );
    tokio::time::timeout(Duration::from_secs(10), link.connected())
        .await
        .unwrap();
    Linked {
        log: RedisLog::new(&link, retention, false),
        link,
        _ends: cancel.drop_guard(),
    }
}

/// Runs one behaviour over both.
macro_rules! both {
    ($(#[$meta:meta])* async fn $name:ident($log:ident: &dyn Log) $body:block) => {
        mod $name {
            use super::*;

            async fn behaviour($log: &dyn Log) $body

            #[tokio::test]
            async fn memory() {
                behaviour(&MemoryLog::new(RETENTION, 7)).await;
            }

            #[tokio::test]
            async fn redis() {
                let redis = RedisServer::start();
                behaviour(&linked(&redis, RETENTION).await.log).await;
            }
        }
    };
}

fn bob() -> UserId {
    UserId::new("bob").unwrap()
}

fn inbox() -> LogId {
    LogId::Inbox(bob())
}

pub fn message(id: &str, at: u64) -> Append {
    Append {
        id: id.to_owned(),
        sender: "alice".to_owned(),
        own_id: true,
        json: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
        at,
        ack: false,
        trace: None,
    }
}

pub async fn put(log: &dyn Log, id: &str, at: u64) -> Appended {
    log.append(&inbox(), &[message(id, at)]).await.unwrap()[0]
}

async fn ids(log: &dyn Log, after: Option<Position>) -> (Vec<String>, Option<Gap>) {
    let page = log
        .read(&inbox(), after, Most::messages(100))
        .await
        .unwrap();
    let ids = page.entries.iter().map(|entry| entry.id.clone());
    (ids.collect(), page.gap)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn of_alice(ids: &[&str]) -> Vec<MessageName> {
    ids.iter().map(|id| MessageName::new("alice", id)).collect()
}

/// Messages of this id, of whatever sender.
const fn about(id: &str) -> About<'_> {
    About { id, sender: None }
}

fn awaited(user: &str, id: &str) -> Awaited {
    Awaited {
        user: UserId::new(user).unwrap(),
        ticket: None,
        message: MessageName::new("alice", id),
    }
}

both! {
    async fn offsets_count_from_one_without_holes(log: &dyn Log) {
        let batch = [message("a", 5), message("b", 5), message("c", 5)];
        let appended = log.append(&inbox(), &batch).await.unwrap();
        let offsets: Vec<u64> = appended.iter().map(|one| one.position().offset).collect();
        assert_eq!(offsets, [1, 2, 3]);
        assert_eq!(put(log, "d", 6).await.position().offset, 4);
        let (found, gap) = ids(log, Some(appended[1].position())).await;
        assert_eq!((found, gap), (names(&["c", "d"]), None));
        let page = log.read(&inbox(), None, Most::messages(2)).await.unwrap();
        assert_eq!(page.entries[1].json, batch[1].json);
        assert!(page.more());
        let rest = log.read(&inbox(), Some(page.end), Most::messages(2)).await.unwrap();
        assert!(!rest.more());
    }
}

both! {
    async fn a_piece_is_no_larger_than_asked_for_and_has_one_message_at_least(log: &dyn Log) {
        let large = |id: &str, len: usize| Append {
            json: Bytes::from(format!("\"{}\"", "x".repeat(len - 2))),
            ..message(id, 5)
        };
        let batch = [large("a", 400), large("b", 400), large("c", 400), large("d", 2000), large("e", 10)];
        log.append(&inbox(), &batch).await.unwrap();
        let (mut after, mut pieces) = (None, Vec::new());
        loop {
            let most = Most { messages: 9, bytes: 1000 };
            let page = log.read(&inbox(), after, most).await.unwrap();
            pieces.push(page.entries.len());
            if !page.more() {
                break;
            }
            after = Some(page.end);
        }
        assert_eq!(pieces, [2, 1, 1, 1]);
    }
}

both! {
    async fn a_message_keeps_the_span_it_comes_from(log: &dyn Log) {
        let trace = TraceContext::of_ids(&[0xab; 16], &[0x0c; 8]);
        let batch = [message("a", 5), Append { trace, ..message("b", 5) }, message("c", 5)];
        log.append(&inbox(), &batch).await.unwrap();
        let page = log.read(&inbox(), None, Most::messages(9)).await.unwrap();
        let read: Vec<_> = page.entries.iter().map(|entry| (entry.trace, entry.json.clone())).collect();
        let written: Vec<_> = batch.iter().map(|one| (one.trace, one.json.clone())).collect();
        assert_eq!(read, written);
    }
}

both! {
    async fn logs_do_not_know_each_other(log: &dyn Log) {
        put(log, "a", 1).await;
        let group = LogId::Group(GroupId::new("bob").unwrap());
        let first = log.append(&group, &[message("a", 1)]).await.unwrap();
        assert_eq!(first[0].position().offset, 1);
        assert!(matches!(first[0], Appended::New(_)));
    }
}

both! {
    async fn a_repeated_id_gets_the_first_result_and_only_of_the_same_sender(log: &dyn Log) {
        let first = put(log, "a", 1).await;
        put(log, "b", 1).await;
        assert_eq!(put(log, "a", 2).await, Appended::Repeated(first.position()));
        let other = Append { sender: "carol".to_owned(), ..message("a", 2) };
        let other = log.append(&inbox(), &[other]).await.unwrap()[0];
        assert!(matches!(other, Appended::New(_)), "{other:?}");
        let made = Append { own_id: false, ..message("x", 2) };
        for _ in 0..2 {
            let stored = log.append(&inbox(), std::slice::from_ref(&made)).await.unwrap()[0];
            assert!(matches!(stored, Appended::New(_)), "{stored:?}");
        }
    }
}

both! {
    async fn what_was_trimmed_is_told(log: &dyn Log) {
        let first = put(log, "m0", 1).await.position();
        for n in 1..13 {
            put(log, &format!("m{n}"), 1).await;
        }
        let (found, gap) = ids(log, Some(first)).await;
        assert_eq!((found.len(), gap), (10, Some(Gap::Trimmed)));
        assert_eq!(found[0], "m3");
        let third = Position { offset: 3, ..first };
        assert_eq!(ids(log, Some(third)).await.1, None, "the next is still there");
    }
}

both! {
    async fn what_is_too_old_is_trimmed(log: &dyn Log) {
        let hour = 3_600_000;
        let first = put(log, "old", 1).await.position();
        put(log, "young", hour - 10).await;
        put(log, "new", hour + 10).await;
        let (found, gap) = ids(log, Some(Position { offset: 0, ..first })).await;
        assert_eq!((found, gap), (names(&["young", "new"]), Some(Gap::Trimmed)));
    }
}

both! {
    async fn a_place_that_the_log_never_had_is_told(log: &dyn Log) {
        let first = put(log, "a", 1).await.position();
        let far = Position { offset: 9, ..first };
        assert_eq!(ids(log, Some(far)).await, (names(&[]), Some(Gap::Lost)), "it has what there is");
        let other = Position { epoch: first.epoch + 1, offset: 1 };
        assert_eq!(ids(log, Some(other)).await, (names(&["a"]), Some(Gap::Lost)));
        let nothing = LogId::Group(GroupId::new("none").unwrap());
        let page = log.read(&nothing, Some(first), Most::messages(1)).await.unwrap();
        assert_eq!(page.gap, Some(Gap::Lost));
        assert!(page.head.epoch > 0, "there is a place to go on from: {}", page.head);
        let first = log.append(&nothing, &[message("b", 1)]).await.unwrap()[0].position();
        assert_eq!(first, Position { offset: 1, ..page.head });
        let fresh = LogId::Group(GroupId::new("fresh").unwrap());
        assert_eq!(log.read(&fresh, None, Most::messages(1)).await.unwrap().gap, None);
    }
}

both! {
    async fn the_ends_of_logs_are_told_in_order(log: &dyn Log) {
        let second = { put(log, "a", 1).await; put(log, "b", 1).await.position() };
        let nothing = LogId::Group(GroupId::new("none").unwrap());
        let heads = log.heads(&[nothing, inbox()]).await.unwrap();
        assert_eq!(heads, [Position::default(), second]);
    }
}

both! {
    async fn a_place_in_an_inbox_moves_forward_only(log: &dyn Log) {
        assert_eq!(log.seen(&bob()).await.unwrap(), None);
        let at = |epoch, offset| Position { epoch, offset };
        for (saw, seen) in [(at(5, 3), at(5, 3)), (at(5, 2), at(5, 3)), (at(4, 9), at(5, 3)), (at(6, 1), at(6, 1))] {
            log.saw(&bob(), saw).await.unwrap();
            assert_eq!(log.seen(&bob()).await.unwrap(), Some(seen));
        }
    }
}

both! {
    async fn only_the_recipient_acknowledges_and_once(log: &dyn Log) {
        let wanted = Append { ack: true, ..message("a", 1) };
        log.append(&inbox(), &[wanted, message("b", 1)]).await.unwrap();
        let carol = UserId::new("carol").unwrap();
        let delivered = (Word::Is(AckState::Delivered), 5);
        let (nobody, alice) = (names(&[]), names(&["alice"]));
        assert_eq!(log.acknowledge(&LogId::Inbox(carol.clone()), (&carol, about("a")), delivered).await.unwrap(), nobody);
        assert_eq!(log.acknowledge(&inbox(), (&bob(), about("b")), delivered).await.unwrap(), nobody, "nobody asked");
        assert_eq!(log.acknowledge(&inbox(), (&bob(), about("a")), delivered).await.unwrap(), alice);
        let later = (Word::Is(AckState::Delivered), 6);
        assert_eq!(log.acknowledge(&inbox(), (&bob(), about("a")), later).await.unwrap(), nobody);
        assert!(!log.expire(&awaited("bob", "a"), 6).await.unwrap(), "it has come");
        let read = |at| (Word::Is(AckState::Read), at);
        assert_eq!(log.acknowledge(&inbox(), (&bob(), about("a")), read(7)).await.unwrap(), alice);
        assert_eq!(log.acknowledge(&inbox(), (&bob(), about("a")), read(8)).await.unwrap(), nobody);
        let records = log.records(&inbox(), &of_alice(&["a", "b", "c"]), 9).await.unwrap();
        let record = records[0].as_ref().unwrap();
        assert_eq!((record.sender.as_str(), record.accepted_at), ("alice", 1));
        assert_eq!((record.delivered_at, record.read_at, record.expired_at), (Some(5), Some(7), None));
        assert_eq!(records[1].as_ref().unwrap().delivered_at, None);
        assert_eq!(records[2], None);
    }
}

both! {
    async fn messages_of_one_id_from_two_senders_are_two_messages(log: &dyn Log) {
        let of = |sender: &str| Append { ack: true, sender: sender.to_owned(), ..message("c1", 1) };
        let batch = [of("alice"), of("carol"), of("dave")];
        let appended = log.append(&inbox(), &batch).await.unwrap();
        assert!(appended.iter().all(|one| matches!(one, Appended::New(_))), "{appended:?}");
        let carol = About { id: "c1", sender: Some("carol") };
        let delivered = log.acknowledge(&inbox(), (&bob(), carol), (Word::Is(AckState::Delivered), 5)).await.unwrap();
        assert_eq!(delivered, names(&["carol"]), "only hers");
        assert!(log.expire(&awaited("bob", "c1"), 6).await.unwrap(), "alice's waits");
        let read = log.acknowledge(&inbox(), (&bob(), about("c1")), (Word::Is(AckState::Read), 7)).await.unwrap();
        assert_eq!(read, names(&["alice", "carol", "dave"]), "without a sender all are meant");
        let wanted = ["alice", "carol", "dave"].map(|sender| MessageName::new(sender, "c1"));
        let records = log.records(&inbox(), &wanted, 9).await.unwrap();
        let told: Vec<_> = records.iter().flatten()
            .map(|one| (one.sender.as_str(), one.position.offset, one.delivered_at, one.read_at, one.expired_at))
            .collect();
        assert_eq!(told, [
            ("alice", 1, None, Some(7), Some(6)),
            ("carol", 2, Some(5), Some(7), None),
            ("dave", 3, None, Some(7), None),
        ]);
    }
}

both! {
    async fn what_goes_with_an_old_message_does_not_take_a_younger_one_of_its_name(log: &dyn Log) {
        let of = |sender: &str, at| Append { ack: true, sender: sender.to_owned(), ..message("c1", at) };
        log.append(&inbox(), &[of("alice", 1), of("carol", 1)]).await.unwrap();
        // Alice's own id again, when nobody remembers the first any more.
        let again = log.append(&inbox(), &[of("alice", 61_000)]).await.unwrap()[0];
        if matches!(again, Appended::Repeated(_)) {
            // Redis forgets by its own clock.
            let made = Append { own_id: false, ..of("alice", 61_000) };
            log.append(&inbox(), &[made]).await.unwrap();
        }
        for number in 0..9 {
            put(log, &format!("m{number}"), 62_000).await;
        }
        // Of ten messages one of c1 is left: alice's second.
        let read = log.read(&inbox(), None, Most::messages(100)).await.unwrap();
        assert_eq!((read.entries[0].offset, read.entries[0].sender.as_str()), (3, "alice"));
        let wanted = ["alice", "carol"].map(|sender| MessageName::new(sender, "c1"));
        let records = log.records(&inbox(), &wanted, 62_000).await.unwrap();
        assert_eq!(records[0].as_ref().map(|record| record.position.offset), Some(3));
        assert_eq!(records[1], None, "carol's is trimmed");
        let told = log.acknowledge(&inbox(), (&bob(), about("c1")), (Word::Is(AckState::Delivered), 62_001)).await.unwrap();
        assert_eq!(told, names(&["alice"]));
    }
}

both! {
    async fn names_that_look_alike_are_not_one(log: &dyn Log) {
        let of = |sender: &str, id: &str| Append { sender: sender.to_owned(), ..message(id, 1) };
        for (sender, id) in [("a", "b:c"), ("a:b", "c"), ("1:a", "b"), ("a", "1:b")] {
            let stored = log.append(&inbox(), &[of(sender, id)]).await.unwrap()[0];
            assert!(matches!(stored, Appended::New(_)), "{sender} {id}: {stored:?}");
        }
        assert_eq!(ids(log, None).await.0.len(), 4);
    }
}

both! {
    async fn each_of_several_readers_has_a_word_about_each_message(log: &dyn Log) {
        let ticket = LogId::Ticket(TicketId::new("t1").unwrap());
        let of = |sender: &str| Append { ack: true, sender: sender.to_owned(), ..message("c1", 1) };
        log.append(&ticket, &[of("alice"), of("ann")]).await.unwrap();
        let delivered = (Word::Is(AckState::Delivered), 5);
        let anns = About { id: "c1", sender: Some("ann") };
        let told = log.acknowledge(&ticket, (&bob(), anns), delivered).await.unwrap();
        assert_eq!(told, names(&["ann"]));
        let again = (Word::Is(AckState::Delivered), 6);
        let told = log.acknowledge(&ticket, (&bob(), about("c1")), again).await.unwrap();
        assert_eq!(told, names(&["alice"]), "ann has heard of it");
        let late = (Word::Expired, 7);
        assert_eq!(log.acknowledge(&ticket, (&bob(), about("c1")), late).await.unwrap(), names(&[]));
        let carol = UserId::new("carol").unwrap();
        let told = log.acknowledge(&ticket, (&carol, anns), late).await.unwrap();
        assert_eq!(told, names(&["ann"]), "carol has said nothing");
        let wanted = ["alice", "ann"].map(|sender| MessageName::new(sender, "c1"));
        let records = log.records(&ticket, &wanted, 9).await.unwrap();
        let told: Vec<_> = records.iter().flatten().map(|one| (one.delivered_at, one.expired_at)).collect();
        assert_eq!(told, [(Some(6), None), (Some(5), Some(7))]);
    }
}

both! {
    async fn a_word_said_again_since_its_answer_was_lost_is_news_again(log: &dyn Log) {
        let ticket = LogId::Ticket(TicketId::new("t1").unwrap());
        for log_id in [inbox(), ticket] {
            log.append(&log_id, &[Append { ack: true, ..message("a", 1) }]).await.unwrap();
            for (word, at, news) in [
                (AckState::Delivered, 5, true),
                (AckState::Delivered, 5, true),
                (AckState::Delivered, 6, false),
                (AckState::Read, 7, true),
                (AckState::Read, 7, true),
                (AckState::Read, 8, false),
                (AckState::Delivered, 5, false),
            ] {
                let (bob, word_at) = (bob(), (Word::Is(word), at));
                let told = log.acknowledge(&log_id, (&bob, about("a")), word_at).await.unwrap();
                assert_eq!(told == names(&["alice"]), news, "{word:?} {at}: {told:?}");
            }
            let records = log.records(&log_id, &of_alice(&["a"]), 9).await.unwrap();
            let record = records[0].as_ref().unwrap();
            assert_eq!((record.delivered_at, record.read_at), (Some(5), Some(7)));
        }
    }
}

both! {
    async fn what_is_given_up_can_still_be_acknowledged(log: &dyn Log) {
        let wanted = Append { ack: true, ..message("a", 1) };
        log.append(&inbox(), &[wanted]).await.unwrap();
        assert!(log.expire(&awaited("bob", "a"), 5).await.unwrap());
        assert!(log.expire(&awaited("bob", "a"), 6).await.unwrap(), "until it is forgotten");
        let late = log.acknowledge(&inbox(), (&bob(), about("a")), (Word::Is(AckState::Delivered), 9)).await.unwrap();
        assert_eq!(late, names(&["alice"]));
        let records = log.records(&inbox(), &of_alice(&["a"]), 9).await.unwrap();
        let record = records[0].as_ref().unwrap();
        assert_eq!((record.expired_at, record.delivered_at), (Some(5), Some(9)));
    }
}

both! {
    async fn a_record_is_kept_for_as_long_as_it_is_to_be(log: &dyn Log) {
        let hour = 3_600_000;
        put(log, "a", 1000).await;
        put(log, "b", 2000).await;
        let kept = async |now| {
            let records = log.records(&inbox(), &of_alice(&["a", "b"]), now).await.unwrap();
            let sent = log.sent("alice", SentQuery { limit: 9, ..SentQuery::default() }, now).await.unwrap();
            (records.iter().flatten().count(), sent.records.len())
        };
        assert_eq!(kept(2000).await, (2, 2));
        assert_eq!(kept(hour + 1500).await, (1, 1), "a is over, though the log is in use");
        assert_eq!(kept(hour + 2000).await, (0, 0));
    }
}

both! {
    async fn what_someone_sent_is_found_over_all_logs_once_and_page_by_page(log: &dyn Log) {
        let group = LogId::Group(GroupId::new("g").unwrap());
        put(log, "a", 1).await;
        let in_group = log.append(&group, &[message("b", 2)]).await.unwrap()[0].position();
        let others = Append { sender: "carol".to_owned(), ..message("c", 3) };
        log.append(&inbox(), &[others]).await.unwrap();
        put(log, "a", 4).await;
        put(log, "d", 5).await;
        let mut query = SentQuery { limit: 2, ..SentQuery::default() };
        let mut found = Vec::new();
        loop {
            let page = log.sent("alice", query, 9).await.unwrap();
            assert!(page.records.len() <= 2);
            found.extend(page.records.iter().map(|sent| format!("{} {} {}", sent.log, sent.id, sent.record.position.offset)));
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        assert_eq!(found, ["inbox:bob a 1", "group:g b 1", "inbox:bob d 3"]);
        let nobody = log.sent("dave", SentQuery { limit: 2, ..SentQuery::default() }, 9).await.unwrap();
        assert_eq!((nobody.records.len(), nobody.next), (0, None));
        assert_eq!(in_group.offset, 1);
    }
}

both! {
    async fn what_is_due_is_told_until_it_is_dealt_with(log: &dyn Log) {
        let (one, two) = (awaited("bob", "m1"), awaited("bob", "m2"));
        log.remind(std::slice::from_ref(&one), 100).await.unwrap();
        log.remind(std::slice::from_ref(&two), 200).await.unwrap();
        // A repetition does not put it off.
        log.remind(std::slice::from_ref(&one), 300).await.unwrap();
        let share = one.share();
        let due = async |now| log.due(share, (now, 10)).await.unwrap();
        assert_eq!(due(99).await, []);
        assert_eq!(due(100).await, vec![one.clone()]);
        assert_eq!(due(300).await, [one.clone(), two.clone()]);
        assert_eq!(log.due(share, (300, 1)).await.unwrap(), vec![one.clone()]);
        assert_eq!(log.due((share + 1) % Awaited::SHARES, (300, 10)).await.unwrap(), []);
        log.forget(std::slice::from_ref(&one)).await.unwrap();
        assert_eq!(due(300).await, [two]);
    }
}

both! {
    async fn an_id_is_a_new_message_when_the_window_is_over(log: &dyn Log) {
        log.keep(Retention { dedupe: Duration::from_millis(200), ..RETENTION });
        let now = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            u64::try_from(now.as_millis()).unwrap()
        };
        let first = put(log, "a", now()).await;
        assert_eq!(put(log, "a", now()).await, Appended::Repeated(first.position()));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let again = put(log, "a", now()).await;
            if again == Appended::New(Position { offset: 2, ..again.position() }) {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{again:?}");
            tokio::task::yield_now().await;
        }
    }
}

both! {
    async fn other_bounds_hold_from_the_next_message_on(log: &dyn Log) {
        let hour = 3_600_000;
        for at in 1..=5 {
            put(log, &format!("m{at}"), at).await;
        }
        log.keep(Retention { messages: 3, ..RETENTION });
        put(log, "m6", 6).await;
        assert_eq!(ids(log, None).await.0, names(&["m4", "m5", "m6"]));
        log.keep(Retention { age: Duration::from_mins(1), records: None, ..RETENTION });
        put(log, "late", hour / 2).await;
        assert_eq!(ids(log, None).await.0, names(&["late"]), "the others are older than a minute");
        let records = log.records(&inbox(), &of_alice(&["late"]), hour / 2).await.unwrap();
        assert_eq!(records, [None], "none is kept any more");
        log.keep(RETENTION);
        put(log, "again", hour).await;
        let records = log.records(&inbox(), &of_alice(&["again"]), hour).await.unwrap();
        assert!(records[0].is_some());
    }
}

both! {
    async fn a_log_is_read_from_a_time_on(log: &dyn Log) {
        assert_eq!(log.since(&inbox(), 0).await.unwrap(), None);
        for at in 1..=4 {
            put(log, &format!("m{at}"), at * 100).await;
        }
        for (since, expected) in [(0, 4), (200, 3), (201, 2), (401, 0)] {
            let place = log.since(&inbox(), since).await.unwrap();
            assert_eq!(ids(log, place).await.0.len(), expected, "since {since}");
        }
    }
}

/// What a member of the group is shown of its log.
async fn shown_to(log: &dyn Log, group: &LogId, joined: Generation) -> (Vec<String>, u64) {
    let page = log.read(group, None, Most::messages(100)).await.unwrap();
    let entries = page.entries.iter().filter(|entry| entry.is_after(joined));
    let ids = entries.map(|entry| entry.id.clone()).collect();
    let place = log.joined(group, joined).await.unwrap();
    (ids, place.unwrap_or_default().offset)
}

/// Messages are stamped by senders' clocks, which may be an hour off.
async fn members_see_what_was_stored_since_they_joined(log: &dyn Log, groups: &dyn GroupStore) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.unwrap().as_millis()).unwrap();
    let (late, early) = (now - 3_500_000, now + 3_500_000);
    let group = GroupId::new("g").unwrap();
    let of_group = LogId::Group(group.clone());
    let joins = async |user: &str| {
        let bounds = Bounds {
            group_size: 9,
            groups_per_user: 9,
        };
        let user = UserId::new(user).unwrap();
        let joined = groups
            .join(&group, &user, Entry::MakeIfMissing, bounds)
            .await;
        joined.unwrap().generation
    };
    let put = async |id: &str, at: u64| {
        let trace = TraceContext::of_ids(&[0xab; 16], &[0x0c; 8]);
        let batch = [Append {
            trace,
            ..message(id, at)
        }];
        log.append(&of_group, &batch).await.unwrap();
    };
    put("before all", early).await;
    let alice = joins("alice").await;
    put("a1", late).await;
    put("a2", early).await;
    let bob = joins("bob").await;
    put("b1", late).await;
    groups
        .leave(&group, &UserId::new("bob").unwrap())
        .await
        .unwrap();
    put("b2", early).await;
    let bob_again = joins("bob").await;
    assert_eq!(
        shown_to(log, &of_group, alice).await,
        (names(&["a1", "a2", "b1", "b2"]), 1)
    );
    assert_eq!(shown_to(log, &of_group, bob).await.1, 3);
    assert_eq!(shown_to(log, &of_group, bob_again).await, (names(&[]), 5));
    put("b3", late).await;
    assert_eq!(
        shown_to(log, &of_group, bob_again).await,
        (names(&["b3"]), 5)
    );
    let page = log
        .read(&of_group, None, Most::messages(100))
        .await
        .unwrap();
    assert!(page.entries.iter().all(|entry| entry.trace.is_some()));
}

#[tokio::test]
async fn members_see_what_was_stored_since_they_joined_in_memory() {
    let log = MemoryLog::new(RETENTION, 7);
    members_see_what_was_stored_since_they_joined(&log, &*MemoryGroups::new()).await;
}

#[tokio::test]
async fn members_see_what_was_stored_since_they_joined_in_redis() {
    let redis = RedisServer::start();
    let linked = linked(&redis, RETENTION).await;
    let groups = RedisGroups::new(&linked.link);
    members_see_what_was_stored_since_they_joined(&linked.log, &groups).await;
}

/// Messages to somebody else, as many as there are between two looks for what is over.
async fn others(log: &dyn Log, at: u64) {
    let carol = LogId::Inbox(UserId::new("carol").unwrap());
    for _ in 0..4096 {
        let made = Append {
            own_id: false,
            ..message("other", at)
        };
        log.append(&carol, &[made]).await.unwrap();
    }
}

#[tokio::test]
async fn a_log_in_memory_whose_messages_are_all_too_old_goes_on_counting() {
    let log: &dyn Log = &MemoryLog::new(RETENTION, 7);
    let (hour, mut last) = (3_600_000, Position::default());
    for n in 0..5 {
        last = put(log, &format!("old{n}"), 1).await.position();
    }
    log.saw(&bob(), last).await.unwrap();
    others(log, 2 * hour).await;
    assert_eq!(
        ids(log, Some(last)).await,
        (names(&[]), None),
        "nothing is missing"
    );
    assert_eq!(log.seen(&bob()).await.unwrap(), Some(last));
    let new: Vec<String> = (0..6).map(|n| format!("new{n}")).collect();
    for id in &new {
        put(log, id, 2 * hour).await;
    }
    assert_eq!(
        ids(log, Some(last)).await,
        (new, None),
        "and nothing is taken for seen"
    );
}

#[tokio::test]
async fn a_log_in_memory_that_was_forgotten_begins_under_another_epoch() {
    let log: &dyn Log = &MemoryLog::new(RETENTION, 7);
    let mut last = Position::default();
    for n in 0..5 {
        last = put(log, &format!("old{n}"), 1).await.position();
    }
    log.saw(&bob(), last).await.unwrap();
    let days = 3 * 86_400_000;
    others(log, days).await;
    assert_eq!(
        log.seen(&bob()).await.unwrap(),
        None,
        "it is a place in nothing"
    );
    let new: Vec<String> = (0..6).map(|n| format!("new{n}")).collect();
    for id in &new {
        put(log, id, days).await;
    }
    assert_eq!(ids(log, Some(last)).await, (new, Some(Gap::Lost)));
}

#[tokio::test]
async fn a_redis_that_kept_its_data_goes_on_without_a_gap_and_one_that_lost_the_end_says_so() {
    let redis = RedisServer::start();
    let linked = linked(&redis, RETENTION).await;
    let log: &dyn Log = &linked.log;
    put(log, "a", 1).await;
    let kept = put(log, "b", 1).await.position();
    // The same data on a server that is another process: what it holds may be less than what was accepted.
    let meta = "wsc:{logs:u:bob}:meta";
    redis.cli(&["HSET", meta, "r", "another-process"]);
    let next = put(log, "c", 1).await.position();
    assert!(next.epoch > kept.epoch, "{next} after {kept}");
    assert_eq!(next.offset, 3);
    assert_eq!(ids(log, Some(kept)).await, (names(&["c"]), None));
    let lost = Position { offset: 3, ..kept };
    let (found, gap) = ids(log, Some(lost)).await;
    assert_eq!(
        (found, gap),
        (names(&["c"]), Some(Gap::Lost)),
        "3 of the old epoch is no more, and what was common is not sent again"
    );
}
