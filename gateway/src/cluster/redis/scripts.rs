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

/// KEYS online, holders, users of the holder, then `user` and `at` of each user · ARGV holder, then five per change:
/// `+` or `-`, the user's number from 0, the user, the session, the record (empty for `-`).
/// Returns the users whose first session came or last one went.
pub(super) static APPLY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local holder, moved = ARGV[1], {}
redis.call('SADD', KEYS[2], holder)
for i = 2, #ARGV, 5 do
  local sessions, at = KEYS[4 + 2 * ARGV[i + 1]], KEYS[5 + 2 * ARGV[i + 1]]
  local user, field = ARGV[i + 2], ARGV[i + 3] .. ' ' .. holder
  if ARGV[i] == '+' then
    if redis.call('HSET', sessions, field, ARGV[i + 4]) == 1 and redis.call('HINCRBY', at, holder, 1) == 1 then
      redis.call('ZADD', KEYS[3], 0, user)
      redis.call('ZADD', KEYS[1], 0, user)
      moved[#moved + 1] = user
    end
  elseif redis.call('HDEL', sessions, field) == 1 and redis.call('HINCRBY', at, holder, -1) <= 0 then
    redis.call('HDEL', at, holder)
    redis.call('ZREM', KEYS[3], user)
    if redis.call('EXISTS', at) == 0 then redis.call('ZREM', KEYS[1], user) end
    moved[#moved + 1] = user
  end
end
return moved
",
    )
});

/// What `PLACE` and `REAP` share: gives a user exactly these sessions of the holder. A session's text has 36 bytes.
const PLACE_ONE: &str = r"
local function place(holder, sessions, at, user, first, count)
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
  else
    redis.call('HDEL', at, holder)
    redis.call('ZREM', KEYS[3], user)
    if redis.call('EXISTS', at) == 0 then redis.call('ZREM', KEYS[1], user) end
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

/// KEYS as in `APPLY` · ARGV holder, then per user: the user, how many sessions, and each session with its record.
pub(super) static PLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"{PLACE_ONE}
local i, key = 2, 4
while i <= #ARGV do
  local count = tonumber(ARGV[i + 1])
  place(ARGV[1], KEYS[key], KEYS[key + 1], ARGV[i], i + 2, count)
  i, key = i + 2 + 2 * count, key + 2
end
settle(ARGV[1])
return 0
"
    ))
});

/// KEYS online, holders, users of the holder, lease of its node, then `user` and `at` of each user · ARGV holder, its
/// epoch, then the users. Returns 0 if the holder's lease lives: then nothing was touched.
pub(super) static REAP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r#"{PLACE_ONE}
local lease = redis.call('GET', KEYS[4])
if lease and string.match(lease, '"epoch":(%d+)') == ARGV[2] then return 0 end
for i = 3, #ARGV do
  place(ARGV[1], KEYS[2 * i - 1], KEYS[2 * i], ARGV[i], 1, 0)
end
settle(ARGV[1])
return 1
"#
    ))
});
