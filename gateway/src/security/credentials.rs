//! Where a request may carry its token: the `Authorization` header, a subprotocol, or the query if that is allowed.
//!
//! Pure on headers and URI; finding a token is not believing it. A request with two tokens is refused, since a proxy and
//! the gateway could disagree on which one counts. Called by the transports at the handshake.

use std::fmt;
use std::sync::Arc;

use axum::extract::Query;
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;

use super::{Identity, Scopes};
use crate::protocol::UserId;

/// What precedes the token in a subprotocol: browsers can set no header, but they can offer subprotocols.
pub const BEARER_SUBPROTOCOL: &str = "wsc.bearer.";

/// Whether a token may come as `?access_token=`, where every proxy on the way logs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryToken {
    /// As `security.allowQueryToken: true` says.
    Allowed,
    /// The default.
    Refused,
}

/// A token's text as it came. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

impl BearerToken {
    /// The text, for the verifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("BearerToken(..)")
    }
}

/// Why a request's credentials are refused before anyone looks into the token. The text is for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// `Authorization` is there, but is no bearer token.
    #[error("the Authorization header is not `Bearer TOKEN`")]
    Authorization,
    /// More than one token.
    #[error("the request carries more than one token")]
    Several,
    /// A token in the query, which this gateway does not take.
    #[error(
        "a token in the query is not allowed here, send it as `Authorization: Bearer` or as a subprotocol"
    )]
    InQuery,
    /// The query cannot be read, or a parameter occurs twice.
    #[error("the query string is malformed")]
    Query,
    /// `user_id` is missing or cannot be a user id.
    #[error("the parameter user_id is missing, empty, too long or not printable")]
    User,
    /// `user_type` is not let in.
    #[error("the parameter user_type is not allowed")]
    UserType,
}

impl CredentialError {
    /// The word for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Several => "several_tokens",
            Self::InQuery => "token_in_query",
            Self::Query => "query",
            Self::User => "user_id",
            Self::UserType => "user_type",
        }
    }
}

/// The subprotocols a client offers, in its order of preference.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// The one token of a request; `Ok(None)`: it carries none and may still send an `auth` frame.
pub fn token_from_request(
    headers: &HeaderMap,
    uri: &Uri,
    query: QueryToken,
) -> Result<Option<BearerToken>, CredentialError> {
    let mut found = Vec::with_capacity(1);
    for value in headers.get_all(AUTHORIZATION) {
        let text = value.to_str().map_err(|_| CredentialError::Authorization)?;
        found.push(
            bearer(text)
                .ok_or(CredentialError::Authorization)?
                .to_owned(),
        );
    }
    let offered = subprotocols(headers).filter_map(|name| name.strip_prefix(BEARER_SUBPROTOCOL));
    found.extend(offered.map(str::to_owned));
    if let Some(token) = parameters(uri)?.access_token {
        match query {
            QueryToken::Allowed => found.push(token),
            QueryToken::Refused => return Err(CredentialError::InQuery),
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop().map(BearerToken)),
        _ => Err(CredentialError::Several),
    }
}

/// Who the query says, for `security.enableAuth: false`: `?user_id=ID&user_type=TYPE`, the type `customer` if not given.
pub fn identity_from_query(
    uri: &Uri,
    allowed_user_types: &[String],
) -> Result<Identity, CredentialError> {
    let Parameters {
        user_id, user_type, ..
    } = parameters(uri)?;
    identity_of(user_id.as_deref(), user_type.as_deref(), allowed_user_types)
}

/// The same from wherever a request says it.
pub fn identity_of(
    user: Option<&str>,
    user_type: Option<&str>,
    allowed_user_types: &[String],
) -> Result<Identity, CredentialError> {
    let user = user.ok_or(CredentialError::User)?;
    let user_type = user_type.unwrap_or("customer");
    if !allowed_user_types.iter().any(|known| known == user_type) {
        return Err(CredentialError::UserType);
    }
    Ok(Identity {
        user: UserId::new(user).map_err(|_| CredentialError::User)?,
        user_type: Arc::from(user_type),
        device: None,
        expires: None,
        skills: None,
        scopes: Scopes::NONE,
        groups: None,
        token_id: None,
        issued: 0,
    })
}

/// RFC 6750 §2.1: the scheme in any case, one space, one token.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let sound = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ');
    sound.then_some(token)
}

#[derive(Deserialize)]
struct Parameters {
    access_token: Option<String>,
    user_id: Option<String>,
    user_type: Option<String>,
}

fn parameters(uri: &Uri) -> Result<Parameters, CredentialError> {
    let Query(parameters) = Query::try_from_uri(uri).map_err(|_| CredentialError::Query)?;
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn token(
        pairs: &[(&'static str, &str)],
        uri: &str,
        query: QueryToken,
    ) -> Result<Option<String>, CredentialError> {
        let found = token_from_request(&headers(pairs), &uri.parse().unwrap(), query)?;
        Ok(found.map(|token| token.as_str().to_owned()))
    }

    #[test]
    fn a_token_is_found_in_the_header() {
        let found = |value: &str| token(&[("authorization", value)], "/ws", QueryToken::Refused);
        assert_eq!(found("Bearer a.b.c"), Ok(Some("a.b.c".to_owned())));
        assert_eq!(found("bearer a.b.c"), Ok(Some("a.b.c".to_owned())));
        for value in [
            "Basic eDp5",
            "Bearer",
            "Bearer ",
            "a.b.c",
            "Bearer a b",
            "Bearera.b.c",
        ] {
            assert_eq!(
                found(value),
                Err(CredentialError::Authorization),
                "{value:?}"
            );
        }
    }

    #[test]
    fn a_token_is_found_among_the_subprotocols() {
        let one_line = [("sec-websocket-protocol", "wsc.v1.json, wsc.bearer.a.b.c")];
        let two_lines = [
            ("sec-websocket-protocol", "wsc.bearer.a.b.c"),
            ("sec-websocket-protocol", "wsc.v1.json"),
        ];
        for pairs in [&one_line[..], &two_lines] {
            let found = token(pairs, "/ws", QueryToken::Refused);
            assert_eq!(found, Ok(Some("a.b.c".to_owned())));
        }
        let names = headers(&one_line);
        assert_eq!(subprotocols(&names).next(), Some("wsc.v1.json"));
    }

    #[test]
    fn a_token_in_the_query_is_taken_only_where_that_is_allowed() {
        let uri = "/ws?access_token=a.b.c&x=1";
        assert_eq!(
            token(&[], uri, QueryToken::Allowed),
            Ok(Some("a.b.c".to_owned()))
        );
        assert_eq!(
            token(&[], uri, QueryToken::Refused),
            Err(CredentialError::InQuery)
        );
        assert_eq!(token(&[], "/ws?x=1", QueryToken::Refused), Ok(None));
    }

    #[test]
    fn a_request_with_two_tokens_is_refused() {
        let both = [
            ("authorization", "Bearer a.b.c"),
            ("sec-websocket-protocol", "wsc.bearer.d.e.f"),
        ];
        assert_eq!(
            token(&both, "/ws", QueryToken::Refused),
            Err(CredentialError::Several)
        );
        let twice = [
            ("authorization", "Bearer a.b.c"),
            ("authorization", "Bearer a.b.c"),
        ];
        assert_eq!(
            token(&twice, "/ws", QueryToken::Refused),
            Err(CredentialError::Several)
        );
        let uri = "/ws?access_token=a&access_token=b";
        assert_eq!(
            token(&[], uri, QueryToken::Allowed),
            Err(CredentialError::Query)
        );
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", BearerToken("secret".to_owned())).contains("secret"));
    }

    #[test]
    fn without_authentication_the_query_names_the_user() {
        let types = ["customer".to_owned(), "agent".to_owned()];
        let named = |uri: &str| identity_from_query(&uri.parse().unwrap(), &types);
        let alice = named("/ws?user_id=alice%20b").unwrap();
        assert_eq!(
            (alice.user.as_str(), &*alice.user_type),
            ("alice b", "customer")
        );
        assert_eq!(
            &*named("/ws?user_id=a&user_type=agent").unwrap().user_type,
            "agent"
        );
        assert_eq!(
            named("/ws?user_id=a&user_type=root"),
            Err(CredentialError::UserType)
        );
        assert_eq!(named("/ws?user_id=").unwrap_err(), CredentialError::User);
        assert_eq!(named("/ws").unwrap_err(), CredentialError::User);
        assert!(alice.scopes.is_empty() && alice.expires_at().is_none());
    }
}
