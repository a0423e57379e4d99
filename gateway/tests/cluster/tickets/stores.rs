//! One suite for every store: memory and Redis must not be told apart by it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wsc_gateway::protocol::{Priority, TicketId, UserId};
use wsc_gateway::ticket::store::{
    Commit, DeskStore, Loaded, MAX_UNTOLD, MemoryDesk, RedisDesk, Untold, Version, Write,
};
use wsc_gateway::ticket::{ClosedBecause, Event, Field, Queue, Record, State, Step, Ticket};

use crate::support::nodes::within;
use crate::support::redis::RedisServer;
use crate::support::subject::{Mailbox, redis_node};

/// A store, and what must live as long as it is used.
pub struct Stored {
    pub store: Arc<dyn DeskStore>,
    pub server: Option<RedisServer>,
    pub cancel: CancellationToken,
}

impl Stored {
    #[allow(clippy::unused_async)] // the form of the suite
    pub async fn memory() -> Self {
        Self {
            store: Arc::new(MemoryDesk::default()),
            server: None,
            cancel: CancellationToken::new(),
        }
    }

    pub async fn redis() -> Self {
        let server = RedisServer::start();
        let cancel = CancellationToken::new();
        let store = redis_store(&server, "a", &cancel).await;
        Self {
            store,
            server: Some(server),
            cancel,
        }
    }

    /// The same store as another node sees it.
    pub async fn of_node(&self, node: &str) -> Arc<dyn DeskStore> {
        match &self.server {
            Some(server) => redis_store(server, node, &self.cancel).await,
            None => self.store.clone(),
        }
    }
}

pub async fn redis_store(
    server: &RedisServer,
    node: &str,
    cancel: &CancellationToken,
) -> Arc<dyn DeskStore> {
    let link = redis_node(server, node, Arc::new(Mailbox::default()), cancel).await;
    Arc::new(RedisDesk::new(&link))
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

over_both!(
    Stored:
    a_commit_on_an_old_version_is_refused_and_touches_nothing,
    a_copy_is_told_exactly_what_has_changed,
    a_copy_of_unknown_origin_is_replaced_as_a_whole,
    what_is_due_comes_in_order_and_with_the_last_message,
    a_commit_asked_for_again_by_its_token_is_made_once,
    tickets_that_are_over_are_kept_for_a_while,
    records_come_in_order_and_are_bounded,
    what_a_commit_has_to_tell_stays_until_it_is_told,
    a_commit_is_refused_when_too_many_wait_to_be_told_of,
);

const HOUR: u64 = 3_600_000;

fn id(name: &str) -> TicketId {
    TicketId::new(name).unwrap()
}

fn field(name: &str) -> Field {
    Field::Ticket(id(name))
}

fn write(name: &str, text: Option<&str>, due: Option<u64>) -> Write {
    Write {
        field: field(name),
        text: text.map(str::to_owned),
        due,
    }
}

fn record(name: &str, at: u64) -> Record {
    let agent = UserId::new("agent").unwrap();
    Record {
        ticket: id(name),
        at,
        step: Step::Accepted { agent },
    }
}

fn event(name: &str) -> Event {
    Event::Ticket {
        at: 5,
        step: Step::Closed {
            by: None,
            because: ClosedBecause::Idle,
        },
        ticket: Box::new(closed(name)),
    }
}

fn closed(name: &str) -> Ticket {
    Ticket {
        id: id(name),
        customer: UserId::new("customer").unwrap(),
        queue: Queue::of(["a"]).unwrap(),
        priority: Priority::High,
        subject: Some("\"quoted\" \u{1F600}".to_owned()),
        opened_at: 1,
        waiting_since: 2,
        number: 3,
        passed: [UserId::new("agent").unwrap()].into(),
        transfers: 1,
        observers: [].into(),
        state: State::Closed {
            by: None,
            agent: None,
            because: ClosedBecause::Idle,
            at: 4,
        },
    }
}

async fn commit(store: &Arc<dyn DeskStore>, on: Version, writes: Vec<Write>) -> Option<Version> {
    let commit = Commit {
        token: rand::random(),
        based_on: on,
        writes,
        keep: HOUR,
        ..Commit::default()
    };
    store.commit(&commit).await.unwrap()
}

async fn a_commit_on_an_old_version_is_refused_and_touches_nothing(s: Stored) {
    let first = commit(&s.store, Version(0), vec![write("x", Some("1"), Some(1))])
        .await
        .unwrap();
    for old in [Version(0), Version(first.0 - 1), Version(first.0 + 1)] {
        let refused = Commit {
            token: rand::random(),
            based_on: old,
            writes: vec![write("x", None, None), write("y", Some("2"), None)],
            events: vec![event("x")],
            records: vec![record("x", 1)],
            closed: vec![closed("x")],
            keep: HOUR,
        };
        assert_eq!(s.store.commit(&refused).await.unwrap(), None);
    }
    let all = s.store.load(Version(0)).await.unwrap();
    assert_eq!(all.fields, [(field("x"), Some("1".to_owned()))]);
    assert_eq!(s.store.due(10).await.unwrap().len(), 1);
    assert_eq!(s.store.records(&id("x")).await.unwrap(), []);
    assert_eq!(s.store.closed(&[id("x")]).await.unwrap(), []);
    assert_eq!(untold(&s.store, Version(0)).await, []);
}

async fn a_copy_is_told_exactly_what_has_changed(s: Stored) {
    let empty = s.store.load(Version(0)).await.unwrap();
    assert_eq!((empty.version, empty.fields), (Version(0), vec![]));
    let both = vec![write("x", Some("1"), None), write("y", Some("1"), None)];
    let first = commit(&s.store, Version(0), both).await.unwrap();
    let second = commit(&s.store, first, vec![write("x", Some("2"), None)])
        .await
        .unwrap();
    let third = commit(&s.store, second, vec![write("y", None, None)])
        .await
        .unwrap();
    assert!(first < second && second < third);
    let Loaded {
        version, fields, ..
    } = s.store.load(third).await.unwrap();
    assert_eq!((version, fields), (third, vec![]), "it is up to date");
    // Whether as a whole or by what has changed, both copies end up with x = 2 alone.
    for since in [first, second] {
        let loaded = s.store.load(since).await.unwrap();
        assert_eq!(loaded.version, third);
        let gone = loaded
            .fields
            .iter()
            .any(|(known, text)| *known == field("y") && text.is_none());
        let has_y = loaded
            .fields
            .iter()
            .any(|(known, text)| *known == field("y") && text.is_some());
        assert!(loaded.whole || gone, "{loaded:?}");
        assert!(!has_y, "{loaded:?}");
        let x = (field("x"), Some("2".to_owned()));
        assert!(since == second || loaded.fields.contains(&x), "{loaded:?}");
    }
}

async fn a_copy_of_unknown_origin_is_replaced_as_a_whole(s: Stored) {
    let mut version = Version(0);
    for n in 0..1500 {
        let text = n.to_string();
        version = commit(&s.store, version, vec![write("x", Some(&text), None)])
            .await
            .unwrap();
    }
    for since in [Version(0), Version(1), Version(version.0 + 1000)] {
        let loaded = s.store.load(since).await.unwrap();
        assert!(
            loaded.whole && loaded.version == version,
            "{since:?}: {loaded:?}"
        );
        assert_eq!(loaded.fields, [(field("x"), Some("1499".to_owned()))]);
    }
}

async fn what_is_due_comes_in_order_and_with_the_last_message(s: Stored) {
    let now = s.store.load(Version(0)).await.unwrap().now;
    let writes = vec![
        write("late", Some("1"), Some(now - 1)),
        write("latest", Some("1"), Some(now - 5)),
        write("later", Some("1"), Some(now + HOUR)),
        write("never", Some("1"), None),
    ];
    let version = commit(&s.store, Version(0), writes).await.unwrap();
    s.store.heard(&id("late")).await.unwrap();
    s.store.heard(&id("nobody")).await.unwrap();
    let due = s.store.due(10).await.unwrap();
    let names: Vec<_> = due.iter().map(|due| due.field.clone()).collect();
    assert_eq!(names, [field("latest"), field("late")]);
    assert_eq!(due[0].heard, None);
    assert!(due[1].heard.is_some_and(|heard| heard >= now), "{due:?}");
    assert_eq!(s.store.due(1).await.unwrap().len(), 1);
    let moved = vec![
        write("latest", None, None),
        write("late", Some("1"), Some(now + HOUR)),
    ];
    commit(&s.store, version, moved).await.unwrap();
    assert_eq!(s.store.due(10).await.unwrap(), []);
}

async fn a_commit_asked_for_again_by_its_token_is_made_once(s: Stored) {
    let first = Commit {
        token: 7,
        writes: vec![write("x", Some("1"), None)],
        records: vec![record("x", 1)],
        keep: HOUR,
        ..Commit::default()
    };
    let made = s.store.commit(&first).await.unwrap().unwrap();
    let next = commit(&s.store, made, vec![write("x", Some("2"), None)]).await;
    let again = s.of_node("b").await.commit(&first).await.unwrap();
    assert_eq!(again, Some(made), "its answer was lost, not the commit");
    let loaded = s.store.load(Version(0)).await.unwrap();
    assert_eq!(Some(loaded.version), next, "and nothing was done again");
    assert_eq!(loaded.fields, [(field("x"), Some("2".to_owned()))]);
    assert_eq!(s.store.records(&id("x")).await.unwrap().len(), 1);
    let late = Commit { token: 8, ..first };
    assert_eq!(s.store.commit(&late).await.unwrap(), None);
}

async fn tickets_that_are_over_are_kept_for_a_while(s: Stored) {
    let mut version = Version(0);
    for (name, keep) in [("old", HOUR), ("new", HOUR)] {
        let commit = Commit {
            token: rand::random(),
            based_on: version,
            writes: vec![write(name, None, None)],
            events: vec![event(name)],
            records: vec![record(name, 1)],
            closed: vec![closed(name)],
            keep,
        };
        version = s.store.commit(&commit).await.unwrap().unwrap();
        // Redis orders by the millisecond.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let asked = ["other", "new", "old"].map(id);
    assert_eq!(
        s.store.closed(&asked).await.unwrap(),
        [closed("new"), closed("old")]
    );
    assert_eq!(
        s.store.closed_page(0, 10).await.unwrap(),
        [closed("new"), closed("old")]
    );
    assert_eq!(s.store.closed_page(1, 10).await.unwrap(), [closed("old")]);
    assert_eq!(s.store.closed(&asked[..1]).await.unwrap(), []);
    assert_eq!(s.store.closed(&[]).await.unwrap(), []);
    let commit = Commit {
        token: rand::random(),
        based_on: version,
        records: vec![record("brief", 1)],
        closed: vec![closed("brief")],
        keep: 50,
        ..Commit::default()
    };
    s.store.commit(&commit).await.unwrap().unwrap();
    within(5, "it is forgotten with its records", async || {
        s.store.closed(&[id("brief")]).await.unwrap().is_empty()
            && s.store.records(&id("brief")).await.unwrap().is_empty()
    })
    .await;
}

async fn records_come_in_order_and_are_bounded(s: Stored) {
    let mut version = Version(0);
    for round in 0..30 {
        let commit = Commit {
            token: rand::random(),
            based_on: version,
            records: (0..100).map(|n| record("x", round * 100 + n)).collect(),
            keep: HOUR,
            ..Commit::default()
        };
        version = s.store.commit(&commit).await.unwrap().unwrap();
    }
    let records = s.store.records(&id("x")).await.unwrap();
    assert!((1000..1200).contains(&records.len()), "{}", records.len());
    assert_eq!(records.last(), Some(&record("x", 2999)));
    assert!(records.is_sorted_by_key(|record| record.at));
    assert_eq!(s.store.records(&id("y")).await.unwrap(), []);
}

async fn untold(store: &Arc<dyn DeskStore>, after: Version) -> Vec<Untold> {
    let untold = store.untold(Duration::ZERO, (after, MAX_UNTOLD));
    untold.await.unwrap()
}

/// A commit that has something to tell.
fn telling(name: &str, based_on: Version) -> Commit {
    Commit {
        token: rand::random(),
        based_on,
        events: vec![event(name)],
        keep: HOUR,
        ..Commit::default()
    }
}

async fn what_a_commit_has_to_tell_stays_until_it_is_told(s: Stored) {
    let (mut version, mut all) = (Version(0), Vec::new());
    for name in ["a", "b", "c"] {
        let commit = telling(name, version);
        version = s.store.commit(&commit).await.unwrap().unwrap();
        assert_eq!(s.store.commit(&commit).await.unwrap(), Some(version));
        let events = commit.events;
        all.push(Untold { version, events });
    }
    let silent = commit(&s.store, version, vec![write("d", Some("1"), None)]).await;
    assert!(silent.is_some(), "it has nothing to tell");
    let other = s.of_node("b").await;
    assert_eq!(untold(&other, Version(0)).await, all, "once each, in order");
    assert_eq!(untold(&other, all[0].version).await, all[1..]);
    let first = other.untold(Duration::ZERO, (Version(0), 1)).await.unwrap();
    assert_eq!(first, all[..1]);
    let old = other.untold(Duration::from_secs(60), (Version(0), 9)).await;
    assert_eq!(old.unwrap(), [], "they are young");
    for _ in 0..2 {
        other.told(all[1].version).await.unwrap();
        assert_eq!(
            untold(&s.store, Version(0)).await,
            [all[0].clone(), all[2].clone()]
        );
    }
}

async fn a_commit_is_refused_when_too_many_wait_to_be_told_of(s: Stored) {
    let mut version = Version(0);
    for _ in 0..MAX_UNTOLD {
        let made = s.store.commit(&telling("a", version)).await.unwrap();
        version = made.unwrap();
    }
    s.store.commit(&telling("b", version)).await.unwrap_err();
    assert_eq!(untold(&s.store, Version(0)).await.len(), MAX_UNTOLD);
    let silent = commit(&s.store, version, vec![write("x", Some("1"), None)]).await;
    version = silent.expect("what has nothing to tell goes on");
    let first = s
        .store
        .untold(Duration::ZERO, (Version(0), 1))
        .await
        .unwrap();
    s.store.told(first[0].version).await.unwrap();
    let made = s.store.commit(&telling("b", version)).await.unwrap();
    assert!(made.is_some(), "there is room again");
}
