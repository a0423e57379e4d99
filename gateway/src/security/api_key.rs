//! `ApiKey` and `ApiKeyGuard`: the key that backends show to the HTTP and the gRPC API.
//!
//! The comparison takes the same time whatever is shown, and the key has no way out of its type: no Display, no Debug
//! of the value, no accessor. Called by the two skins of the API only.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

/// The shortest key taken: 128 bits written in hexadecimal are 32 bytes; 16 leaves room for denser alphabets.
const MIN_BYTES: usize = 16;
/// The longest text that is looked at; headers are bounded, this bounds the comparison.
const MAX_BYTES: usize = 1024;

/// The header beside `Authorization` in which a key may come.
const KEY_HEADER: &str = "x-api-key";

/// The key of the API.
#[derive(Clone)]
pub struct ApiKey(Arc<[u8]>);

impl ApiKey {
    /// Takes a key of 16 to 1024 bytes.
    pub fn new(key: &[u8]) -> Result<Self, ApiKeyError> {
        if (MIN_BYTES..=MAX_BYTES).contains(&key.len()) {
            Ok(Self(key.into()))
        } else {
            Err(ApiKeyError::Length(key.len()))
        }
    }

    /// Whether these are the key's bytes. The time tells the length at most.
    fn is(&self, shown: &[u8]) -> bool {
        self.0.ct_eq(shown).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ApiKey(..)")
    }
}

/// Why a key, or a call, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// The configured key cannot be used.
    #[error("api-key has {0} bytes, allowed are {MIN_BYTES} to {MAX_BYTES}")]
    Length(usize),
    /// This gateway has no key, so that nobody can show it.
    #[error("this gateway has no API key configured, calls are refused")]
    NotConfigured,
    /// The call shows none.
    #[error("show the API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`")]
    Missing,
    /// The call shows another one.
    #[error("the API key is wrong")]
    Wrong,
}

/// Judges calls by the key they show. Clones share their keys.
#[derive(Clone, Debug)]
pub struct ApiKeyGuard(Arc<ArcSwap<Vec<ApiKey>>>);

impl ApiKeyGuard {
    /// Any of these keys will do; with none, every call is refused.
    pub fn new(keys: impl IntoIterator<Item = ApiKey>) -> Self {
        let keys: Vec<ApiKey> = keys.into_iter().collect();
        Self(Arc::new(ArcSwap::from_pointee(keys)))
    }

    /// Takes other keys from now on.
    pub fn replace(&self, keys: Vec<ApiKey>) {
        self.0.store(Arc::new(keys));
    }

    /// Judges a call by its headers (gRPC metadata are headers too).
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiKeyError> {
        let keys = self.0.load();
        if keys.is_empty() {
            return Err(ApiKeyError::NotConfigured);
        }
        let shown = shown(headers).ok_or(ApiKeyError::Missing)?;
        // Each is compared, whichever fits: the time does not tell which one it was.
        let fits = keys.iter().filter(|key| key.is(shown)).count();
        if fits > 0 {
            Ok(())
        } else {
            Err(ApiKeyError::Wrong)
        }
    }
}

fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get(KEY_HEADER) {
        return Some(key.as_bytes());
    }
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef-key";

    fn guard() -> ApiKeyGuard {
        ApiKeyGuard::new(Some(ApiKey::new(KEY.as_bytes()).unwrap()))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn check(pairs: &[(&'static str, &str)]) -> Result<(), ApiKeyError> {
        guard().check(&headers(pairs))
    }

    #[test]
    fn the_key_is_taken_from_either_header() {
        assert_eq!(check(&[("x-api-key", KEY)]), Ok(()));
        assert_eq!(
            check(&[("authorization", &format!("Bearer {KEY}"))]),
            Ok(())
        );
        assert_eq!(
            check(&[("authorization", &format!("bearer  {KEY}"))]),
            Ok(())
        );
    }

    #[test]
    fn any_other_key_is_wrong() {
        for other in [
            "",
            "0",
            "0123456789abcdef-kez",
            "0123456789abcdef-key1",
            "0123456789ABCDEF-KEY",
        ] {
            assert_eq!(
                check(&[("x-api-key", other)]),
                Err(ApiKeyError::Wrong),
                "{other:?}"
            );
            let bearer = format!("Bearer {other}");
            let judged = check(&[("authorization", &bearer)]);
            assert_eq!(judged, Err(ApiKeyError::Wrong), "{other:?}");
        }
    }

    #[test]
    fn no_key_or_another_scheme_is_missing() {
        assert_eq!(check(&[]), Err(ApiKeyError::Missing));
        let basic = format!("Basic {KEY}");
        assert_eq!(
            check(&[("authorization", &basic)]),
            Err(ApiKeyError::Missing)
        );
        assert_eq!(check(&[("authorization", KEY)]), Err(ApiKeyError::Missing));
    }

    #[test]
    fn without_a_configured_key_even_an_empty_one_is_refused() {
        let guard = ApiKeyGuard::new(None);
        for pairs in [&[][..], &[("x-api-key", "")], &[("x-api-key", KEY)]] {
            assert_eq!(
                guard.check(&headers(pairs)),
                Err(ApiKeyError::NotConfigured)
            );
        }
    }

    #[test]
    fn keys_are_replaced_without_a_moment_in_which_neither_fits() {
        let guard = guard();
        let show = |key: &str| guard.check(&headers(&[("x-api-key", key)]));
        let next = "the-next-key-of-the-api";
        assert_eq!(show(next), Err(ApiKeyError::Wrong));
        let keys = [next, KEY].map(|key| ApiKey::new(key.as_bytes()).unwrap());
        guard.replace(keys.to_vec());
        assert_eq!((show(KEY), show(next)), (Ok(()), Ok(())));
        guard.replace(vec![keys[0].clone()]);
        assert_eq!((show(KEY), show(next)), (Err(ApiKeyError::Wrong), Ok(())));
    }

    #[test]
    fn a_short_key_is_refused_and_no_key_is_printed() {
        assert_eq!(ApiKey::new(b"short").unwrap_err(), ApiKeyError::Length(5));
        assert!(!format!("{:?}", guard()).contains("0123"));
    }
}
