//! The Lua scripts of groups. Each touches one slot: a group's (`{<cluster>:g:<group>}`) or a user's (`{<cluster>:u:<user>}`).
//!
//! | name | type | holds |
//! |---|---|---|
//! | `group` | hash | `owner`, `created` (Unix milliseconds), `life` (`lasting` or `empty`) |
//! | `members` | sorted set | members by the generation in which they joined |
//! | `generation` | string, expires late | the last generation given; it outlives the group |
//! | `sent:<user>` | string, expires | messages of a member in this minute |
//! | `nodes` (of a group) | hash | see `cluster::redis::interest` |
//! | `groups` (of a user) | hash | group → generation, or `?<Unix milliseconds>:<random>` while a join is under way |
//!
//! A generation is made as an epoch is: the larger of Redis' clock in microseconds and the last one plus one.

use std::sync::LazyLock;

use ::redis::Script;

/// The last generation is remembered for a week, so that a group made anew under an old id goes on counting.
const GENERATION: &str = r"
local function generation(key)
  local now = redis.call('TIME')
  local next = tonumber(now[1]) * 1000000 + tonumber(now[2])
  local last = tonumber(redis.call('GET', key) or '0')
  if next <= last then next = last + 1 end
  next = string.format('%.0f', next)
  redis.call('SET', key, next, 'PX', 604800000)
  return next
end
local function found(key, owner, life)
  local now = redis.call('TIME')
  local millis = string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000))
  redis.call('HSET', key, 'owner', owner, 'created', millis, 'life', life)
end
";

fn script(body: &str) -> Script {
    Script::new(&format!("{GENERATION}{body}"))
}

/// KEYS group · ARGV owner or nothing. Returns 0 if it exists.
pub(super) static CREATE: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
found(KEYS[1], ARGV[1], 'lasting')
return 1
",
    )
});

/// KEYS group, members, generation. Returns the generation, or nothing if there is no such group.
pub(super) static DISBAND: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
redis.call('DEL', KEYS[1])
redis.call('UNLINK', KEYS[2])
return generation(KEYS[3])
",
    )
});

/// KEYS group, members, generation · ARGV user, `existing`, `missing` or `found`, the most members.
/// Returns what happened and the generation.
pub(super) static JOIN: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local exists = redis.call('EXISTS', KEYS[1]) == 1
if exists and ARGV[2] == 'found' then return {'exists', ''} end
if not exists and ARGV[2] == 'existing' then return {'missing', ''} end
local held = redis.call('ZSCORE', KEYS[2], ARGV[1])
if held then return {'member', string.format('%.0f', tonumber(held))} end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then return {'full', ''} end
local joined = generation(KEYS[3])
if not exists then
  found(KEYS[1], ARGV[1], ARGV[2] == 'found' and 'lasting' or 'empty')
end
redis.call('ZADD', KEYS[2], joined, ARGV[1])
return {exists and 'joined' or 'founded', joined}
",
    )
});

/// KEYS group, members, generation · ARGV user. Returns what happened and the generation.
pub(super) static LEAVE: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
if redis.call('EXISTS', KEYS[1]) == 0 then return {'missing', ''} end
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return {'stranger', ''} end
local left = generation(KEYS[3])
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('HGET', KEYS[1], 'life') == 'empty' then
  redis.call('DEL', KEYS[1])
  return {'ended', left}
end
return {'left', left}
",
    )
});

/// KEYS group, members, sent by the user, perhaps the nodes that get the group's messages (`cluster::redis::interest`) · ARGV
/// user, the most in a minute. Returns what happened; if it is too much, the milliseconds until the next is taken; and those
/// nodes with their numbers, so that nobody has to ask for them once more.
pub(super) static ADMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return {redis.call('EXISTS', KEYS[1]) == 0 and 'missing' or 'stranger', 0, {}}
end
local limit = tonumber(ARGV[2])
if limit > 0 then
  if tonumber(redis.call('GET', KEYS[3]) or '0') >= limit then
    return {'limited', math.max(redis.call('PTTL', KEYS[3]), 1), {}}
  end
  if redis.call('INCR', KEYS[3]) == 1 then redis.call('PEXPIRE', KEYS[3], 60000) end
end
return {'admitted', 0, KEYS[4] and redis.call('HGETALL', KEYS[4]) or {}}
",
    )
});

/// KEYS groups of the user · ARGV group, random, the most groups. Returns the mark of a join under way, or nothing if the user
/// has too many. A group that is listed already is marked too: a leave that is under way must not take it off the list.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local listed = redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1
if not listed and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return false end
local now = redis.call('TIME')
local millis = string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000))
local mark = '?' .. millis .. ':' .. ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], mark)
return mark
",
    )
});

/// KEYS groups of the user · ARGV group, mark, generation. The mark of another join is left to it.
pub(super) static CONFIRM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local listed = redis.call('HGET', KEYS[1], ARGV[1])
local older = listed and tonumber(listed) and tonumber(listed) < tonumber(ARGV[3])
if not listed or listed == ARGV[2] or older then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 0
",
    )
});

/// KEYS groups of the user · ARGV group, mark. Takes back a claim that came to nothing.
pub(super) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0
",
    )
});

/// KEYS groups of the user · ARGV group, generation of the leave. The mark of a join under way stays.
pub(super) static UNLIST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local listed = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '')
if listed and listed <= tonumber(ARGV[2]) then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0
",
    )
});

/// KEYS groups of the user · ARGV the age in milliseconds from which a mark was left behind, then group, entry as seen, and
/// generation by the group itself (empty: no member) of each. Entries that have changed since are left alone.
pub(super) static SETTLE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local now = redis.call('TIME')
local millis = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
for i = 2, #ARGV, 3 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    local marked = tonumber(string.match(ARGV[i + 1], '^%?(%d+):') or '0')
    if ARGV[i + 2] ~= '' then
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    elseif millis - marked >= tonumber(ARGV[1]) then
      redis.call('HDEL', KEYS[1], ARGV[i])
    end
  end
end
return 0
",
    )
});
