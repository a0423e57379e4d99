//! `TokenVerifier`: a token's text becomes an [`Identity`], or a reason to refuse it.
//!
//! The algorithm and the key come from the configuration; what a token says about either is compared, never followed
//! (`jwk`, `jku`, `x5u` and `kid` are not even looked at). The signature is checked before any claim is parsed. Times are
//! judged here against one reading of the wall clock. No error, and nothing printed, carries any part of a token or key.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use wsc_config::{JwtAlgorithm, SecurityConfig};

use super::claims::{Claims, MintedClaims, NewToken};
use super::{Identity, Scopes};
use crate::protocol::UserId;

/// RFC 7518 §3.2: a key for HS256 has at least the size of the hash.
pub const MIN_KEY_BYTES: usize = 32;
/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest device name.
const MAX_DEVICE_BYTES: usize = 128;
/// The user type of a token that names none.
const DEFAULT_USER_TYPE: &str = "customer";

/// What tokens are judged by.
#[derive(Clone)]
pub struct JwtSettings {
    /// The one algorithm that is accepted.
    pub algorithm: JwtAlgorithm,
    /// The key, at least [`MIN_KEY_BYTES`].
    pub key: Arc<[u8]>,
    /// What `iss` must be, if anything.
    pub issuer: Option<String>,
    /// What `aud` must contain, if anything.
    pub audience: Option<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// The longest life of a token.
    pub max_lifetime: Duration,
    /// The values of `user_type` that are let in.
    pub allowed_user_types: Vec<String>,
}

impl JwtSettings {
    /// As configured, with the key that the configuration refers to.
    pub fn from_config(config: &SecurityConfig, key: &[u8]) -> Self {
        Self {
            algorithm: config.jwt.algorithm,
            key: key.into(),
            issuer: config.jwt.issuer.clone(),
            audience: config.jwt.audience.clone(),
            leeway: config.jwt.leeway.get(),
            max_lifetime: config.token_expiration.get(),
            allowed_user_types: config.allowed_user_types.clone(),
        }
    }
}

/// A key that tokens cannot be judged by.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Shorter than the algorithm needs.
    #[error(
        "jwt-key has {bytes} bytes, {algorithm} needs at least {MIN_KEY_BYTES} (RFC 7518 section 3.2)"
    )]
    Short {
        /// Its length.
        bytes: usize,
        /// The configured algorithm.
        algorithm: JwtAlgorithm,
    },
}

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
    /// `device` is empty or too long.
    #[error("the token's device is empty, too long or not printable (claim device)")]
    Device,
}

impl TokenError {
    /// The word for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::Signature => "signature",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LivesTooLong => "lives_too_long",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Subject => "subject",
            Self::UserType => "user_type",
            Self::Device => "device",
        }
    }
}

/// Judges tokens, and makes them with the same key.
pub struct TokenVerifier {
    decoding: DecodingKey,
    encoding: EncodingKey,
    validation: Validation,
    user_types: Vec<Arc<str>>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: u64,
    max_lifetime: u64,
}

impl TokenVerifier {
    /// Refuses a key that is too short for its algorithm.
    pub fn new(settings: JwtSettings) -> Result<Self, KeyError> {
        let algorithm = match settings.algorithm {
            JwtAlgorithm::Hs256 => Algorithm::HS256,
        };
        if settings.key.len() < MIN_KEY_BYTES {
            return Err(KeyError::Short {
                bytes: settings.key.len(),
                algorithm: settings.algorithm,
            });
        }
        let user_types = settings.allowed_user_types.iter();
        Ok(Self {
            decoding: DecodingKey::from_secret(&settings.key),
            encoding: EncodingKey::from_secret(&settings.key),
            validation: signature_only(algorithm),
            user_types: user_types.map(|kind| Arc::from(kind.as_str())).collect(),
            issuer: settings.issuer,
            audience: settings.audience,
            leeway: settings.leeway.as_secs(),
            max_lifetime: settings.max_lifetime.as_secs(),
        })
    }

    /// Judges a token now.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.verify_at(token, now())
    }

    /// Judges a token at a time, in Unix seconds.
    pub fn verify_at(&self, token: &str, now: u64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| header_error(&error))?;
        if !self.validation.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        let claims = decoded.map_err(|error| body_error(&error))?.claims;
        let over = self.judge_times(&claims, now)?;
        self.judge_parties(&claims)?;
        self.identity(&claims, over)
    }

    /// Makes a token that [`TokenVerifier::verify`] takes.
    pub fn mint(&self, token: &NewToken) -> Result<String, TokenError> {
        self.mint_at(token, now())
    }

    /// Makes a token at a time, in Unix seconds.
    pub fn mint_at(&self, token: &NewToken, now: u64) -> Result<String, TokenError> {
        let lifetime = token.lifetime.as_secs();
        if lifetime > self.max_lifetime {
            return Err(TokenError::LivesTooLong);
        }
        self.user_type(&token.user_type)?;
        let scope = token.scopes.to_claim();
        let claims = MintedClaims {
            sub: token.user.as_str(),
            iat: now,
            exp: now.saturating_add(lifetime),
            iss: self.issuer.as_deref(),
            aud: self.audience.as_deref(),
            user_type: &token.user_type,
            scope: &scope,
            device: token.device.as_deref(),
        };
        let [algorithm] = self.validation.algorithms[..] else {
            return Err(TokenError::Algorithm);
        };
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &self.encoding)
            .map_err(|_| TokenError::Malformed)
    }

    /// From when on the token is refused: its `exp` and the leeway.
    fn judge_times(&self, claims: &Claims, now: u64) -> Result<NonZeroU64, TokenError> {
        let expires = claims.exp.ok_or(TokenError::NoExpiry)?;
        let expires = NonZeroU64::new(expires).ok_or(TokenError::Expired)?;
        let over = expires.saturating_add(self.leeway);
        if over.get() <= now {
            return Err(TokenError::Expired);
        }
        let latest = now.saturating_add(self.leeway);
        if [claims.nbf, claims.iat]
            .into_iter()
            .flatten()
            .any(|from| from > latest)
        {
            return Err(TokenError::NotYetValid);
        }
        // A token that does not say when it was issued is taken as issued at the latest moment it can have been: now.
        let issued = claims.iat.unwrap_or(latest);
        if expires.get().saturating_sub(issued) > self.max_lifetime {
            return Err(TokenError::LivesTooLong);
        }
        Ok(over)
    }

    fn judge_parties(&self, claims: &Claims) -> Result<(), TokenError> {
        if self.issuer.is_some() && self.issuer != claims.iss {
            return Err(TokenError::Issuer);
        }
        match &self.audience {
            Some(audience) if !claims.aud.contains(audience) => Err(TokenError::Audience),
            _ => Ok(()),
        }
    }

    fn identity(&self, claims: &Claims, over: NonZeroU64) -> Result<Identity, TokenError> {
        let subject = claims.sub.as_deref().ok_or(TokenError::Subject)?;
        let user_type = claims.user_type.as_deref().unwrap_or(DEFAULT_USER_TYPE);
        Ok(Identity {
            user: UserId::new(subject).map_err(|_| TokenError::Subject)?,
            user_type: self.user_type(user_type)?,
            device: claims.device.as_deref().map(device).transpose()?,
            expires: Some(over),
            scopes: Scopes::parse(claims.scope.as_deref().unwrap_or_default()),
        })
    }

    /// The shared text of an allowed user type: no allocation per connection.
    fn user_type(&self, name: &str) -> Result<Arc<str>, TokenError> {
        let known = self.user_types.iter().find(|known| ***known == *name);
        known.map(Arc::clone).ok_or(TokenError::UserType)
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TokenVerifier").finish_non_exhaustive()
    }
}

fn device(name: &str) -> Result<Arc<str>, TokenError> {
    let sound = (1..=MAX_DEVICE_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    sound.then(|| name.into()).ok_or(TokenError::Device)
}

/// The library judges the signature and the algorithm; the claims are judged here, with one clock.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// An `alg` the library has no name for, `none` above all, makes the header fail as JSON.
fn header_error(error: &jsonwebtoken::errors::Error) -> TokenError {
    match error.kind() {
        ErrorKind::Json(cause) if cause.to_string().starts_with("unknown variant") => {
            TokenError::Algorithm
        }
        _ => TokenError::Malformed,
    }
}

fn body_error(error: &jsonwebtoken::errors::Error) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        _ => TokenError::Malformed,
    }
}

/// Unix seconds; a clock before 1970 counts as 1970, where every token is "not valid yet" or lives too long.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
