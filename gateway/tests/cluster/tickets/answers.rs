//! A store whose answers get lost, and an end in the middle of a commit: what was made is told, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wsc_config::TicketConfig;
use wsc_gateway::cluster::ClusterError;
use wsc_gateway::protocol::{Priority, TicketId, UserId};
use wsc_gateway::ticket::store::{Commit, DeskStore, Due, Loaded, MemoryDesk, Untold, Version};
use wsc_gateway::ticket::{
    Command, DeskError, Event, Manual, NewTicket, News, Queue, Record, Refusal, Rules, Step,
    Ticket, clerk,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// What becomes of commits.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Mood {
    Fine,
    /// Made, but the answer is lost.
    Lost,
    /// Made, but the answer takes a while.
    Slow,
    /// Not made, and nobody knows.
    Deaf,
}

#[derive(Default)]
struct Moody {
    desk: MemoryDesk,
    mood: AtomicU8,
}

impl Moody {
    fn be(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    fn is(&self, mood: Mood) -> bool {
        self.mood.load(Ordering::SeqCst) == mood as u8
    }
}

impl DeskStore for Moody {
    fn load(&self, since: Version) -> BoxFuture<'_, Result<Loaded, ClusterError>> {
        self.desk.load(since)
    }

    fn commit<'a>(
        &'a self,
        commit: &'a Commit,
    ) -> BoxFuture<'a, Result<Option<Version>, ClusterError>> {
        Box::pin(async move {
            let lost = ClusterError::Deadline {
                operation: "ticket commit",
                millis: 1,
            };
            if self.is(Mood::Deaf) {
                return Err(lost);
            }
            let made = self.desk.commit(commit).await;
            if self.is(Mood::Slow) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            if self.is(Mood::Lost) { Err(lost) } else { made }
        })
    }

    fn untold(
        &self,
        age: Duration,
        after_most: (Version, usize),
    ) -> BoxFuture<'_, Result<Vec<Untold>, ClusterError>> {
        self.desk.untold(age, after_most)
    }

    fn told(&self, version: Version) -> BoxFuture<'_, Result<(), ClusterError>> {
        self.desk.told(version)
    }

    fn due(&self, most: usize) -> BoxFuture<'_, Result<Vec<Due>, ClusterError>> {
        self.desk.due(most)
    }

    fn heard<'a>(&'a self, ticket: &'a TicketId) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.desk.heard(ticket)
    }

    fn closed<'a>(
        &'a self,
        tickets: &'a [TicketId],
    ) -> BoxFuture<'a, Result<Vec<Ticket>, ClusterError>> {
        self.desk.closed(tickets)
    }

    fn closed_page(
        &self,
        skip: usize,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Ticket>, ClusterError>> {
        self.desk.closed_page(skip, most)
    }

    fn records<'a>(
        &'a self,
        ticket: &'a TicketId,
    ) -> BoxFuture<'a, Result<Vec<Record>, ClusterError>> {
        self.desk.records(ticket)
    }
}

fn manual() -> Manual {
    Manual {
        rules: Rules::from(&TicketConfig::default()),
        keep: 3_600_000,
        record: true,
    }
}

fn open(id: &str) -> Command {
    Command::Open(NewTicket {
        id: TicketId::new(id).unwrap(),
        customer: UserId::new("alice").unwrap(),
        queue: Queue::default(),
        priority: Priority::Normal,
        subject: None,
    })
}

/// The tickets of which it was told that they were opened.
async fn opened(news: &mut mpsc::Receiver<News>) -> Vec<String> {
    let news = timeout(DEADLINE, news.recv()).await.unwrap();
    let events = news.map(|news| news.events).unwrap_or_default();
    let opened = |event| match event {
        Event::Ticket {
            step: Step::Opened { .. },
            ticket,
            ..
        } => Some(ticket.id.to_string()),
        Event::Ticket { .. } | Event::Agent { .. } => None,
    };
    events.into_iter().filter_map(opened).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_whose_answer_is_lost_for_a_moment_is_answered_and_told_once() {
    let store = Arc::<Moody>::default();
    let (sender, mut news) = mpsc::channel(16);
    let (bell, clerk) = clerk(store.clone(), manual(), sender);
    let working = tokio::spawn(clerk.run(CancellationToken::new()));
    store.be(Mood::Lost);
    let asked = tokio::spawn({
        let bell = bell.clone();
        async move { bell.ask(open("t1")).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    store.be(Mood::Fine);
    asked.await.unwrap().unwrap();
    assert_eq!(opened(&mut news).await, ["t1"]);
    drop(bell);
    working.await.unwrap();
    assert!(news.recv().await.is_none(), "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_whose_answer_stays_lost_is_told_when_it_is_known_and_nobody_asks() {
    for (mood, told) in [(Mood::Lost, true), (Mood::Deaf, false)] {
        let store = Arc::<Moody>::default();
        let (sender, mut news) = mpsc::channel(16);
        let (bell, clerk) = clerk(store.clone(), manual(), sender);
        let working = tokio::spawn(clerk.run(CancellationToken::new()));
        store.be(mood);
        let refused = bell.ask(open("t1")).await;
        assert!(matches!(refused, Err(DeskError::Store(_))), "{refused:?}");
        store.be(Mood::Fine);
        // What was not made at the first time of asking is made now, for nobody else has been faster.
        assert_eq!(opened(&mut news).await, ["t1"], "made at once: {told}");
        let twice = bell.look(|desk, _| desk.tickets().count()).await.unwrap();
        assert_eq!(twice, 1);
        drop(bell);
        working.await.unwrap();
        assert!(news.recv().await.is_none(), "once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_stayed_unknown_and_was_overtaken_is_not_told() {
    let store = Arc::<Moody>::default();
    let (sender, mut news) = mpsc::channel(16);
    let (bell, slow) = clerk(store.clone(), manual(), sender);
    let working = tokio::spawn(slow.run(CancellationToken::new()));
    let (sender, mut of_other) = mpsc::channel(16);
    let (other, quick) = clerk(store.clone(), manual(), sender);
    let quick = tokio::spawn(quick.run(CancellationToken::new()));
    store.be(Mood::Deaf);
    assert!(bell.ask(open("t1")).await.is_err());
    store.be(Mood::Fine);
    other.ask(open("t2")).await.unwrap();
    assert_eq!(opened(&mut of_other).await, ["t2"]);
    let missing = TicketId::new("t1").unwrap();
    let by = wsc_gateway::ticket::Party::User(UserId::new("alice").unwrap());
    let asked = bell
        .ask(Command::Close {
            ticket: missing.clone(),
            by,
        })
        .await;
    let Err(DeskError::Refused(refusal)) = asked else {
        panic!("{asked:?}");
    };
    assert_eq!(refusal, Refusal::NoTicket(missing));
    drop((bell, other));
    working.await.unwrap();
    quick.await.unwrap();
    assert!(news.recv().await.is_none(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_the_middle_of_a_commit_waits_for_its_answer_and_tells_it() {
    let store = Arc::<Moody>::default();
    let (sender, mut news) = mpsc::channel(16);
    let (bell, clerk) = clerk(store.clone(), manual(), sender);
    let cancel = CancellationToken::new();
    let working = tokio::spawn(clerk.run(cancel.clone()));
    store.be(Mood::Slow);
    let asked = tokio::spawn(async move { bell.ask(open("t1")).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    cancel.cancel();
    asked.await.unwrap().unwrap();
    assert_eq!(opened(&mut news).await, ["t1"]);
    working.await.unwrap();
}
