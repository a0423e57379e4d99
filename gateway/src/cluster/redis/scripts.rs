//! The Lua scripts: every step that must be atomic over several keys. All keys are passed in; effects are repeatable.
//!
//! An epoch is made by `CLAIM` as the larger of Redis' clock in microseconds and the last epoch of that name plus one.
//! A clock that steps back therefore cannot give a smaller epoch while Redis keeps its data (the last epoch outlives the
//! lease by a week), and one that steps forward only makes the next epochs count up by one until it is passed. If Redis
//! has lost its data and its clock has stepped back too, peers believe the registry, whatever they knew before.
//! Epochs stay below 2^53, where Lua's numbers are exact, until the year 2255.

use std::sync::LazyLock;

use ::redis::Script;

/// KEYS lease, epoch, nodes · ARGV `take` or `vacant`, own epoch, info with epoch 0, lease ms, memory ms, node, process.
/// Returns {1, epoch} or {0, the newer epoch that holds the name}. A process that was given a lease and did not hear of
/// it is given the same again. A lease without an epoch was not written by a gateway and counts as older than any.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local lease = redis.call('GET', KEYS[1])
local granted
if lease and ARGV[1] == 'vacant' then
  local held = string.match(lease, '"epoch":(%d+)') or '0'
  if tonumber(held) > tonumber(ARGV[2]) then
    if ARGV[7] == '0' or string.match(lease, '"process":(%d+)') ~= ARGV[7] then return {0, held} end
    granted = held
  end
end
local now = redis.call('TIME')
local epoch = tonumber(now[1]) * 1000000 + tonumber(now[2])
local last = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[2]))
if epoch <= last then epoch = last + 1 end
epoch = granted or string.format('%.0f', epoch)
local info = string.gsub(ARGV[3], '"epoch":0', '"epoch":' .. epoch, 1)
redis.call('SET', KEYS[1], info, 'PX', ARGV[4])
redis.call('SET', KEYS[2], epoch, 'PX', ARGV[5])
redis.call('SADD', KEYS[3], ARGV[6])
return {1, epoch}
"#,
    )
});

/// KEYS lease, epoch, nodes · ARGV epoch, info, lease ms, memory ms, node, process.
/// Returns {1, epoch} if renewed, {0, ''} if there is nothing to renew, {2, the newer epoch} if fenced. A newer epoch of
/// the caller's own process is one whose grant it did not hear of: it has to claim it.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local lease = redis.call('GET', KEYS[1])
if not lease then return {0, ''} end
local held = string.match(lease, '"epoch":(%d+)') or '0'
if held == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  redis.call('SET', KEYS[2], held, 'PX', ARGV[4])
  redis.call('SADD', KEYS[3], ARGV[5])
  return {1, held}
end
local mine = ARGV[6] ~= '0' and string.match(lease, '"process":(%d+)') == ARGV[6]
if tonumber(held) > tonumber(ARGV[1]) and not mine then return {2, held} end
return {0, ''}
"#,
    )
});

/// KEYS lease, nodes · ARGV epoch, node. Gives back only the caller's own lease.
pub(super) static LEAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local lease = redis.call('GET', KEYS[1])
if lease and string.match(lease, '"epoch":(%d+)') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[2])
end
return 0
"#,
    )
});

/// KEYS lease, epoch · ARGV `take` or `renew`, epoch, info, lease ms, memory ms. Writes the shadow of a lease that is held
/// elsewhere. A renewal leaves another epoch's shadow alone and returns 0.
pub(super) static SHADOW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local lease = redis.call('GET', KEYS[1])
if ARGV[1] == 'renew' and lease and string.match(lease, '"epoch":(%d+)') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[5])
return 1
"#,
    )
});

/// KEYS nodes, lease · ARGV node. Forgets a name whose lease has run out.
pub(super) static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('SREM', KEYS[1], ARGV[1]) end
return 0
",
    )
});

/// KEYS the work's key · ARGV the pick, seconds to remember it, then the living. Returns who has the work.
pub(super) static ASSIGN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local given = redis.call('GET', KEYS[1])
for i = 3, #ARGV do
  if given == ARGV[i] then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
    return given
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return ARGV[1]
",
    )
});

/// How many changes of presence are kept for whoever reads them.
pub(super) const CHANGES: usize = 65_536;

/// How long it is remembered that a user is offline: their next coming has a larger generation all the same, by the clock.
const OFFLINE_MS: u64 = 24 * 60 * 60 * 1000;

/// What decides who comes and goes. Expects `leaving` and `changes`, two keys, and `delay`, in milliseconds, as locals of
/// the script. A generation is made as an epoch is: the larger of the clock in microseconds and the last one plus one.
fn presence() -> String {
    format!(
        r"
local function clock()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000000 + tonumber(now[2])
end
local function turn(state, user, online)
  local old = redis.pcall('GET', state)
  local was, generation = '', clock()
  if type(old) == 'string' then
    was = string.sub(old, 1, 1)
    generation = math.max(generation, (tonumber(string.sub(old, 3)) or 0) + 1)
  end
  if was == online then return end
  generation = string.format('%.0f', generation)
  redis.call('SET', state, online .. ' ' .. generation)
  if online == '0' then redis.call('PEXPIRE', state, {OFFLINE_MS}) end
  redis.call('XADD', changes, 'MAXLEN', '~', {CHANGES}, '*', 'u', user, 'o', online, 'g', generation)
end
local function arrive(state, user)
  redis.call('ZREM', leaving, user)
  turn(state, user, '1')
end
local function depart(user)
  redis.call('ZADD', leaving, string.format('%.0f', math.floor(clock() / 1000) + delay), user)
end
"
    )
}

/// KEYS online, holders, users of the holder, leaving, changes, then `user`, `at` and `presence` of each user · ARGV
/// holder, the delay before a user is offline, then five per change: `+` or `-`, the user's number from 0, the user, the
/// session, the record (empty for `-`). Returns the users whose first session came or last one went.
pub(super) static APPLY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"
local leaving, changes, delay = KEYS[4], KEYS[5], tonumber(ARGV[2])
{presence}
local holder, moved = ARGV[1], {{}}
redis.call('SADD', KEYS[2], holder)
for i = 3, #ARGV, 5 do
  local key = 6 + 3 * ARGV[i + 1]
  local sessions, at, state = KEYS[key], KEYS[key + 1], KEYS[key + 2]
  local user, field = ARGV[i + 2], ARGV[i + 3] .. ' ' .. holder
  if ARGV[i] == '+' then
    if redis.call('HSET', sessions, field, ARGV[i + 4]) == 1 and redis.call('HINCRBY', at, holder, 1) == 1 then
      redis.call('ZADD', KEYS[3], 0, user)
      redis.call('ZADD', KEYS[1], 0, user)
      arrive(state, user)
      moved[#moved + 1] = user
    end
  elseif redis.call('HDEL', sessions, field) == 1 and redis.call('HINCRBY', at, holder, -1) <= 0 then
    redis.call('HDEL', at, holder)
    redis.call('ZREM', KEYS[3], user)
    if redis.call('EXISTS', at) == 0 then
      redis.call('ZREM', KEYS[1], user)
      depart(user)
    end
    moved[#moved + 1] = user
  end
end
return moved
",
        presence = presence()
    ))
});

/// What `PLACE` and `REAP` share: gives a user exactly these sessions of the holder. A session's text has 36 bytes.
const PLACE_ONE: &str = r"
local function place(holder, key, user, first, count)
  local sessions, at, state = KEYS[key], KEYS[key + 1], KEYS[key + 2]
  for _, field in ipairs(redis.call('HKEYS', sessions)) do
    if string.sub(field, 38) == holder then redis.call('HDEL', sessions, field) end
  end
  local placed = 0
  for i = first, first + 2 * (count - 1), 2 do
    placed = placed + redis.call('HSET', sessions, ARGV[i] .. ' ' .. holder, ARGV[i + 1])
  end
  if placed > 0 then
    redis.call('HSET', at, holder, placed)
    redis.call('ZADD', KEYS[3], 0, user)
    redis.call('ZADD', KEYS[1], 0, user)
    arrive(state, user)
  else
    redis.call('HDEL', at, holder)
    redis.call('ZREM', KEYS[3], user)
    if redis.call('EXISTS', at) == 0 then
      redis.call('ZREM', KEYS[1], user)
      depart(user)
    end
  end
end
local function settle(holder)
  if redis.call('EXISTS', KEYS[3]) == 0 then
    redis.call('SREM', KEYS[2], holder)
  else
    redis.call('SADD', KEYS[2], holder)
  end
end
";

/// KEYS as in `APPLY` · ARGV holder, the delay, then per user: the user, how many sessions, and each session with its
/// record.
pub(super) static PLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"
local leaving, changes, delay = KEYS[4], KEYS[5], tonumber(ARGV[2])
{presence}{PLACE_ONE}
local i, key = 3, 6
while i <= #ARGV do
  local count = tonumber(ARGV[i + 1])
  place(ARGV[1], key, ARGV[i], i + 2, count)
  i, key = i + 2 + 2 * count, key + 3
end
settle(ARGV[1])
return 0
",
        presence = presence()
    ))
});

/// KEYS online, holders, users of the holder, leaving, changes, lease of its node, then `user`, `at` and `presence` of each
/// user · ARGV holder, the delay, its epoch, then the users. Returns 0 if the holder's lease lives: then nothing was
/// touched.
pub(super) static REAP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r#"
local leaving, changes, delay = KEYS[4], KEYS[5], tonumber(ARGV[2])
{presence}{PLACE_ONE}
local lease = redis.call('GET', KEYS[6])
if lease and string.match(lease, '"epoch":(%d+)') == ARGV[3] then return 0 end
for i = 4, #ARGV do
  place(ARGV[1], 3 * i - 5, ARGV[i], 1, 0)
end
settle(ARGV[1])
return 1
"#,
        presence = presence()
    ))
});

/// KEYS leaving · ARGV how many at most. Returns {the milliseconds until somebody's pause may be over, users whose is}.
pub(super) static DUE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local now = redis.call('TIME')
now = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local pause = -1
if first[2] then pause = math.max(0, tonumber(first[2]) - now) end
return {pause, due}
",
    )
});

/// KEYS leaving, changes, then `at` and `presence` of each user · ARGV users. Those whose pause is over are offline unless
/// they have a session by now. A dead node's entries count until they are reaped, which makes the user leave anew.
pub(super) static SETTLE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"
local leaving, changes, delay = KEYS[1], KEYS[2], 0
{presence}
local now = clock() / 1000
for i = 1, #ARGV do
  local at, state = KEYS[1 + 2 * i], KEYS[2 + 2 * i]
  local score = redis.call('ZSCORE', leaving, ARGV[i])
  if score and tonumber(score) <= now then
    redis.call('ZREM', leaving, ARGV[i])
    if redis.call('EXISTS', at) == 0 then turn(state, ARGV[i], '0') end
  end
end
return 0
",
        presence = presence()
    ))
});

/// KEYS leaving, changes, then `at` of each user · ARGV the delay, then users who have left a node without Redis being told
/// at the time. Who has no session now leaves.
pub(super) static DEPART: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"
local leaving, changes, delay = KEYS[1], KEYS[2], tonumber(ARGV[1])
{presence}
for i = 2, #ARGV do
  if redis.call('EXISTS', KEYS[1 + i]) == 0 then depart(ARGV[i]) end
end
return 0
",
        presence = presence()
    ))
});
