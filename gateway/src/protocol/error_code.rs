//! Why one command failed. The connection goes on.

/// What an `error` frame and the API's error body carry as `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Not JSON, or a field is missing, unknown in value, or too long.
    BadFrame,
    /// More than one target, or one that cannot be.
    BadTarget,
    /// The new token was refused; the session goes on with the one it has.
    Unauthenticated,
    /// The identity may not do this.
    Forbidden,
    /// Nobody is there: the recipient has no session anywhere.
    Offline,
    /// The feature is off in this gateway's configuration, or comes with a later release.
    NotSupported,
    /// The cluster cannot be reached now; what needs it was not done.
    Unavailable,
    /// A queue is full; try again later.
    Busy,
    /// The application refused it.
    Rejected,
    /// What the frame is about does not exist.
    NotFound,
    /// What the frame would make exists.
    Exists,
    /// There may be no more of it.
    LimitReached,
    /// Too much in too short a time.
    RateLimited,
}

impl ErrorCode {
    /// Every code, for the generated table and for metrics.
    pub const ALL: [Self; 13] = [
        Self::BadFrame,
        Self::BadTarget,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Offline,
        Self::NotSupported,
        Self::Unavailable,
        Self::Busy,
        Self::Rejected,
        Self::NotFound,
        Self::Exists,
        Self::LimitReached,
        Self::RateLimited,
    ];

    /// The word on the wire and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::BadTarget => "bad_target",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Offline => "offline",
            Self::NotSupported => "not_supported",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Rejected => "rejected",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::LimitReached => "limit_reached",
            Self::RateLimited => "rate_limited",
        }
    }

    /// Whether the trouble is the gateway's own and may pass, whatever was asked for.
    pub const fn is_trouble(self) -> bool {
        match self {
            Self::Unavailable | Self::Busy => true,
            Self::BadFrame
            | Self::BadTarget
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::Offline
            | Self::NotSupported
            | Self::Rejected
            | Self::NotFound
            | Self::Exists
            | Self::LimitReached
            | Self::RateLimited => false,
        }
    }

    /// What it means, for the reference.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::BadFrame => {
                "the frame is not JSON, or a field is missing, wrong or too long; the message names it"
            }
            Self::BadTarget => "the frame names more than one target, or one that cannot be",
            Self::Unauthenticated => {
                "the new token was refused; the session goes on until the one it has is over"
            }
            Self::Forbidden => "the token does not allow this",
            Self::Offline => "the recipient has no session anywhere; the message was not delivered",
            Self::NotSupported => "the feature is off in the gateway's configuration",
            Self::Unavailable => {
                "the cluster cannot be reached now; recipients on other nodes did not get the message"
            }
            Self::Busy => "a queue is full; the message was not taken, try again later",
            Self::Rejected => "the application did not take the message; the words are its own",
            Self::NotFound => "there is no such group or ticket",
            Self::Exists => "there is such a group already",
            Self::LimitReached => {
                "the group has its most members, or the user its most groups; the message names the key"
            }
            Self::RateLimited => {
                "too many messages, or too many wrong tokens before this one; `retry_after_ms` of the frame says when the next is taken"
            }
        }
    }
}
