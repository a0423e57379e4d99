//! `TokenVerifier`: a token's text becomes an [`Identity`], or a reason to refuse it.
//!
//! The algorithm and the keys come from the configuration; what a token says about either is compared, never followed: its
//! `kid` picks among the keys that are there, `jwk`, `jku` and `x5u` are not even looked at. The signature is checked before
//! any claim is parsed. Times are judged here against one reading of the wall clock. No error, and nothing printed, carries
//! any part of a token or key.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, crypto};
use wsc_config::{JwtAlgorithm, SecurityConfig};

use super::claims::{Claims, MintedClaims, NewToken};
use super::key_set::library;
use super::revocations::MAX_TOKEN_ID_BYTES;
use super::token_error::MAX_TOKEN_BYTES;
use super::{FetchedKeys, Identity, KeySet, Scopes, TokenError};
use crate::group::GroupPatterns;
use crate::protocol::UserId;
use crate::ticket::Queue;

/// The longest device name.
const MAX_DEVICE_BYTES: usize = 128;
/// The user type of a token that names none.
const DEFAULT_USER_TYPE: &str = "customer";

/// What tokens are judged by, beside the keys.
#[derive(Clone, Debug)]
pub struct JwtSettings {
    /// The one algorithm that is accepted.
    pub algorithm: JwtAlgorithm,
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
    /// As configured.
    pub fn from_config(config: &SecurityConfig) -> Self {
        Self {
            algorithm: config.jwt.algorithm,
            issuer: config.jwt.issuer.clone(),
            audience: config.jwt.audience.clone(),
            leeway: config.jwt.leeway.get(),
            max_lifetime: config.token_expiration.get(),
            allowed_user_types: config.allowed_user_types.clone(),
        }
    }
}

/// Where a verifier finds its keys.
#[derive(Clone)]
pub enum Keys {
    /// They are these.
    Fixed(Arc<KeySet>),
    /// Somebody fetches them.
    Fetched(Arc<FetchedKeys>),
}

/// Judges tokens, and makes them if one of its keys can sign.
pub struct TokenVerifier {
    keys: Keys,
    algorithm: Algorithm,
    user_types: Vec<Arc<str>>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: u64,
    max_lifetime: u64,
    /// The header of the last token that was well signed: most tokens of an application have the same, which is then not read again.
    header: ArcSwapOption<GoodHeader>,
    /// What the last token said of groups: most tokens of an application say the same, and sessions share it.
    groups: ArcSwap<GroupPatterns>,
}

/// A header that names the one algorithm.
struct GoodHeader {
    /// As it stands in the token.
    text: String,
    kid: Option<String>,
}

/// A token in its compact form (RFC 7515 §7.1).
#[derive(Clone, Copy)]
struct Compact<'a> {
    header: &'a str,
    payload: &'a str,
    /// What is signed: both of them, and the dot between.
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Compact<'a> {
    fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        (!payload.contains('.')).then_some(Self {
            header,
            payload,
            signed,
            signature,
        })
    }
}

impl TokenVerifier {
    /// Judges by these settings and keys, which are for the same algorithm.
    pub fn new(settings: JwtSettings, keys: Keys) -> Self {
        let user_types = settings.allowed_user_types.iter();
        Self {
            keys,
            algorithm: library(settings.algorithm),
            user_types: user_types.map(|kind| Arc::from(kind.as_str())).collect(),
            issuer: settings.issuer,
            audience: settings.audience,
            leeway: settings.leeway.as_secs(),
            max_lifetime: settings.max_lifetime.as_secs(),
            header: ArcSwapOption::empty(),
            groups: ArcSwap::default(),
        }
    }

    /// Judges a token now.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.verify_at(token, now())
    }

    /// The same, but a key that is not known is looked for where keys are fetched from, if that was not just done.
    pub async fn verify_anew(&self, token: &str) -> Result<Identity, TokenError> {
        let seen = self.key_set();
        let judged = self.verify(token);
        match (&judged, &self.keys) {
            (Err(TokenError::UnknownKey | TokenError::NoKeys), Keys::Fetched(keys))
                if keys.renewed(seen.as_ref()).await =>
            {
                self.verify(token)
            }
            _ => judged,
        }
    }

    /// Judges a token at a time, in Unix seconds.
    pub fn verify_at(&self, token: &str, now: u64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let parts = Compact::parse(token).ok_or(TokenError::Malformed)?;
        let header = self.header(token, parts)?;
        let claims = self.claims(parts, header.kid.as_deref())?;
        self.remember(header);
        let over = self.judge_times(&claims, now)?;
        self.judge_parties(&claims)?;
        self.identity(&claims, over)
    }

    fn header(&self, token: &str, parts: Compact<'_>) -> Result<Arc<GoodHeader>, TokenError> {
        let last = self.header.load();
        if let Some(last) = last.as_ref().filter(|last| last.text == parts.header) {
            return Ok(Arc::clone(last));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| header_error(&error))?;
        if header.alg != self.algorithm {
            return Err(TokenError::Algorithm);
        }
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        Ok(Arc::new(GoodHeader {
            text: parts.header.to_owned(),
            kid: header.kid,
        }))
    }

    /// Only what came with a good signature: who has no key makes nobody's header be read again.
    fn remember(&self, header: Arc<GoodHeader>) {
        let last = self.header.load();
        if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &header)) {
            self.header.store(Some(header));
        }
    }

    /// The claims, once one of the keys that the token may be signed by has signed it.
    fn claims(&self, token: Compact<'_>, kid: Option<&str>) -> Result<Claims, TokenError> {
        let keys = self.key_set().ok_or(TokenError::NoKeys)?;
        for key in keys.candidates(kid)? {
            if self.is_signed_by(token, key)? {
                let claims = URL_SAFE_NO_PAD.decode(token.payload);
                let claims = claims.map_err(|_| TokenError::Malformed)?;
                return serde_json::from_slice(&claims).map_err(|_| TokenError::Malformed);
            }
        }
        Err(TokenError::Signature)
    }

    /// The library's `decode` would read the header twice more and the claims once more than is needed.
    fn is_signed_by(&self, token: Compact<'_>, key: &DecodingKey) -> Result<bool, TokenError> {
        let signed = token.signed.as_bytes();
        crypto::verify(token.signature, signed, key, self.algorithm)
            .map_err(|_| TokenError::Malformed)
    }

    fn key_set(&self) -> Option<Arc<KeySet>> {
        match &self.keys {
            Keys::Fixed(keys) => Some(Arc::clone(keys)),
            Keys::Fetched(keys) => keys.current(),
        }
    }

    /// Makes a token that [`TokenVerifier::verify`] takes.
    pub fn mint(&self, token: &NewToken) -> Result<String, TokenError> {
        self.mint_at(token, now())
    }

    /// Makes a token at a time, in Unix seconds.
    pub fn mint_at(&self, token: &NewToken, now: u64) -> Result<String, TokenError> {
        let keys = self.key_set().ok_or(TokenError::NoKeys)?;
        let signing = keys.signing().ok_or(TokenError::CannotSign)?;
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
            groups: token.groups.iter().collect(),
            skills: &token.skills,
            device: token.device.as_deref(),
            jti: &uuid::Uuid::new_v4().to_string(),
        };
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&token.key_id);
        jsonwebtoken::encode(&header, &claims, signing).map_err(|_| TokenError::Malformed)
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
            groups: self.groups(claims.groups.as_deref())?,
            token_id: claims.jti.as_deref().map(token_id).transpose()?,
            issued: claims.iat.unwrap_or_default(),
            skills: claims.skills.as_deref().map(skills).transpose()?,
        })
    }

    fn groups(&self, claim: Option<&[String]>) -> Result<Option<Arc<GroupPatterns>>, TokenError> {
        let Some(patterns) = claim.filter(|patterns| !patterns.is_empty()) else {
            return Ok(None);
        };
        let last = self.groups.load();
        if last.iter().eq(patterns) {
            return Ok(Some(Arc::clone(&last)));
        }
        let patterns = GroupPatterns::new(patterns).map_err(|_| TokenError::Groups)?;
        let patterns = Arc::new(patterns);
        self.groups.store(Arc::clone(&patterns));
        Ok(Some(patterns))
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

/// An id that cannot be named when the token is taken back would be a way around that.
fn token_id(id: &str) -> Result<Arc<str>, TokenError> {
    let sound = (1..=MAX_TOKEN_ID_BYTES).contains(&id.len()) && !id.chars().any(char::is_control);
    sound.then(|| id.into()).ok_or(TokenError::TokenId)
}

fn skills(names: &[String]) -> Result<Arc<Queue>, TokenError> {
    let skills = Queue::of(names).map_err(|_| TokenError::Skills)?;
    Ok(Arc::new(skills))
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

/// Unix seconds; a clock before 1970 counts as 1970, where every token is "not valid yet" or lives too long.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_say_the_same_of_groups_share_it_and_others_do_not() {
        let security = SecurityConfig::default();
        let key = "0123456789abcdef0123456789abcdef";
        let keys = KeySet::one(security.jwt.algorithm, key).unwrap();
        let settings = JwtSettings::from_config(&security);
        let verifier = TokenVerifier::new(settings, Keys::Fixed(Arc::new(keys)));
        let groups = |user: &str, patterns: &[&str]| {
            let token = NewToken {
                groups: GroupPatterns::new(patterns).unwrap(),
                user: UserId::new(user).unwrap(),
                user_type: DEFAULT_USER_TYPE.to_owned(),
                scopes: Scopes::NONE,
                skills: Queue::default(),
                device: None,
                lifetime: Duration::from_mins(1),
                key_id: None,
            };
            let token = verifier.mint(&token).unwrap();
            verifier.verify(&token).unwrap().groups
        };
        let of = |groups: &Option<Arc<GroupPatterns>>| -> Vec<String> {
            let groups = groups.iter().flat_map(|groups| groups.iter());
            groups.map(str::to_owned).collect()
        };
        let (alice, bob) = (groups("alice", &["a", "b-*"]), groups("bob", &["a", "b-*"]));
        assert_eq!(of(&alice), ["a", "b-*"]);
        assert!(Arc::ptr_eq(&alice.unwrap(), &bob.unwrap()));
        for other in [&["a"][..], &["b-*", "a"], &["a", "b-*", "c"], &["*"]] {
            assert_eq!(of(&groups("carol", other)), other);
        }
        assert_eq!(groups("dan", &[]), None);
    }
}
