//! Several clerks at once over one store: what they tell, put in the order of versions, is one legal history.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_gateway::ticket::store::Version;
use wsc_gateway::ticket::{
    Bell, Command, Desk, DeskError, Event, Field, Manual, News, Reminders, Rules, clerk,
};

use super::chance::Chance;
use super::model::Model;
use super::stores::{Stored, redis_store};

over_both!(
    Stored:
    three_nodes_at_once_make_one_history,
);

const NODES: usize = 3;
const CALLERS: usize = 4;

fn rules() -> Rules {
    Rules {
        ticket_timeout: 300,
        queue_timeout: 200,
        notify_timeout: 60,
        agent_grace: 30,
        max_tickets_per_agent: 2,
        auto_assign: true,
        assign_strategy: wsc_config::AssignStrategy::SkillBased,
        enable_queueing: true,
        transfers: Some(3),
        reminders: Some(Reminders {
            timeout: 15,
            most: 2,
        }),
    }
}

fn manual() -> Manual {
    Manual {
        rules: rules(),
        keep: 3_600_000,
        record: true,
    }
}

/// Asks for whatever comes to mind until the time is over; how often.
async fn call(bell: Bell, (seed, caller): (u64, usize), until: Instant) -> usize {
    let mut chance = Chance::of(seed.wrapping_add(caller as u64));
    chance.caller = (caller, NODES * CALLERS);
    chance.agents = 4;
    chance.repeats = true;
    let mut asked = 0;
    while Instant::now() < until {
        match bell.ask(chance.command()).await {
            Ok(_) | Err(DeskError::Refused(_)) => asked += 1,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    asked
}

/// Fires everything all the time, whoever's business it is.
async fn fire(bell: Bell, until: Instant) {
    while Instant::now() < until {
        let fields = bell
            .look(|desk, _| {
                let tickets = desk.tickets().map(|t| Field::Ticket(t.id.clone()));
                let agents = desk.agents().map(|(a, _)| Field::Agent(a.id.clone()));
                tickets.chain(agents).collect::<Vec<_>>()
            })
            .await;
        let Ok(fields) = fields else { return };
        for field in fields {
            let _ended = bell.ask(Command::Fire { field, heard: None }).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn three_nodes_at_once_make_one_history(s: Stored) {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let until = Instant::now() + Duration::from_secs(5);
    let tasks = TaskTracker::new();
    // The clerks end while commits are under way; their links go on.
    let ended = CancellationToken::new();
    let mut told = Vec::new();
    let mut callers = Vec::new();
    let mut bells = Vec::new();
    for node in 0..NODES {
        let store = s.of_node(&format!("node-{node}")).await;
        let (news, mut heard) = mpsc::channel::<News>(100_000);
        let (bell, clerk) = clerk(store.clone(), manual(), news);
        tasks.spawn(clerk.run(ended.clone()));
        tasks.spawn(fire(bell.clone(), until));
        for caller in 0..CALLERS {
            let caller = node * CALLERS + caller;
            callers.push(tasks.spawn(call(bell.clone(), (seed, caller), until)));
        }
        bells.push(bell);
        told.push(tasks.spawn(async move {
            let mut all = Vec::new();
            while let Some(news) = heard.recv().await {
                store.told(news.version).await.unwrap();
                all.push(news);
            }
            all
        }));
    }
    let mut asked = 0;
    for caller in callers {
        asked += caller.await.unwrap();
    }
    let (mut commits, mut conflicts) = (0, 0);
    for bell in &bells {
        let stats = bell.stats();
        commits += stats.commits.load(Relaxed);
        conflicts += stats.conflicts.load(Relaxed);
    }
    eprintln!("{asked} commands in {commits} commits, {conflicts} conflicts, 5 s");
    drop(bells);
    ended.cancel();
    tasks.close();
    tasks.wait().await;
    let mut news: Vec<News> = Vec::new();
    for told in told {
        news.extend(told.await.unwrap());
    }
    news.sort_by_key(|news| news.version);
    assert!(
        news.windows(2).all(|two| two[0].version < two[1].version),
        "one step, one version"
    );
    assert!(
        asked > 300 && commits > 100,
        "{asked} commands in {commits} commits: too few to mean anything"
    );
    let mut model = Model::default();
    for News { events, .. } in &news {
        model.take(events, &rules());
    }
    check(&s, &model, &news).await;
}

/// What is stored is where the events lead, and every step has its record.
async fn check(s: &Stored, model: &Model, news: &[News]) {
    let store = match &s.server {
        Some(server) => redis_store(server, "reader", &CancellationToken::new()).await,
        None => s.store.clone(),
    };
    let loaded = store.load(Version(0)).await.unwrap();
    let mut desk = Desk::default();
    for (field, text) in &loaded.fields {
        desk.read(field, text.as_deref());
    }
    model.compare(&desk);
    Model::check_nothing_waits_in_vain(&desk, &rules());
    assert!(model.closed.len() > 10, "{} closed", model.closed.len());
    let mut recorded = 0;
    for id in model.closed.iter().chain(model.tickets.keys()) {
        let events = news.iter().flat_map(|news| &news.events);
        let expected: Vec<_> = events
            .filter_map(Event::record)
            .filter(|record| record.ticket == *id)
            .collect();
        assert_eq!(
            store.records(id).await.unwrap(),
            expected,
            "the records of {id}"
        );
        recorded += expected.len();
    }
    assert!(recorded > 300, "{recorded} records");
    for id in model.closed.iter().take(50) {
        let kept = store.closed(std::slice::from_ref(id)).await.unwrap();
        assert_eq!(kept.len(), 1, "{id} is over and kept");
    }
}
