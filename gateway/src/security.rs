//! Who may come in, and as whom: tokens, API keys, origins.
//!
//! Everything here is pure: a request's headers or a token's text go in, an [`Identity`] or a reason to refuse comes out.
//! Nothing here opens a socket, keeps a session or logs; no error carries any part of a secret. Called by the transports
//! at the handshake, by the session for an `auth` frame, and by both skins of the API.

mod api_key;
mod claims;
mod credentials;
mod identity;
mod jwt;
mod origin;
mod sealer;

pub use api_key::{ApiKey, ApiKeyError, ApiKeyGuard};
pub use claims::NewToken;
pub use credentials::{
    BEARER_SUBPROTOCOL, BearerToken, CredentialError, QueryToken, identity_from_query,
    subprotocols, token_from_request,
};
pub use identity::{Identity, Scopes};
pub use jwt::{JwtSettings, KeyError, MIN_KEY_BYTES, TokenError, TokenVerifier};
pub use origin::OriginPolicy;
pub use sealer::{OpenError, SealKey, SealKeyError, SealKeys, Sealer};
