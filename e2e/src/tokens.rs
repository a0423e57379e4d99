//! Tokens for clients, signed with the key in a gateway's Secret, as an application's login service would.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

/// Life of a token: longer than any test.
const LIFE: Duration = Duration::from_hours(1);

/// Mints a token for `user` with the scopes in `scope` (separated by spaces).
pub fn mint(key: &[u8], user: &str, scope: &str) -> Result<String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    let claims = json!({
        "sub": user,
        "user_type": "customer",
        "scope": scope,
        "iat": now.as_secs(),
        "exp": (now + LIFE).as_secs(),
    });
    encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(key),
    )
    .context("signing a token")
}
