//! When a connection is pinged, and when it is given up: a pure function of ticks. One tick is [`TICK`].

use std::time::Duration;

use crate::protocol::Disconnect;

/// The unit of the shard's timers.
pub const TICK: Duration = Duration::from_millis(250);

/// A moment in ticks since the shard began. Wraps after 34 years.
pub type Tick = u32;

/// How long a client may take to answer a close frame before the socket is cut.
pub const CLOSE_PATIENCE: Tick = 8;

/// Ticks that fill this duration, at least one.
pub fn ticks(duration: Duration) -> Tick {
    let ticks = duration.as_millis().div_ceil(TICK.as_millis());
    Tick::try_from(ticks).unwrap_or(Tick::MAX / 2).max(1)
}

/// The patience of this gateway, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A connection quiet for so long is pinged.
    pub heartbeat: Tick,
    /// A connection from which nothing came for so long is closed.
    pub timeout: Tick,
}

/// What is known of one live connection.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// When something last came from the client.
    pub heard: Tick,
    /// When the server last pinged, or the connection began.
    pub pinged: Tick,
    /// When its right to be here ends: the token's expiry, or the deadline for authentication.
    pub until: Option<(Tick, Disconnect)>,
}

/// What is due now, and when to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing; look again then.
    Wait(Tick),
    /// A ping; look again then.
    Ping(Tick),
    /// The end.
    Close(Disconnect),
}

/// Looks at one connection.
pub fn look(signs: Signs, patience: Patience, now: Tick) -> Due {
    if let Some((until, why)) = signs.until
        && now >= until
    {
        return Due::Close(why);
    }
    let timeout = signs.heard.saturating_add(patience.timeout);
    if now >= timeout {
        return Due::Close(Disconnect::Timeout);
    }
    let ping = signs
        .heard
        .max(signs.pinged)
        .saturating_add(patience.heartbeat);
    let until = signs.until.map_or(Tick::MAX, |(until, _)| until);
    if now < ping {
        return Due::Wait(ping.min(timeout).min(until));
    }
    Due::Ping(
        now.saturating_add(patience.heartbeat)
            .min(timeout)
            .min(until),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        heartbeat: 30,
        timeout: 90,
    };

    fn signs(heard: Tick, pinged: Tick) -> Signs {
        Signs {
            heard,
            pinged,
            until: None,
        }
    }

    #[test]
    fn a_talking_client_is_not_pinged() {
        assert_eq!(look(signs(100, 0), PATIENCE, 120), Due::Wait(130));
    }

    #[test]
    fn a_quiet_client_is_pinged_once_a_heartbeat_and_then_given_up() {
        assert_eq!(look(signs(0, 0), PATIENCE, 30), Due::Ping(60));
        assert_eq!(look(signs(0, 30), PATIENCE, 59), Due::Wait(60));
        assert_eq!(look(signs(0, 60), PATIENCE, 89), Due::Wait(90));
        assert_eq!(
            look(signs(0, 60), PATIENCE, 90),
            Due::Close(Disconnect::Timeout)
        );
    }

    #[test]
    fn nothing_outlives_its_right() {
        let signs = Signs {
            until: Some((50, Disconnect::TokenExpired)),
            ..signs(40, 0)
        };
        assert_eq!(look(signs, PATIENCE, 45), Due::Wait(50));
        assert_eq!(
            look(signs, PATIENCE, 50),
            Due::Close(Disconnect::TokenExpired)
        );
    }

    #[test]
    fn durations_become_whole_ticks() {
        assert_eq!(
            (
                ticks(Duration::from_millis(1)),
                ticks(Duration::from_secs(1))
            ),
            (1, 4)
        );
    }
}
