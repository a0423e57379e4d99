//! One suite for every store of groups: memory and Redis must not be told apart by it. Then what only Redis can get wrong: a
//! join or leave that ends between two of its steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::support::nodes::user;
use crate::support::redis::{Asked, RedisServer};
use crate::support::subject::{Mailbox, redis_node};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_gateway::cluster::Interest as _;
use wsc_gateway::cluster::redis::RedisInterest;
use wsc_gateway::group::{
    Bounds, Entry, Generation, GroupError, GroupStore, Life, MemoryGroups, RedisGroups, Way,
};
use wsc_gateway::protocol::{GroupId, NodeId, UserId};

const ROOMY: Bounds = Bounds {
    group_size: 1_000,
    groups_per_user: 1_000,
};

struct Subject {
    store: Arc<dyn GroupStore>,
    server: Option<RedisServer>,
}

impl Subject {
    #[allow(clippy::unused_async, reason = "made as the other is")]
    async fn memory() -> Self {
        Self {
            store: MemoryGroups::new(),
            server: None,
        }
    }

    async fn redis() -> Self {
        let server = RedisServer::start();
        let link = redis_node(
            &server,
            "the test itself",
            Arc::new(Mailbox::default()),
            &CancellationToken::new(),
        )
        .await;
        Self {
            store: Arc::new(RedisGroups::new(&link)),
            server: Some(server),
        }
    }

    async fn join(&self, id: &str, who: &str) -> Result<Generation, GroupError> {
        let (group, user) = (group(id), user(who));
        let joined = self.store.join(&group, &user, Entry::MakeIfMissing, ROOMY);
        Ok(joined.await?.generation)
    }

    async fn members(&self, id: &str) -> Vec<String> {
        let page = self.store.members(&group(id), Generation(0), 10_000).await;
        let members = page.map(|page| page.members).unwrap_or_default();
        members
            .iter()
            .map(|member| member.user.to_string())
            .collect()
    }

    async fn groups_of(&self, who: &str) -> Vec<String> {
        let groups = self.store.groups_of(&user(who)).await.unwrap();
        groups.iter().map(|(group, _)| group.to_string()).collect()
    }

    fn cli(&self, args: &[&str]) -> String {
        self.server.as_ref().unwrap().cli(args)
    }
}

fn group(id: &str) -> GroupId {
    GroupId::new(id).unwrap()
}

over_both!(
    Subject:
    a_group_is_made_once_and_says_who_made_it,
    a_group_that_is_missing_is_joined_only_where_joining_makes_it,
    a_group_that_joining_made_ends_with_its_last_member,
    joining_again_changes_nothing,
    each_join_and_leave_is_newer_than_all_before_also_after_a_disband,
    members_are_paged_in_the_order_of_joining_without_gaps,
    the_bounds_hold_and_say_which_one_it_was,
    the_bounds_hold_when_many_join_at_once,
    a_disbanded_group_is_gone_from_everyone,
    a_member_sends_so_often_in_a_minute_and_a_stranger_never,
    any_sequence_gives_what_the_model_gives,
    tasks_at_once_leave_lists_and_members_in_step,
);

async fn a_group_is_made_once_and_says_who_made_it(s: Subject) {
    let (chess, alice) = (group("chess"), user("alice"));
    assert!(matches!(s.store.get(&chess).await, Err(GroupError::Missing(g)) if g == chess));
    s.store.create(&chess, Some(&alice)).await.unwrap();
    let again = s.store.create(&chess, None).await;
    assert!(matches!(again, Err(GroupError::Exists(_))));
    let made = s.store.get(&chess).await.unwrap();
    assert_eq!(
        (made.owner, made.members, made.life),
        (Some(alice.clone()), 0, Life::Lasting)
    );
    assert!(made.created_at > 1_700_000_000_000);
    let go = group("go");
    s.store
        .join(&go, &alice, Entry::Found, ROOMY)
        .await
        .unwrap();
    let again = s.store.join(&go, &user("bob"), Entry::Found, ROOMY).await;
    assert!(matches!(again, Err(GroupError::Exists(_))));
    assert_eq!(s.members("go").await, ["alice"]);
    assert!(s.groups_of("bob").await.is_empty());
    s.store.leave(&go, &alice).await.unwrap();
    assert_eq!(s.store.get(&go).await.unwrap().owner, Some(alice));
}

async fn a_group_that_is_missing_is_joined_only_where_joining_makes_it(s: Subject) {
    let (chess, alice) = (group("chess"), user("alice"));
    let refused = s.store.join(&chess, &alice, Entry::Existing, ROOMY).await;
    assert!(matches!(refused, Err(GroupError::Missing(_))));
    assert!(s.groups_of("alice").await.is_empty());
    let made = s
        .store
        .join(&chess, &alice, Entry::MakeIfMissing, ROOMY)
        .await;
    let made = made.unwrap();
    assert!(made.is_new);
    assert_eq!(
        s.store.membership(&chess, &alice).await.unwrap(),
        made.generation
    );
    let kept = s.store.get(&chess).await.unwrap();
    assert_eq!(
        (kept.owner, kept.members, kept.life),
        (Some(alice), 1, Life::UntilEmpty)
    );
    let joined = s
        .store
        .join(&chess, &user("bob"), Entry::Existing, ROOMY)
        .await;
    assert!(joined.unwrap().is_new);
}

async fn a_group_that_joining_made_ends_with_its_last_member(s: Subject) {
    s.join("chess", "alice").await.unwrap();
    s.join("chess", "bob").await.unwrap();
    let chess = group("chess");
    assert!(!s.store.leave(&chess, &user("alice")).await.unwrap().ended);
    assert!(s.store.leave(&chess, &user("bob")).await.unwrap().ended);
    assert!(matches!(
        s.store.get(&chess).await,
        Err(GroupError::Missing(_))
    ));
    let gone = s.store.leave(&chess, &user("bob")).await;
    assert!(matches!(gone, Err(GroupError::Missing(_))));
}

async fn joining_again_changes_nothing(s: Subject) {
    let first = s.join("chess", "alice").await.unwrap();
    let (chess, alice) = (group("chess"), user("alice"));
    let again = s.store.join(&chess, &alice, Entry::Existing, ROOMY).await;
    let again = again.unwrap();
    assert_eq!((again.generation, again.is_new), (first, false));
    assert_eq!(s.members("chess").await, ["alice"]);
    assert_eq!(
        s.store.groups_of(&alice).await.unwrap(),
        [(chess.clone(), first)]
    );
    s.store.leave(&chess, &alice).await.unwrap();
    assert!(s.groups_of("alice").await.is_empty());
}

async fn each_join_and_leave_is_newer_than_all_before_also_after_a_disband(s: Subject) {
    let (chess, alice) = (group("chess"), user("alice"));
    s.store.create(&chess, None).await.unwrap();
    let mut before = Generation(0);
    let mut newer = |generation| {
        assert!(generation > before, "{generation} after {before}");
        before = generation;
    };
    for _ in 0..3 {
        newer(s.join("chess", "alice").await.unwrap());
        newer(s.store.leave(&chess, &alice).await.unwrap().generation);
        newer(s.join("chess", "bob").await.unwrap());
        newer(s.store.disband(&chess).await.unwrap());
    }
}

async fn members_are_paged_in_the_order_of_joining_without_gaps(s: Subject) {
    let names: Vec<String> = (0..25).map(|n| format!("u{}", n * 7 % 25)).collect();
    for name in &names {
        s.join("chess", name).await.unwrap();
    }
    let mut found = Vec::new();
    let mut after = Generation(0);
    loop {
        let page = s.store.members(&group("chess"), after, 10).await.unwrap();
        assert_eq!(page.more, page.members.len() == 10);
        after = page.members.last().unwrap().generation;
        found.extend(
            page.members
                .into_iter()
                .map(|member| member.user.to_string()),
        );
        if !page.more {
            break;
        }
    }
    assert_eq!(found, names);
    let missing = s.store.members(&group("go"), Generation(0), 10).await;
    assert!(matches!(missing, Err(GroupError::Missing(_))));
}

async fn the_bounds_hold_and_say_which_one_it_was(s: Subject) {
    let bounds = Bounds {
        group_size: 2,
        groups_per_user: 2,
    };
    let join = async |id: &str, who: &str| {
        let (group, user) = (group(id), user(who));
        let joined = s.store.join(&group, &user, Entry::MakeIfMissing, bounds);
        joined.await.map(drop)
    };
    for (id, who) in [("a", "u1"), ("a", "u2"), ("b", "u1")] {
        join(id, who).await.unwrap();
    }
    let full = join("a", "u3").await.unwrap_err();
    assert!(matches!(&full, GroupError::Full { limit: 2, .. }), "{full}");
    assert!(full.to_string().contains("wsc.group.maxGroupSize"));
    assert!(s.groups_of("u3").await.is_empty());
    let many = join("c", "u1").await.unwrap_err();
    assert!(
        matches!(&many, GroupError::TooMany { limit: 2, .. }),
        "{many}"
    );
    assert!(many.to_string().contains("wsc.group.maxGroupsPerUser"));
    assert!(
        s.store.get(&group("c")).await.is_err(),
        "not made in passing"
    );
    join("a", "u1").await.expect("a member is one already");
    s.store.leave(&group("b"), &user("u1")).await.unwrap();
    join("c", "u1").await.unwrap();
    s.store.leave(&group("a"), &user("u2")).await.unwrap();
    join("a", "u3").await.unwrap();
}

async fn the_bounds_hold_when_many_join_at_once(s: Subject) {
    let bounds = Bounds {
        group_size: 5,
        groups_per_user: 3,
    };
    let tasks = TaskTracker::new();
    let mut joins = Vec::new();
    for n in 0..64 {
        let store = s.store.clone();
        joins.push(tasks.spawn(async move {
            let (group, user) = (group(&format!("g{}", n % 4)), user(&format!("u{}", n / 4)));
            let joined = store.join(&group, &user, Entry::MakeIfMissing, bounds);
            joined.await.is_ok()
        }));
    }
    let mut done = 0;
    for join in joins {
        done += usize::from(join.await.unwrap());
    }
    let mut held = 0;
    for n in 0..4 {
        let members = s.members(&format!("g{n}")).await;
        assert!(members.len() <= 5, "{members:?}");
        held += members.len();
    }
    assert_eq!(done, held, "who was told yes is in");
    for n in 0..16 {
        assert!(s.groups_of(&format!("u{n}")).await.len() <= 3);
    }
}

async fn a_disbanded_group_is_gone_from_everyone(s: Subject) {
    for who in ["alice", "bob"] {
        s.join("chess", who).await.unwrap();
        s.join("go", who).await.unwrap();
    }
    s.store.disband(&group("chess")).await.unwrap();
    assert!(s.members("chess").await.is_empty());
    for who in ["alice", "bob"] {
        assert_eq!(s.groups_of(who).await, ["go"]);
    }
    let again = s.store.disband(&group("chess")).await;
    assert!(matches!(again, Err(GroupError::Missing(_))));
    s.join("chess", "bob").await.unwrap();
    assert_eq!(s.members("chess").await, ["bob"]);
}

async fn a_member_sends_so_often_in_a_minute_and_a_stranger_never(s: Subject) {
    s.join("chess", "alice").await.unwrap();
    s.join("chess", "bob").await.unwrap();
    let (chess, alice, bob) = (group("chess"), user("alice"), user("bob"));
    for _ in 0..3 {
        s.store.admit(&chess, &alice, 3, Way::Stored).await.unwrap();
    }
    let limited = s
        .store
        .admit(&chess, &alice, 3, Way::Stored)
        .await
        .unwrap_err();
    let GroupError::Limited { retry_after_ms, .. } = limited else {
        panic!("{limited}");
    };
    assert!((1..=60_000).contains(&retry_after_ms), "{retry_after_ms}");
    s.store
        .admit(&chess, &bob, 3, Way::Stored)
        .await
        .expect("each member by itself");
    s.store
        .admit(&chess, &alice, 0, Way::Stored)
        .await
        .expect("no limit");
    let stranger = s.store.admit(&chess, &user("carol"), 3, Way::Stored).await;
    assert!(matches!(stranger, Err(GroupError::NotMember { .. })));
    let nowhere = s.store.admit(&group("go"), &alice, 3, Way::Stored).await;
    assert!(matches!(nowhere, Err(GroupError::Missing(_))));
}

#[tokio::test]
async fn who_is_let_through_live_hears_which_nodes_had_asked_and_whoever_stores_first_does_not() {
    let server = RedisServer::start();
    let listener = Arc::new(Mailbox::default());
    let link = redis_node(&server, "one", listener, &CancellationToken::new()).await;
    let (store, interest) = (RedisGroups::new(&link), RedisInterest::new(&link));
    let (chess, alice) = (group("chess"), user("alice"));
    let joined = store.join(&chess, &alice, Entry::MakeIfMissing, ROOMY);
    joined.await.unwrap();
    let admit = async |way| store.admit(&chess, &alice, 5, way).await.unwrap();
    assert_eq!(admit(Way::Live).await, Some(vec![]));
    let (one, two) = (NodeId::new("one"), NodeId::new("two"));
    interest.hold(&one, &chess, 7).await.unwrap();
    interest.hold(&two, &chess, 9).await.unwrap();
    let mut told = admit(Way::Live).await.unwrap();
    told.sort_unstable();
    assert_eq!(told, [(one, 7), (two, 9)]);
    assert_eq!(admit(Way::Stored).await, None);
    let stranger = store.admit(&chess, &user("carol"), 5, Way::Live).await;
    assert!(matches!(stranger, Err(GroupError::NotMember { .. })));
    admit(Way::Live).await;
    admit(Way::Live).await;
    let limited = store.admit(&chess, &alice, 5, Way::Live).await;
    assert!(matches!(limited, Err(GroupError::Limited { .. })));
}

/// Where each of these commands came from.
fn origins(asked: &[String]) -> BTreeSet<&str> {
    let origins = asked
        .iter()
        .filter_map(|line| line.split_whitespace().nth(2));
    origins.collect()
}

#[tokio::test]
async fn the_nodes_of_many_groups_are_asked_for_and_many_senders_let_through_over_one_connection() {
    let server = RedisServer::start();
    let listener = Arc::new(Mailbox::default());
    let link = redis_node(&server, "one", listener, &CancellationToken::new()).await;
    let (store, interest) = (RedisGroups::new(&link), RedisInterest::new(&link));
    let groups: Vec<GroupId> = (0..20).map(|n| group(&format!("room-{n}"))).collect();
    let alice = user("alice");
    for (room, number) in groups.iter().zip(0..) {
        let joined = store.join(room, &alice, Entry::MakeIfMissing, ROOMY);
        joined.await.unwrap();
        if number > 0 {
            interest
                .hold(&NodeId::new("n"), room, number)
                .await
                .unwrap();
        }
    }
    let mut asked = Asked::of(&server);
    let held = interest.holders(&groups).await;
    let numbers: Vec<Vec<u64>> = held
        .into_iter()
        .map(|held| held.unwrap().iter().map(|(_, number)| *number).collect())
        .collect();
    let wanted = (0..20).map(|n| if n == 0 { vec![] } else { vec![n] });
    assert_eq!(numbers, wanted.collect::<Vec<_>>());
    let questions = asked.since(&server);
    let questions: Vec<String> = questions
        .into_iter()
        .filter(|q| q.contains("room-"))
        .collect();
    assert_eq!((questions.len(), origins(&questions).len()), (20, 1));
    let admitted = groups
        .iter()
        .map(|room| store.admit(room, &alice, 9, Way::Live));
    for admitted in join_all(admitted).await {
        admitted.unwrap();
    }
    let mut questions = asked.since(&server);
    questions.retain(|question| question.contains("room-"));
    assert_eq!(origins(&questions).len(), 1, "{questions:#?}");
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Disband(u8),
    Join(u8, u8, Entry),
    Leave(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (group, user) = (0..4u8, 0..5u8);
    let entry = prop_oneof![
        Just(Entry::Existing),
        Just(Entry::MakeIfMissing),
        Just(Entry::Found)
    ];
    prop_oneof![
        1 => group.clone().prop_map(Step::Create),
        1 => group.clone().prop_map(Step::Disband),
        8 => (group.clone(), user.clone(), entry).prop_map(|(g, u, e)| Step::Join(g, u, e)),
        4 => (group, user).prop_map(|(g, u)| Step::Leave(g, u)),
    ]
}

const TIGHT: Bounds = Bounds {
    group_size: 3,
    groups_per_user: 2,
};

/// What the store should do, said as simply as can be.
#[derive(Default)]
struct Model(BTreeMap<u8, (Life, BTreeSet<u8>)>);

impl Model {
    fn does(&mut self, step: &Step) -> &'static str {
        match *step {
            Step::Create(group) if self.0.contains_key(&group) => "exists",
            Step::Create(group) => {
                self.0.insert(group, (Life::Lasting, BTreeSet::new()));
                "done"
            }
            Step::Disband(group) => self.0.remove(&group).map_or("missing", |_| "done"),
            Step::Join(group, user, entry) => {
                let groups = self
                    .0
                    .values()
                    .filter(|(_, members)| members.contains(&user));
                let is_in = |kept: &(Life, BTreeSet<u8>)| kept.1.contains(&user);
                let kept = self.0.get(&group);
                if !kept.is_some_and(is_in) && groups.count() >= TIGHT.groups_per_user as usize {
                    return "too many";
                }
                match (kept, entry) {
                    (None, Entry::Existing) => return "missing",
                    (Some(_), Entry::Found) => return "exists",
                    (Some(kept), _) if is_in(kept) => return "again",
                    (Some((_, members)), _) if members.len() >= TIGHT.group_size as usize => {
                        return "full";
                    }
                    _ => {}
                }
                let life = match entry {
                    Entry::Found => Life::Lasting,
                    Entry::Existing | Entry::MakeIfMissing => Life::UntilEmpty,
                };
                let kept = self.0.entry(group).or_insert((life, BTreeSet::new()));
                kept.1.insert(user);
                "done"
            }
            Step::Leave(group, user) => {
                let Some((life, members)) = self.0.get_mut(&group) else {
                    return "missing";
                };
                if !members.remove(&user) {
                    return "stranger";
                }
                if *life == Life::UntilEmpty && members.is_empty() {
                    self.0.remove(&group);
                    return "ended";
                }
                "done"
            }
        }
    }
}

fn ids(g: u8, u: u8) -> (GroupId, UserId) {
    (group(&format!("g{g}")), user(&format!("u{u}")))
}

async fn take(store: &dyn GroupStore, step: &Step) -> &'static str {
    let told = match *step {
        Step::Create(g) => store.create(&ids(g, 0).0, None).await.map(|()| "done"),
        Step::Disband(g) => store.disband(&ids(g, 0).0).await.map(|_| "done"),
        Step::Join(g, u, entry) => {
            let (group, user) = ids(g, u);
            let joined = store.join(&group, &user, entry, TIGHT).await;
            joined.map(|joined| if joined.is_new { "done" } else { "again" })
        }
        Step::Leave(g, u) => {
            let (group, user) = ids(g, u);
            let left = store.leave(&group, &user).await;
            left.map(|left| if left.ended { "ended" } else { "done" })
        }
    };
    told.unwrap_or_else(|error| match error {
        GroupError::Missing(_) => "missing",
        GroupError::Exists(_) => "exists",
        GroupError::Full { .. } => "full",
        GroupError::TooMany { .. } => "too many",
        GroupError::NotMember { .. } => "stranger",
        GroupError::Limited { .. } => "limited",
        GroupError::Store(error) => panic!("{error}"),
    })
}

/// Sequences of steps, the same in every run.
fn sequences(count: usize, steps: usize) -> Vec<Vec<Step>> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let sequence = proptest::collection::vec(step(), steps);
    (0..count)
        .map(|_| sequence.new_tree(&mut runner).unwrap().current())
        .collect()
}

async fn sweep(s: &Subject) {
    for g in 0..4 {
        drop(s.store.disband(&ids(g, 0).0).await);
    }
}

async fn any_sequence_gives_what_the_model_gives(s: Subject) {
    for steps in sequences(24, 60) {
        sweep(&s).await;
        let mut model = Model::default();
        for (at, step) in steps.iter().enumerate() {
            let expected = model.does(step);
            let told = take(&*s.store, step).await;
            assert_eq!(told, expected, "step {at} of {steps:#?}");
        }
        in_step(&s, "").await;
        for g in 0..4u8 {
            let found: BTreeSet<String> = s.members(&format!("g{g}")).await.into_iter().collect();
            let members = model.0.get(&g).map(|(_, members)| members.clone());
            let members = members.unwrap_or_default().into_iter();
            assert_eq!(found, members.map(|u| format!("u{u}")).collect());
        }
    }
}

/// Every list says what the groups say, and no bound is broken.
async fn in_step(s: &Subject, when: &str) {
    let mut truth: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for g in 0..4 {
        let members = s.members(&format!("g{g}")).await;
        assert!(
            members.len() <= TIGHT.group_size as usize,
            "{when}: {members:?}"
        );
        for member in members {
            truth.entry(member).or_default().push(format!("g{g}"));
        }
    }
    for u in 0..5 {
        let who = format!("u{u}");
        let groups = truth.remove(&who).unwrap_or_default();
        assert!(
            groups.len() <= TIGHT.groups_per_user as usize,
            "{when}: {groups:?}"
        );
        assert_eq!(s.groups_of(&who).await, groups, "{when}: {who}");
    }
}

async fn tasks_at_once_leave_lists_and_members_in_step(s: Subject) {
    let tasks = TaskTracker::new();
    for (round, chunk) in sequences(32, 30).chunks(4).enumerate() {
        let running: Vec<_> = chunk
            .iter()
            .map(|steps| {
                let (store, steps) = (s.store.clone(), steps.clone());
                tasks.spawn(async move {
                    for step in &steps {
                        take(&*store, step).await;
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        in_step(&s, &format!("round {round}")).await;
    }
}

/// A client that goes away, or a node that dies, ends a call at any of its awaits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_cut_off_between_their_steps_leave_nothing_that_is_not_put_right() {
    let s = Subject::redis().await;
    let mut cut = 0;
    for (at, step) in sequences(1, 400).remove(0).iter().enumerate() {
        let patience = Duration::from_micros(at as u64 % 40 * 20);
        let call = tokio::time::timeout(patience, take(&*s.store, step));
        cut += usize::from(call.await.is_err());
        if at % 20 == 0 {
            in_step(&s, &format!("step {at}")).await;
        }
    }
    assert!(cut > 40, "only {cut} were cut off");
    in_step(&s, "in the end").await;
    // Marks that are young wait for their join; what they hold is not forgotten in the end.
    let lists = |u: u8| s.cli(&["hvals", &format!("wsc:{{test:u:u{u}}}:groups")]);
    for u in 0..5 {
        for mark in lists(u).lines() {
            assert!(!mark.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_in_a_list_is_put_right_when_it_is_read() {
    let s = Subject::redis().await;
    s.join("kept", "alice").await.unwrap();
    s.join("marked", "alice").await.unwrap();
    let key = "wsc:{test:u:alice}:groups";
    let young = format!("?{}:1", u64::MAX / 4096);
    for (entry, value) in [
        ("abandoned", "?1000:1"),
        ("under way", young.as_str()),
        ("left", "17"),
        ("marked", "?1000:2"),
    ] {
        s.cli(&["hset", key, entry, value]);
    }
    assert_eq!(s.groups_of("alice").await, ["kept", "marked"]);
    let listed = s.cli(&["hkeys", key]);
    let listed: BTreeSet<&str> = listed.lines().collect();
    assert_eq!(listed, BTreeSet::from(["kept", "marked", "under way"]));
    let settled = s.cli(&["hget", key, "marked"]);
    assert!(settled.parse::<u64>().is_ok(), "{settled}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_in_a_list_takes_no_place_from_a_join() {
    let s = Subject::redis().await;
    let key = "wsc:{test:u:alice}:groups";
    s.cli(&["hset", key, "abandoned", "?1000:1", "left", "17"]);
    let (group, user) = (group("chess"), user("alice"));
    let joined = s
        .store
        .join(&group, &user, Entry::MakeIfMissing, TIGHT)
        .await;
    assert!(joined.unwrap().is_new);
    assert_eq!(s.groups_of("alice").await, ["chess"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leave_under_way_does_not_take_a_newer_join_off_the_list() {
    let s = Subject::redis().await;
    for _ in 0..200 {
        s.join("g0", "u0").await.unwrap();
        let (group, user) = ids(0, 0);
        let (left, joined) = tokio::join!(s.store.leave(&group, &user), s.join("g0", "u0"));
        left.unwrap();
        joined.unwrap();
        in_step(&s, "after a leave and a join at once").await;
        drop(s.store.leave(&group, &user).await);
    }
}
