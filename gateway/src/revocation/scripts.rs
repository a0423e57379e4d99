//! The Lua scripts of the list of revoked tokens: lines by their number, and by when they are over.

use std::sync::LazyLock;

use ::redis::Script;

/// Lines read at once.
pub(super) const PAGE: usize = 1000;

/// KEYS lines, until, meta · ARGV line, until when, the epoch of a list that begins with it. Takes out what is over by Redis'
/// own clock, then adds a line, or moves it to the end if it is there; the list goes as a whole when its last line is.
pub(super) static ADD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local now = redis.call('TIME')[1]
for _, line in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[1], line)
  redis.call('ZREM', KEYS[2], line)
end
if redis.call('ZCARD', KEYS[1]) >= 100000 and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return redis.error_reply('FULL the list of revoked tokens holds 100000 lines')
end
redis.call('HSETNX', KEYS[3], 'epoch', ARGV[3])
local seq = redis.call('HINCRBY', KEYS[3], 'seq', 1)
redis.call('ZADD', KEYS[1], seq, ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
if last[2] then
  for _, key in ipairs(KEYS) do redis.call('EXPIREAT', key, last[2]) end
end
return redis.status_reply('OK')
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
