//! The Lua scripts of the list of revoked tokens: lines by their number, and by when they are over.

use std::sync::LazyLock;

use ::redis::Script;

/// Lines read at once.
pub(super) const PAGE: usize = 1000;

/// Lines added at once: Redis is held for about a millisecond.
pub(super) const BATCH: usize = 256;

/// KEYS lines, until, meta · ARGV the epoch of a list that begins with them, then lines and until when. Takes out what is over
/// by Redis' own clock, then adds each line, or moves it to the end if it is there; the list goes as a whole when its last
/// line is. Returns the list's epoch, empty when all of it is over, and how many lines there
/// was no room for.
pub(super) static ADD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local now = redis.call('TIME')[1]
for _, line in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[1], line)
  redis.call('ZREM', KEYS[2], line)
end
local full = 0
for i = 2, #ARGV, 2 do
  if redis.call('ZCARD', KEYS[1]) >= 100000 and not redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    full = full + 1
  else
    redis.call('HSETNX', KEYS[3], 'epoch', ARGV[1])
    local seq = redis.call('HINCRBY', KEYS[3], 'seq', 1)
    redis.call('ZADD', KEYS[1], seq, ARGV[i])
    redis.call('ZADD', KEYS[2], ARGV[i + 1], ARGV[i])
  end
end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
if last[2] then
  for _, key in ipairs(KEYS) do redis.call('EXPIREAT', key, last[2]) end
end
return {redis.call('HGET', KEYS[3], 'epoch') or '', full}
",
    )
});

/// KEYS lines, meta · ARGV the number of the last line that is known, the most lines. Returns the list's epoch, or nothing
/// when there is no list, and the lines after that one with their numbers.
pub(super) static NEWS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then return {'', {}} end
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local lines = {}
for i = 1, #found, 2 do lines[#lines + 1] = {found[i], found[i + 1]} end
return {epoch, lines}
",
    )
});
