//! `TokenError`: why a token is refused. Its text is for the client, its label for metrics; neither holds anything of the
//! token.

/// The longest token that is looked at.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a token is refused. The text is for the client and holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// More bytes than anyone needs.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not a JWT, or a claim has the wrong type or occurs twice.
    #[error("the token is not a well-formed JWT")]
    Malformed,
    /// Signed by another algorithm, or by none.
    #[error("the token is not signed by the algorithm this gateway requires")]
    Algorithm,
    /// The header demands an extension (`crit`) that is not known here.
    #[error("the token's header demands an extension this gateway does not know")]
    Critical,
    /// The header names no key, and there are several.
    #[error("the token names no key (kid), and this gateway has several")]
    NoKeyId,
    /// The header names a key that is not known here.
    #[error("the token is signed by a key this gateway does not know (kid)")]
    UnknownKey,
    /// The set of keys has never been read.
    #[error("this gateway could not read the keys of tokens yet, try again later")]
    NoKeys,
    /// Asked to make a token with a key that can only check one.
    #[error("the key is a public one, tokens are signed with the private key")]
    CannotSign,
    /// Not signed by the configured key.
    #[error("the token's signature is wrong")]
    Signature,
    /// No `exp`.
    #[error("the token has no expiry (claim exp)")]
    NoExpiry,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("the token is not valid yet (claim nbf or iat)")]
    NotYetValid,
    /// It is good for longer than tokens may be here.
    #[error("the token lives longer than this gateway allows")]
    LivesTooLong,
    /// `iss` is another, or missing.
    #[error("the token is from another issuer (claim iss)")]
    Issuer,
    /// `aud` does not name this service, or is missing.
    #[error("the token is for another audience (claim aud)")]
    Audience,
    /// `sub` cannot be a user id.
    #[error("the token's subject is missing, empty, too long or not printable (claim sub)")]
    Subject,
    /// `user_type` is not let in.
    #[error("the token's user type is not allowed (claim user_type)")]
    UserType,
    /// `jti` cannot be named.
    #[error("the token's id is empty, too long or not printable (claim jti)")]
    TokenId,
    /// It was taken back.
    #[error("the token was revoked")]
    Revoked,
    /// `device` is empty or too long.
    #[error("the token's device is empty, too long or not printable (claim device)")]
    Device,
    /// `groups` has too many patterns, or one that matches nothing.
    #[error("the token's groups are too many, or one is empty or too long (claim groups)")]
    Groups,
    /// `skills` has too many, or one that cannot be a skill.
    #[error(
        "the token's skills are too many, or one has a character that skills do not have (claim skills)"
    )]
    Skills,
}

impl TokenError {
    /// The word for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::NoKeyId => "no_key_id",
            Self::UnknownKey => "unknown_key",
            Self::NoKeys => "no_keys",
            Self::CannotSign => "cannot_sign",
            Self::Signature => "signature",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LivesTooLong => "lives_too_long",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Subject => "subject",
            Self::UserType => "user_type",
            Self::TokenId => "token_id",
            Self::Revoked => "revoked",
            Self::Device => "device",
            Self::Groups => "groups",
            Self::Skills => "skills",
        }
    }
}
