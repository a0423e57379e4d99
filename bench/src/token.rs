//! Tokens for members, signed as the gateway expects them (HS256).

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// A token for an hour that lets `user` into every group.
pub fn mint(key: &str, user: &str) -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = serde_json::json!({
        "sub": user, "iat": now, "exp": now + 3600, "scope": "broadcast groups", "groups": ["*"],
    });
    let body = format!(
        "{}.{}",
        BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        BASE64.encode(claims.to_string())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).context("the token's key")?;
    mac.update(body.as_bytes());
    let signature = BASE64.encode(mac.finalize().into_bytes());
    Ok(format!("{body}.{signature}"))
}
