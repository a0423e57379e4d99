//! `Exchange`: what nodes tell each other through Redis about limits, in a few round trips now and then.
//!
//! Nothing waits for it. While Redis is away every node goes by what it has counted itself, and tells afterwards.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ::redis::Script;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::lockout::{News, Suspect};
use super::rates::Word;
use super::window::SLOTS;
use super::{Admission, LockoutRules};
use crate::cluster::redis::{RedisCalls, RedisSeats};
use crate::cluster::{Cluster, ClusterError};
use crate::protocol::Epoch;
use crate::telemetry::RedisPart;

/// How long a node may not know what the others do.
const EVERY: Duration = Duration::from_secs(1);
/// How often the sessions here are said again; what was lost is missing for so long.
const REPEAT: Duration = Duration::from_mins(1);
/// Suspects or meters told in one script: Redis is held for about a millisecond.
const BATCH: usize = 256;
/// Lock-outs heard of at a time, those that last longest first; and as many names of who has failed or succeeded, the latest
/// first.
const LOCKS: usize = 10_000;

/// KEYS the locks, who has failed, who has succeeded since, then the failures of each suspect · ARGV how long failures count
/// in ms, how many lock out, how many names to return of each kind, from when on, then for each suspect its name and `f`
/// (failed) or `s` (succeeded). Returns the time in ms, who is locked out and for how many ms more, and who has failed and
/// who has succeeded since the time that was asked about.
static LOCKOUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window, attempts, most, since = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local locks, failed, succeeded = KEYS[1], KEYS[2], KEYS[3]
for i = 4, #KEYS do
  local name, what = ARGV[2 * i - 3], ARGV[2 * i - 2]
  if what == 's' then
    redis.call('DEL', KEYS[i])
    redis.call('ZREM', failed, name)
    redis.call('ZADD', succeeded, now, name)
  elseif not redis.call('ZSCORE', locks, name) then
    local count = redis.call('INCR', KEYS[i])
    if count == 1 then redis.call('PEXPIRE', KEYS[i], window) end
    if count >= attempts then
      redis.call('ZADD', locks, now + window, name)
      redis.call('DEL', KEYS[i])
      redis.call('ZREM', failed, name)
    else
      redis.call('ZADD', failed, now, name)
      redis.call('ZREM', succeeded, name)
    end
  end
end
redis.call('ZREMRANGEBYSCORE', locks, '-inf', now)
local locked = redis.call('ZREVRANGE', locks, 0, most - 1, 'WITHSCORES')
for i = 2, #locked, 2 do locked[i] = string.format('%.0f', locked[i] - now) end
local rows = {}
for i, key in ipairs({failed, succeeded}) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  redis.call('PEXPIRE', key, window)
  rows[i] = redis.call('ZREVRANGEBYSCORE', key, '+inf', since, 'LIMIT', 0, most)
end
return {now, locked, rows[1], rows[2]}
",
    )
});

/// KEYS a hash for each meter · ARGV the length of a slot in ms, how many slots beside the current one count, then for each
/// meter messages and bytes to add and for how many ms it is shut. Returns for each meter: ms into the current slot, ms for
/// which it is shut, then messages and bytes of each slot, the current one first.
static RATES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slot, slots = tonumber(ARGV[1]), tonumber(ARGV[2])
local index = math.floor(now / slot)
local answers = {}
for i, key in ipairs(KEYS) do
  local number = string.format('%.0f', index)
  redis.call('HINCRBY', key, 'm' .. number, ARGV[3 * i])
  redis.call('HINCRBY', key, 'b' .. number, ARGV[3 * i + 1])
  local shut = tonumber(redis.call('HGET', key, 'shut') or '0')
  local asked = now + tonumber(ARGV[3 * i + 2])
  if asked > now and asked > shut then
    shut = asked
    redis.call('HSET', key, 'shut', string.format('%.0f', shut))
  end
  local answer = {now % slot, math.max(0, shut - now)}
  for age = 0, slots do answer[3 + 2 * age], answer[4 + 2 * age] = 0, 0 end
  local all = redis.call('HGETALL', key)
  for f = 1, #all, 2 do
    local kind = string.sub(all[f], 1, 1)
    if kind ~= 's' then
      local age = index - tonumber(string.sub(all[f], 2))
      if age > slots or age < 0 then
        redis.call('HDEL', key, all[f])
      else
        answer[(kind == 'm' and 3 or 4) + 2 * age] = tonumber(all[f + 1])
      end
    end
  end
  redis.call('PEXPIRE', key, string.format('%.0f', math.max(slot * (slots + 2), shut - now)))
  answers[i] = answer
end
return answers
",
    )
});

/// See the module.
pub(super) struct Exchange {
    admission: Admission,
    cluster: Cluster,
    link: Option<RedisCalls>,
    seats: Option<RedisSeats>,
    repeated: Option<(Instant, Epoch)>,
    /// Up to when this node knows who has failed and who has succeeded elsewhere, by Redis' clock in ms.
    heard_until: u64,
}

impl Exchange {
    pub(super) fn new(admission: Admission, cluster: Cluster) -> Self {
        let link = cluster.redis();
        Self {
            admission,
            link: link.as_ref().map(|link| link.calls(RedisPart::Limits)),
            seats: link.as_ref().map(RedisSeats::new),
            cluster,
            repeated: None,
            heard_until: 0,
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let admission = self.admission.clone();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                // Whoever comes back at once must find the seat free.
                () = admission.0.seats.woken.notified() => self.departures().await,
                _ = turns.tick() => self.turn().await,
            }
        }
    }

    async fn turn(&mut self) {
        let outcomes = [
            ("lock-outs", self.lockouts().await),
            ("rates", self.rates().await),
            ("sessions of users", self.repeat().await),
        ];
        for (what, outcome) in outcomes {
            if let Err(error) = outcome {
                tracing::debug!(%error, what, "limits were not exchanged");
            }
        }
        self.departures().await;
    }

    async fn lockouts(&mut self) -> Result<(), ClusterError> {
        let Some(rules) = self.admission.rules().lockout else {
            return Ok(());
        };
        let lockout = &self.admission.0.lockout;
        let mut news = lockout.take_news(rules.duration);
        let Some(link) = &self.link else {
            return Ok(());
        };
        loop {
            // Without news as well: the others may have some.
            let batch = news.get(..BATCH).unwrap_or(&news);
            let told = tell_failures(link, rules, (batch, self.heard_until)).await;
            let (now, locked, failed, succeeded) = match told {
                Ok(answer) => answer,
                Err(error) => {
                    lockout.put_back(news);
                    return Err(error);
                }
            };
            self.heard_until = now;
            for (name, left) in locked {
                if let Some(suspect) = Suspect::parse(&name) {
                    lockout.lock(suspect, Duration::from_millis(left), rules);
                }
            }
            let suspects =
                |names: Vec<String>| names.into_iter().filter_map(|n| Suspect::parse(&n));
            lockout.others_failed(suspects(failed), rules);
            lockout.others_succeeded(suspects(succeeded));
            news = news.split_off(BATCH.min(news.len()));
            if news.is_empty() {
                return Ok(());
            }
        }
    }

    async fn rates(&self) -> Result<(), ClusterError> {
        let Some(rules) = self.admission.rules().rates else {
            return Ok(());
        };
        let words = self.admission.0.rates.turn(&rules);
        let Some(link) = &self.link else {
            return Ok(());
        };
        let mut groups: HashMap<u64, Vec<Word>> = HashMap::new();
        for word in words {
            groups.entry(word.meter.group()).or_default().push(word);
        }
        let mut outcome = Ok(());
        for (group, words) in groups {
            for batch in words.chunks(BATCH) {
                let told = tell(link, group, batch, millis(rules.window) / SLOTS as u64).await;
                if let Err(error) = told {
                    for word in batch {
                        word.meter.untell(word.count);
                    }
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    async fn repeat(&mut self) -> Result<(), ClusterError> {
        let Some(seats) = &self.seats else {
            return Ok(());
        };
        let epoch = self.cluster.identity().1;
        let is_untold = self.admission.0.seats.untold.swap(false, Relaxed);
        // A node that had to register anew holds nothing any more.
        if let Some((at, before)) = self.repeated
            && before == epoch
            && !is_untold
            && at.elapsed() < REPEAT
        {
            return Ok(());
        }
        self.repeated = None;
        let here = self.admission.0.seats.here();
        seats.repeat(&self.cluster, &here).await?;
        self.repeated = Some((Instant::now(), epoch));
        Ok(())
    }

    async fn departures(&self) {
        let own = &self.admission.0.seats;
        let gone = own.take_gone();
        let Some(seats) = self.seats.as_ref().filter(|_| !gone.is_empty()) else {
            return;
        };
        if let Err(error) = seats.leave(&self.cluster, &gone).await {
            tracing::debug!(%error, "seats were not given back yet");
            own.put_back(gone);
        }
    }
}

/// The time in ms; who is locked out, and for how many ms more; who has failed, and who has succeeded.
type Heard = (u64, Vec<(String, u64)>, Vec<String>, Vec<String>);

/// Tells of these failures and successes, and hears who is locked out, and what happened elsewhere since this time.
async fn tell_failures(
    link: &RedisCalls,
    rules: LockoutRules,
    (batch, since): (&[News], u64),
) -> Result<Heard, ClusterError> {
    let mut call = LOCKOUT.prepare_invoke();
    for name in ["locks", "failed", "succeeded"] {
        call.key(link.key("lockout", name));
    }
    call.arg(millis(rules.duration))
        .arg(rules.attempts)
        .arg(LOCKS)
        .arg(since);
    for news in batch {
        let (suspect, what) = match news {
            News::Failed(suspect) => (suspect, "f"),
            News::Forgotten(suspect) => (suspect, "s"),
        };
        let name = suspect.name();
        call.key(link.key("lockout", &name)).arg(name).arg(what);
    }
    link.run("lock-outs", &call).await
}

/// Tells what one group of meters has counted, and has them hear the sum.
async fn tell(
    link: &RedisCalls,
    group: u64,
    words: &[Word],
    slot: u64,
) -> Result<(), ClusterError> {
    let tag = format!("rates-{group}");
    let mut call = RATES.prepare_invoke();
    call.arg(slot.max(1)).arg(SLOTS);
    for word in words {
        call.key(link.key(&tag, &word.meter.name()))
            .arg(word.count.messages)
            .arg(word.count.bytes)
            .arg(millis(word.shut));
    }
    let answers: Vec<Vec<u64>> = link.run("rates", &call).await?;
    for (word, answer) in words.iter().zip(answers) {
        word.meter.heard(&answer);
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
