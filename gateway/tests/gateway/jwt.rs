//! Tokens that must be refused, each with the reason that is given, and those that must not.

#![allow(
    clippy::needless_pass_by_value,
    reason = "a test's `json!` is written where it is used"
)]

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use serde_json::{Value, json};
use wsc_config::JwtAlgorithm;
use wsc_gateway::group::GroupPatterns;
use wsc_gateway::protocol::UserId;
use wsc_gateway::security::{
    JwtSettings, KeyError, KeySet, Keys, NewToken, Scopes, TokenError, TokenVerifier,
};
use wsc_gateway::ticket::Queue;

const NOW: u64 = 1_800_000_000;
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn settings() -> JwtSettings {
    JwtSettings {
        algorithm: JwtAlgorithm::Hs256,
        issuer: None,
        audience: None,
        leeway: Duration::from_mins(1),
        max_lifetime: Duration::from_hours(1),
        allowed_user_types: vec!["customer".to_owned(), "agent".to_owned()],
    }
}

fn judge(settings: JwtSettings) -> TokenVerifier {
    let key = std::str::from_utf8(KEY).unwrap();
    let keys = KeySet::one(settings.algorithm, key).unwrap();
    TokenVerifier::new(settings, Keys::Fixed(Arc::new(keys)))
}

fn verifier() -> TokenVerifier {
    judge(settings())
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| {
            word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        for at in 0..=chunk.len() {
            let index = usize::try_from(word >> (18 - 6 * at) & 63).unwrap();
            text.push(char::from(ALPHABET[index]));
        }
    }
    text
}

/// A token with any header and payload text, signed by HS256 with any key.
fn forge(header: &str, payload: &str, key: &[u8]) -> String {
    let message = format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(payload.as_bytes())
    );
    let key = EncodingKey::from_secret(key);
    let signature = sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

/// A well-signed token whose claims are the usual ones changed by `changes`; null removes.
fn signed(changes: Value) -> String {
    let mut claims = json!({"sub": "alice", "iat": NOW, "exp": NOW + 600});
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    forge(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), KEY)
}

fn refusal(token: &str) -> Option<TokenError> {
    verifier().verify_at(token, NOW).err()
}

fn claims(changes: Value) -> Option<TokenError> {
    refusal(&signed(changes))
}

#[test]
fn a_good_token_names_the_user() {
    let token =
        signed(json!({"user_type": "agent", "scope": "broadcast email", "device": "phone"}));
    let identity = verifier().verify_at(&token, NOW).unwrap();
    assert_eq!(identity.user.as_str(), "alice");
    assert_eq!(&*identity.user_type, "agent");
    assert_eq!(identity.scopes, Scopes::BROADCAST);
    assert_eq!(identity.device.as_deref(), Some("phone"));
    assert_eq!(identity.expires_at(), Some(NOW + 660), "exp and the leeway");
}

#[test]
fn the_user_type_is_customer_when_the_token_names_none() {
    let identity = verifier().verify_at(&signed(json!({})), NOW).unwrap();
    assert_eq!(&*identity.user_type, "customer");
    assert!(identity.scopes.is_empty());
}

#[test]
fn the_algorithm_comes_from_the_configuration_alone() {
    let payload = json!({"sub": "alice", "exp": NOW + 600}).to_string();
    for alg in [
        "none", "None", "NONE", "", "hs256", "HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256",
    ] {
        let header = json!({"alg": alg}).to_string();
        assert_eq!(
            refusal(&forge(&header, &payload, KEY)),
            Some(TokenError::Algorithm),
            "{alg:?}"
        );
        let unsigned = format!(
            "{}.{}.",
            base64url(header.as_bytes()),
            base64url(payload.as_bytes())
        );
        assert_eq!(
            refusal(&unsigned),
            Some(TokenError::Algorithm),
            "{alg:?} unsigned"
        );
    }
    let key = EncodingKey::from_secret(KEY);
    let header = jsonwebtoken::Header::new(Algorithm::HS512);
    let hs512 =
        jsonwebtoken::encode(&header, &json!({"sub": "alice", "exp": NOW + 600}), &key).unwrap();
    assert_eq!(
        refusal(&hs512),
        Some(TokenError::Algorithm),
        "well signed by HS512"
    );
}

#[test]
fn the_key_comes_from_the_configuration_alone() {
    let payload = json!({"sub": "alice", "iat": NOW, "exp": NOW + 600}).to_string();
    let evil = b"evilevilevilevilevilevilevilevil";
    let embedded = json!({"alg": "HS256", "kid": "../../dev/null", "jku": "https://evil.net/jwks",
        "x5u": "https://evil.net/x5u", "jwk": {"kty": "oct", "k": base64url(evil)}});
    let header = embedded.to_string();
    assert_eq!(
        refusal(&forge(&header, &payload, evil)),
        Some(TokenError::Signature)
    );
    assert_eq!(
        refusal(&forge(&header, &payload, KEY)),
        None,
        "ours counts whatever the header says"
    );
    assert_eq!(
        refusal(&forge(r#"{"alg":"HS256"}"#, &payload, b"")),
        Some(TokenError::Signature)
    );
}

#[test]
fn a_changed_token_is_refused() {
    let token = signed(json!({}));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let other = base64url(
        json!({"sub": "mallory", "iat": NOW, "exp": NOW + 600})
            .to_string()
            .as_bytes(),
    );
    assert_eq!(
        refusal(&format!("{header}.{other}.{signature}")),
        Some(TokenError::Signature)
    );
    assert_eq!(refusal(&format!("{message}.")), Some(TokenError::Signature));
    assert_eq!(
        refusal(&format!("{message}.AAAA")),
        Some(TokenError::Signature)
    );
}

#[test]
fn a_header_that_was_good_makes_no_other_token_good() {
    let verifier = verifier();
    let header = r#"{"typ":"JWT","alg":"HS256"}"#;
    let payload = json!({"sub": "alice", "iat": NOW, "exp": NOW + 600}).to_string();
    let good = forge(header, &payload, KEY);
    let judged = |token: &str| verifier.verify_at(token, NOW).map(|identity| identity.user);
    assert!(judged(&good).is_ok());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    for (token, error) in [
        (
            forge(header, &payload, b"evilevilevilevilevilevilevilevil"),
            TokenError::Signature,
        ),
        (forge(header, "{}", KEY), TokenError::NoExpiry),
        (forge(header, "[", KEY), TokenError::Malformed),
        (format!("{signed}."), TokenError::Signature),
        (format!("{signed}.%"), TokenError::Malformed),
        (format!("{signed}.a.b"), TokenError::Malformed),
        (format!("{head}..x"), TokenError::Malformed),
        (head.to_owned(), TokenError::Malformed),
        (
            forge(r#"{"alg":"none"}"#, &payload, KEY),
            TokenError::Algorithm,
        ),
        (
            forge(r#"{"alg":"HS512"}"#, &payload, KEY),
            TokenError::Algorithm,
        ),
        (
            forge(r#"{"alg":"HS256","crit":["x"]}"#, &payload, KEY),
            TokenError::Critical,
        ),
    ] {
        assert_eq!(judged(&token), Err(error), "{token}");
        assert!(judged(&good).is_ok(), "after {token}");
    }
}

#[test]
fn what_is_no_token_is_malformed() {
    let token = signed(json!({}));
    let long = format!("{token}.x");
    let padded = format!("{token}==");
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "not a token",
        "ey.ey.ey",
        &long,
        &padded,
        "\0.\0.\0",
    ] {
        assert_eq!(refusal(text), Some(TokenError::Malformed), "{text:?}");
    }
    for payload in [
        "",
        "[]",
        "null",
        "{",
        r#"{"sub":1,"exp":9}"#,
        r#"{"sub":"a","sub":"b","exp":1800000600}"#,
    ] {
        let token = forge(r#"{"alg":"HS256"}"#, payload, KEY);
        assert_eq!(refusal(&token), Some(TokenError::Malformed), "{payload:?}");
    }
    assert_eq!(
        refusal(&forge("{}", "{}", KEY)),
        Some(TokenError::Malformed)
    );
}

#[test]
fn an_oversized_token_is_refused_before_it_is_read() {
    assert_eq!(
        refusal(&"a".repeat(8 * 1024 + 1)),
        Some(TokenError::TooLong)
    );
    assert_eq!(
        claims(json!({"filler": "x".repeat(8 * 1024)})),
        Some(TokenError::TooLong)
    );
}

#[test]
fn a_critical_extension_is_refused() {
    let payload = json!({"sub": "alice", "exp": NOW + 600}).to_string();
    let token = forge(
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        &payload,
        KEY,
    );
    assert_eq!(refusal(&token), Some(TokenError::Critical));
}

#[test]
fn times_are_judged_with_a_minute_of_leeway() {
    let table = [
        (json!({"exp": null}), Some(TokenError::NoExpiry)),
        (json!({"exp": 0}), Some(TokenError::Expired)),
        (
            json!({"iat": NOW - 600, "exp": NOW - 60}),
            Some(TokenError::Expired),
        ),
        (json!({"iat": NOW - 600, "exp": NOW - 59}), None),
        (json!({"exp": -1}), Some(TokenError::Malformed)),
        (json!({"exp": "1800000600"}), Some(TokenError::Malformed)),
        (json!({"exp": 1e300}), Some(TokenError::Malformed)),
        (json!({"exp": 1_800_000_600.5}), None),
        (json!({"exp": u64::MAX}), Some(TokenError::LivesTooLong)),
        (json!({"nbf": NOW + 60}), None),
        (json!({"nbf": NOW + 61}), Some(TokenError::NotYetValid)),
        (json!({"nbf": u64::MAX}), Some(TokenError::NotYetValid)),
        (json!({"iat": NOW + 61}), Some(TokenError::NotYetValid)),
        (json!({"exp": NOW + 3600}), None),
        (json!({"exp": NOW + 3601}), Some(TokenError::LivesTooLong)),
        (json!({"iat": null, "exp": NOW + 3660}), None),
        (
            json!({"iat": null, "exp": NOW + 3661}),
            Some(TokenError::LivesTooLong),
        ),
        (
            json!({"iat": NOW + 99_999, "exp": NOW + 100_000}),
            Some(TokenError::NotYetValid),
        ),
    ];
    for (changes, expected) in table {
        assert_eq!(claims(changes.clone()), expected, "{changes}");
    }
}

#[test]
fn who_and_as_what_is_checked() {
    let table = [
        (json!({"sub": null}), Some(TokenError::Subject)),
        (json!({"sub": ""}), Some(TokenError::Subject)),
        (json!({"sub": "x".repeat(128)}), None),
        (json!({"sub": "x".repeat(129)}), Some(TokenError::Subject)),
        (json!({"sub": "a\nb"}), Some(TokenError::Subject)),
        (json!({"user_type": "root"}), Some(TokenError::UserType)),
        (json!({"user_type": "admin"}), Some(TokenError::UserType)),
        (json!({"user_type": "Customer"}), Some(TokenError::UserType)),
        (json!({"user_type": ""}), Some(TokenError::UserType)),
        (json!({"device": ""}), Some(TokenError::Device)),
        (json!({"device": "x".repeat(129)}), Some(TokenError::Device)),
        (json!({"scope": ["broadcast"]}), Some(TokenError::Malformed)),
    ];
    for (changes, expected) in table {
        assert_eq!(claims(changes.clone()), expected, "{changes}");
    }
}

#[test]
fn issuer_and_audience_are_required_where_they_are_configured() {
    let strict = judge(JwtSettings {
        issuer: Some("https://id.example.com".to_owned()),
        audience: Some("chat".to_owned()),
        ..settings()
    });
    let iss = "https://id.example.com";
    let table = [
        (json!({"iss": iss, "aud": "chat"}), None),
        (json!({"iss": iss, "aud": ["mail", "chat"]}), None),
        (json!({"aud": "chat"}), Some(TokenError::Issuer)),
        (
            json!({"iss": "https://id.example.com.evil.net", "aud": "chat"}),
            Some(TokenError::Issuer),
        ),
        (json!({"iss": iss}), Some(TokenError::Audience)),
        (json!({"iss": iss, "aud": []}), Some(TokenError::Audience)),
        (
            json!({"iss": iss, "aud": ["mail"]}),
            Some(TokenError::Audience),
        ),
        (
            json!({"iss": iss, "aud": "chatter"}),
            Some(TokenError::Audience),
        ),
        (json!({"iss": iss, "aud": 7}), Some(TokenError::Malformed)),
    ];
    for (changes, expected) in table {
        let judged = strict.verify_at(&signed(changes.clone()), NOW).err();
        assert_eq!(judged, expected, "{changes}");
    }
}

#[test]
fn a_key_shorter_than_its_hash_is_refused() {
    let error = KeySet::one(JwtAlgorithm::Hs256, &"x".repeat(31))
        .err()
        .unwrap();
    assert_eq!(
        error,
        KeyError::Short {
            name: "jwt-key".to_owned(),
            bytes: 31,
            algorithm: JwtAlgorithm::Hs256,
            min: 32,
        }
    );
    assert!(error.to_string().contains("31 bytes") && error.to_string().contains("32"));
}

#[test]
fn a_minted_token_is_taken_until_it_is_over() {
    let verifier = judge(JwtSettings {
        issuer: Some("wsc".to_owned()),
        audience: Some("chat".to_owned()),
        ..settings()
    });
    let mut wanted = NewToken {
        user: UserId::new("bob").unwrap(),
        user_type: "agent".to_owned(),
        scopes: Scopes::BROADCAST.with(Scopes::ADMIN),
        groups: GroupPatterns::new(["room-*"]).unwrap(),
        skills: Queue::of(["billing"]).unwrap(),
        device: Some("laptop".to_owned()),
        lifetime: Duration::from_hours(1),
        key_id: None,
    };
    let token = verifier.mint_at(&wanted, NOW).unwrap();
    let identity = verifier.verify_at(&token, NOW + 3659).unwrap();
    assert_eq!(
        (
            identity.user.as_str(),
            identity.scopes,
            identity.skills.as_deref()
        ),
        ("bob", wanted.scopes, Some(&wanted.skills))
    );
    assert_eq!(identity.groups.as_deref(), Some(&wanted.groups));
    assert_eq!(
        verifier.verify_at(&token, NOW + 3660),
        Err(TokenError::Expired)
    );
    wanted.lifetime = Duration::from_secs(3601);
    assert_eq!(
        verifier.mint_at(&wanted, NOW),
        Err(TokenError::LivesTooLong)
    );
    wanted.user_type = "root".to_owned();
    wanted.lifetime = Duration::from_secs(1);
    assert_eq!(verifier.mint_at(&wanted, NOW), Err(TokenError::UserType));
}

#[test]
fn neither_token_nor_key_is_ever_printed() {
    let canary = "canary-7f3a";
    let token = signed(json!({"sub": format!("{canary}\n"), "device": canary}));
    let error = refusal(&token).unwrap();
    let printed = format!("{error} {error:?} {} {:?}", error.label(), verifier());
    assert!(
        !printed.contains(canary) && !printed.contains("0123456789abcdef"),
        "{printed}"
    );
}
