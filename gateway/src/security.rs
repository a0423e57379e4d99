//! Who may come in, and as whom: tokens, API keys, origins, addresses.
//!
//! Everything here is pure: a request's headers or a token's text go in, an [`Identity`] or a reason to refuse comes out.
//! Nothing here opens a socket, keeps a session or logs; no error carries any part of a secret. Called by the transports
//! at the handshake, by the session for an `auth` frame, and by both skins of the API.

mod addresses;
mod api_key;
mod claims;
mod credentials;
mod fetched_keys;
mod identity;
mod jwt;
mod key_set;
mod origin;
mod revocations;
mod sealer;
mod token_error;

pub use addresses::{AddressPolicy, AddressRefusal, ForwardedError, counted_as};
pub use api_key::{ApiKey, ApiKeyError, ApiKeyGuard};
pub use claims::NewToken;
pub use credentials::{
    BEARER_SUBPROTOCOL, BearerToken, CredentialError, QueryToken, identity_from_query, identity_of,
    subprotocols, token_from_request,
};
pub use fetched_keys::{FetchedKeys, Round};
pub use identity::{Grant, Identity, Scopes};
pub use jwt::{JwtSettings, Keys, TokenVerifier};
pub use key_set::{KeyError, KeySet};
pub use origin::OriginPolicy;
pub use revocations::{MAX_TOKEN_ID_BYTES, Revocation, Revocations, Revoked};
pub use sealer::{OpenError, SealKey, SealKeyError, SealKeys, Sealer};
pub use token_error::TokenError;
