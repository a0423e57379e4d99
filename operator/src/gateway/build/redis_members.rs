//! What the members of the managed Redis are told beside Redis' own file: who they are, and the script that starts a Redis and a
//! Sentinel, tells whether they are ready, has them take over a password that was replaced, and makes another the primary before
//! one ends. A Redis that is alone is a member without others.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::redis_set::{AUTH_DIR, DATA_DIR, RUN_DIR};
use super::{REDIS_PORT, SENTINEL_PORT};
use crate::gateway::validate::Validated;

/// The script's name.
pub(super) const MEMBER_SCRIPT: &str = "member.sh";

/// Further lines of Redis' file.
///
/// A primary that has been cut off from all replicas refuses writes after ten seconds: another may have been made the primary
/// meanwhile. A replica is sent everything without waiting for others to ask the same. One that was away for a moment catches up from the backlog. What one that is slow has not read is bounded,
/// since it counts into the memory of the pod; it is sent everything anew then. What would keep Redis from ending has been waited
/// for by the hook, as long as there was time.
pub(super) const REDIS_LINES: &str = "\
    min-replicas-to-write 1\n\
    min-replicas-max-lag 10\n\
    shutdown-on-sigterm force\n\
    repl-diskless-sync-delay 0\n\
    repl-backlog-size 16mb\n\
    client-output-buffer-limit replica 64mb 32mb 60\n";

/// The Sentinels' file.
///
/// Members are known by their names: addresses of pods change.
const SENTINEL_LINES: &str = "\
    bind * -::*\n\
    protected-mode yes\n\
    sentinel resolve-hostnames yes\n\
    sentinel announce-hostnames yes\n\
    sentinel deny-scripts-reconfig yes\n";

/// After so many milliseconds of silence a primary is taken for dead.
///
/// Not less: it is chosen by how far replicas are, and that must not be what they said before.
const DOWN_AFTER: u32 = 5000;

/// What Sentinels are told while they run, in milliseconds, since their file has no words for it.
///
/// They ask every second how far replicas are: of those they have not heard of for five seconds they choose none, and left
/// alone they ask every ten, so that an election would come to nothing half of the time, and another begin after twice the
/// time below. One that stood still for two seconds, as for a name that is not found or on a busy machine, would not act for
/// thirty.
const TIMING: &str = "INFO-PERIOD 1000 TILT-TRIGGER 4000 TILT-PERIOD 5000";

/// In how many milliseconds a failover must have come about; another begins after twice that.
const FAILOVER_TIMEOUT: u32 = 10_000;

/// The files of a Redis that is alone, by their names.
pub(super) fn alone() -> BTreeMap<String, String> {
    // By this name it finds itself; there is no Sentinel.
    let members =
        format!("members='\n0=localhost:{REDIS_PORT}:\n'\nrun={RUN_DIR}\nauth={AUTH_DIR}\n");
    [("members", members), (MEMBER_SCRIPT, script())]
        .map(|(name, text)| (name.to_owned(), text))
        .into()
}

fn script() -> String {
    include_str!("redis_member.sh").to_owned()
}

/// The files of several, by their names.
pub(super) fn files(input: &Validated, pods: i32) -> BTreeMap<String, String> {
    [
        ("members", members(input, pods)),
        (MEMBER_SCRIPT, script()),
        ("sentinel.conf", format!("{SENTINEL_LINES}dir {DATA_DIR}\n")),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

/// What the script reads: one assignment a line.
fn members(input: &Validated, pods: i32) -> String {
    let name = format!("{}/{}", input.namespace, input.names.redis());
    let id = crate::digest::of_parts([name.as_bytes()]);
    let mut text = "members='\n".to_owned();
    for ordinal in 0..pods {
        let host = input.names.redis_member(ordinal);
        let _ = writeln!(text, "{ordinal}={host}:{REDIS_PORT}:{SENTINEL_PORT}");
    }
    let _ = write!(
        text,
        "'\n\
         quorum={}\n\
         down_after={DOWN_AFTER}\n\
         failover_timeout={FAILOVER_TIMEOUT}\n\
         timing='{TIMING}'\n\
         # What the Sentinels' own names begin with.\n\
         id={id}\n\
         data={DATA_DIR}\n\
         run={RUN_DIR}\n\
         auth={AUTH_DIR}\n",
        pods / 2 + 1
    );
    text
}
