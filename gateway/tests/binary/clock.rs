//! `Clock`: the wall clock of gateways, which steps as a test says while every other clock goes on; and what steps must not do.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::process::Process;
use crate::redis::{RedisServer, Scratch};
use crate::world::{API_KEY, Load, NODE_TIMEOUT, World, redis_at, token_at};

/// Stands before the C library in a gateway: seconds in a file by which the wall clock is off.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *at) {
  int done = syscall(SYS_clock_gettime, id, at);
  const char *path = getenv("WSC_TEST_CLOCK");
  if (done == 0 && id == CLOCK_REALTIME && path) {
    char text[32];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    text[count > 0 ? count : 0] = 0;
    at->tv_sec += atol(text);
  }
  return done;
}
"#;

/// See the module.
struct Clock(Scratch);

impl Clock {
    fn new() -> Self {
        let clock = Self(Scratch::new());
        std::fs::write(clock.path("clock.c"), SHIM).unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([clock.path("clock.so"), clock.path("clock.c")])
            .status();
        assert!(built.unwrap().success(), "as much as Rust needs to link");
        clock.step(0);
        clock
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Off by so many seconds from now on.
    fn step(&self, seconds: i64) {
        let (new, file) = (self.path("new"), self.path("off"));
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |name| self.path(name).display().to_string();
        vec![
            ("LD_PRELOAD", text("clock.so")),
            ("WSC_TEST_CLOCK", text("off")),
        ]
    }
}

/// The status with which somebody with this token is answered.
async fn knock(node: &Process, token: &str) -> u16 {
    let mut request = node.ws().into_client_request().unwrap();
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    match connect_async(request).await {
        Ok(_) => 101,
        Err(Error::Http(refused)) => refused.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

/// Who comes to show a token, and is gone before long.
const GUEST: &str = "guest";

/// All others that are online.
async fn online(node: &Process) -> usize {
    let page = node.get("/v1/users/online?limit=1000", API_KEY).await;
    let users = page.unwrap_or_default()["users"].take();
    let users = users.as_array().into_iter().flatten();
    users.filter(|user| **user != GUEST).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_clock_that_steps_by_an_hour_ends_nothing_and_tokens_are_judged_by_what_it_says_now() {
    let (clock, redis) = (Clock::new(), RedisServer::start());
    let keys = format!(
        "{}\nticket: {{queueTimeout: 5m, ticketTimeout: 30m}}\nmaxConnectionsPerUser: 0",
        redis_at(redis.port)
    );
    let mut world = World::start_in(2, &keys, clock.environment()).await;
    world.load(Load::STEADY).await;
    let crowd = Load::STEADY.readers + Load::STEADY.publishers;
    let all = async || online(&world.nodes[0]).await == crowd;
    world
        .within(Duration::from_secs(20), "all are online", all)
        .await;
    let opened = json!({"ticket_id": "t1", "customer": "late", "subject": "x"});
    let (status, ticket) = world.nodes[0].post("/v1/tickets", API_KEY, &opened).await;
    assert_eq!(status, 200, "{ticket}");
    let before = world.nodes[1].get("/v1/tickets/t1", API_KEY).await.unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for off in [3600, -3600, 0] {
        clock.step(off);
        // As long as a lease lasts, and a look at everything that may be due.
        let until = tokio::time::Instant::now() + 2 * NODE_TIMEOUT;
        while tokio::time::Instant::now() < until {
            world.until_accepted(world.accepted() + 100).await;
        }
        for reader in &world.readers {
            assert_eq!(reader.notes.lock().stays.len(), 1, "{}", reader.user);
        }
        for node in &world.nodes {
            assert!(node.is_ready().await, "off by {off} s");
            assert_eq!(online(node).await, crowd, "off by {off} s");
            let ticket = node.get("/v1/tickets/t1", API_KEY).await.unwrap();
            assert_eq!(ticket["state"], before["state"], "off by {off} s: {ticket}");
            for (minted, status) in [
                (now.saturating_add_signed(off), 101),
                (now.saturating_add_signed(off - 3600), 401),
                (now.saturating_add_signed(off + 3600), 401),
            ] {
                let token = token_at(GUEST, minted);
                assert_eq!(
                    knock(node, &token).await,
                    status,
                    "off by {off} s, minted {minted}"
                );
            }
        }
    }
    let report = world.settled().await;
    println!("clock steps: {report}");
    let counts = &report.counts;
    assert_eq!((counts.gaps_told, counts.gaps_silent), (0, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_lock_out_lasts_as_long_however_the_clock_steps() {
    let (clock, redis) = (Clock::new(), RedisServer::start());
    let world = World::start_in(1, &redis_at(redis.port), clock.environment()).await;
    let node = &world.nodes[0];
    let wrong = format!("{}x", token_at("mallory", 1));
    let mut answers = Vec::new();
    while answers.last() != Some(&429) {
        answers.push(knock(node, &wrong).await);
        assert!(answers.len() < 20, "{answers:?}");
    }
    for off in [3600, -3600, 0] {
        clock.step(off);
        assert_eq!(knock(node, &wrong).await, 429, "off by {off} s");
    }
}
