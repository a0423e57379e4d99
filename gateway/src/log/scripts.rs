//! The Lua scripts of the log. Each keeps to the keys of one log, which share a hash tag; all are passed in.
//!
//! What waits to be acknowledged is found by the message's id, since that is all that acknowledgements need to say: a line
//! for each message of that id, `P`, its offset and its sender; behind it a line for each reader who has had a word about it:
//! `d` (it has arrived), `r` (it was read) or `x` (it was given up), when, and the user. Ids of users have no line ends.
//! Records are found by sender and id. What belongs to a message is told from what belongs to another of the same name by the
//! offset.
//!
//! A log goes on under a new epoch when the server that holds it is another process than the one that wrote last: it may
//! have lost the end. `p:<epoch>` keeps where each former epoch ended, so that a reader who had not come further than
//! that goes on without a gap. Epochs come from Redis' clock in microseconds and only grow.

use std::sync::LazyLock;

use ::redis::Script;

/// KEYS entries, meta, acks, records, the members of the log's group or, if it is of none, the entries again; then one for
/// each message by which a repetition is known.
/// ARGV age ms, most messages, dedupe ms, records ms (0: none), now ms, then per message: id, sender, JSON, `1` if it is
/// to be acknowledged, `1` if the id is the sender's own, the span it comes from or ''; at last which process of the server this
/// is, as `INFO` calls it, or '': then it is asked, which costs a fifth of the whole. Returns `0 epoch.offset`, or `1 epoch.offset` for a repetition.
///
/// Each command in here costs Redis 4 to 5 µs, so none is asked that need not be: `meta` knows the oldest entry, which is
/// looked up again only where it may go; and `meta` and the records, which live longer than they must, are given their time
/// anew an eighth of it before it ends.
pub(super) static APPEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local run = ARGV[#ARGV]
if run == '' then run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') end
local age, most, dedupe, records, now = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local meta = redis.call('HMGET', KEYS[2], 'e', 'h', 'r', 'o', 'x')
local epoch, head = meta[1], tonumber(meta[2] or '0')
if not epoch or meta[3] ~= run then
  local time = redis.call('TIME')
  local fresh = tonumber(time[1]) * 1000000 + tonumber(time[2])
  if epoch then
    if fresh <= tonumber(epoch) then fresh = tonumber(epoch) + 1 end
    redis.call('HSET', KEYS[2], 'p:' .. epoch, head)
  else
    local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
    if last[1] then head = tonumber(string.match(last[1][1], '^%d+')) end
  end
  epoch = string.format('%.0f', fresh)
  redis.call('HSET', KEYS[2], 'e', epoch, 'r', run)
  meta = {}
end
local newest
if KEYS[5] ~= KEYS[1] then
  newest = string.format('%.0f', tonumber(redis.call('ZREVRANGE', KEYS[5], 0, 0, 'WITHSCORES')[2] or '0'))
end
local out, acks = {}, false
for i = 6, #KEYS do
  local a = 6 + (i - 6) * 6
  local id, sender, ack, own = ARGV[a], ARGV[a + 1], ARGV[a + 3], ARGV[a + 4] == '1'
  local place = epoch .. '.' .. head + 1
  local before = own and redis.call('SET', KEYS[i], place, 'NX', 'GET', 'PX', dedupe)
  if before then
    out[#out + 1] = '1 ' .. before
  else
    head = head + 1
    local stored = {'i', id, 't', ARGV[5], 'a', ack, 's', sender}
    if ARGV[a + 5] ~= '' then stored[9], stored[10] = 'c', ARGV[a + 5] end
    if newest then stored[#stored + 1], stored[#stored + 2] = 'g', newest end
    stored[#stored + 1], stored[#stored + 2] = 'j', ARGV[a + 2]
    local added = redis.pcall('XADD', KEYS[1], head .. '-0', unpack(stored))
    if added.err then
      if own then redis.call('DEL', KEYS[i]) end
      return added
    end
    if ack == '1' then
      acks = true
      local held = redis.call('HGET', KEYS[3], id)
      redis.call('HSET', KEYS[3], id, (held and held .. '\n' or '') .. 'P' .. head .. ' ' .. sender)
    end
    local name = #sender .. ':' .. sender .. id
    if records > 0 and redis.call('HSET', KEYS[4], name, ARGV[5] .. ' ' .. place) == 0 then
      redis.call('HDEL', KEYS[4], 'd:' .. name, 'r:' .. name, 'x:' .. name)
    end
    out[#out + 1] = '0 ' .. place
  end
end
local without = function(held, offset)
  local lines, mine = {}, false
  for line in string.gmatch(held, '[^\n]+') do
    local at = string.match(line, '^P(%d+) ')
    if at then mine = at == offset end
    if not mine then lines[#lines + 1] = line end
  end
  return lines
end
local changed = {'h', head}
local first, since = string.match(meta[4] or '', '^(%d+) (%d+)$')
if not first or head - first >= most or since + age <= now then
  local over, some = redis.call('XLEN', KEYS[1]) - most, 1
  if over > 0 or first then some = math.min(math.max(over, 0), 512) + 4 end
  local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', some)
  for i, entry in ipairs(found) do
    local fields = entry[2]
    first, since = string.match(entry[1], '^%d+'), fields[4]
    if i > over and tonumber(fields[4]) + age > now then break end
    redis.call('XDEL', KEYS[1], entry[1])
    local offset, id, sender = first, fields[2], fields[8]
    local held = fields[6] == '1' and redis.call('HGET', KEYS[3], id)
    if held then
      local lines = without(held, offset)
      if #lines == 0 then redis.call('HDEL', KEYS[3], id)
      else redis.call('HSET', KEYS[3], id, table.concat(lines, '\n')) end
    end
    local name = #sender .. ':' .. sender .. id
    local record = redis.call('HGET', KEYS[4], name)
    if record and string.match(record, '%.(%d+)$') == offset then
      redis.call('HDEL', KEYS[4], name, 'd:' .. name, 'r:' .. name, 'x:' .. name)
    end
  end
  if first then changed[3], changed[4] = 'o', first .. ' ' .. since end
end
redis.call('PEXPIRE', KEYS[1], age)
if acks then redis.call('PEXPIRE', KEYS[3], age) end
local lives, step = ARGV[1] .. ' ' .. ARGV[4], (records > 0 and math.min(age, records) or age) / 8
local last, till = string.match(meta[5] or '', '^(%d+ %d+) (%d+)$')
if last ~= lives or now >= tonumber(till) or now + step < tonumber(till) then
  changed[#changed + 1], changed[#changed + 2] = 'x', string.format('%s %.0f', lives, now + step)
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', 2 * age + 86400000))
  if records > 0 then redis.call('PEXPIRE', KEYS[4], string.format('%.0f', records + step)) end
end
redis.call('HSET', KEYS[2], unpack(changed))
return out
",
    )
});

/// KEYS entries, meta · ARGV epoch, offset (0: from the oldest), most messages, age ms, most bytes. Returns {epoch, head, `1` if that place is
/// not in this log's past, entries}. A reader who has been further than a former epoch came goes on after its end. A log
/// that is gone gets its next epoch from the first reader who had known it, so that there is a place to go on from.
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local meta = redis.call('HMGET', KEYS[2], 'e', 'h', 'p:' .. ARGV[1])
local somewhere = tonumber(ARGV[2]) > 0
if not meta[1] then
  if not somewhere then return {'0', '0', 0, {}} end
  local time = redis.call('TIME')
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  meta[1] = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
  meta[2] = last[1] and string.match(last[1][1], '^%d+') or '0'
  redis.call('HSET', KEYS[2], 'e', meta[1], 'h', meta[2], 'r', run)
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', 2 * tonumber(ARGV[4]) + 86400000))
end
local start, lost = '-', 0
if somewhere then
  local past = meta[3]
  if ARGV[1] == meta[1] then past = meta[2] end
  local from = past and math.min(tonumber(ARGV[2]), tonumber(past))
  if from ~= tonumber(ARGV[2]) then lost = 1 end
  if from and from > 0 then start = '(' .. string.format('%.0f', from) .. '-0' end
end
local most, bytes, found, size = tonumber(ARGV[3]), tonumber(ARGV[5]), {}, 0
while #found < most do
  local wanted = math.min(4, most - #found)
  local some = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', wanted)
  for _, entry in ipairs(some) do
    size = size + #entry[2][#entry[2]]
    if size > bytes and #found > 0 then return {meta[1], meta[2], lost, found} end
    found[#found + 1] = entry
    start = '(' .. entry[1]
  end
  if #some < wanted then break end
end
return {meta[1], meta[2], lost, found}
",
    )
});

/// KEYS positions · ARGV field, epoch, offset, life ms. Moves a position forward only.
pub(super) static SAW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local epoch, offset = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '0.0', '^(%d+)%.(%d+)$')
local e, o = tonumber(ARGV[2]), tonumber(ARGV[3])
if e > tonumber(epoch) or (e == tonumber(epoch) and o > tonumber(offset)) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '.' .. ARGV[3])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 0
",
    )
});

/// KEYS acks, records · ARGV id, sender (empty: any), user, `d`, `r` or `x`, now ms. Returns the senders to whom that is news
/// of this user. A word that was said at that very moment is news again, since whoever asks has not heard the answer; and so
/// is every giving up, which is asked for until it was told.
pub(super) static ACKNOWLEDGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then return {} end
local user, word, now, weight = ARGV[3], ARGV[4], ARGV[5], {x = 1, d = 2, r = 3}
local messages, told, lines = {}, {}, {}
for line in string.gmatch(held, '[^\n]+') do
  local offset, sender = string.match(line, '^P(%d+) (.*)$')
  if offset then messages[#messages + 1] = {offset = offset, sender = sender, lines = {line}}
  elseif #messages > 0 then
    local message = messages[#messages]
    local known, at, who = string.match(line, '^([drx])(%d+) (.*)$')
    if who == user then message.known, message.at = known, at
    else message.lines[#message.lines + 1] = line end
  end
end
for _, message in ipairs(messages) do
  local known = message.known
  local more = weight[word] > (weight[known] or 0)
  local again = word == known and (word == 'x' or message.at == now)
  if (ARGV[2] == '' or ARGV[2] == message.sender) and (more or again) then
    told[#told + 1] = message.sender
    if more then message.known, message.at = word, now end
    local name = #message.sender .. ':' .. message.sender .. ARGV[1]
    local record = redis.call('HGET', KEYS[2], name)
    if record and string.match(record, '%.(%d+)$') == message.offset then
      redis.call('HSETNX', KEYS[2], word .. ':' .. name, now)
    end
  end
  for _, line in ipairs(message.lines) do lines[#lines + 1] = line end
  if message.known then lines[#lines + 1] = message.known .. message.at .. ' ' .. user end
end
if #told > 0 then redis.call('HSET', KEYS[1], ARGV[1], table.concat(lines, '\n')) end
return told
",
    )
});
