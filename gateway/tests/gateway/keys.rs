//! The keys of tokens: every algorithm with its own kind of key, none with another's, several at once, and sets of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use wsc_config::{JwtAlgorithm, SecurityConfig};
use wsc_gateway::group::GroupPatterns;
use wsc_gateway::protocol::UserId;
use wsc_gateway::security::{
    JwtSettings, KeyError, KeySet, Keys, NewToken, Scopes, TokenError, TokenVerifier,
};

use crate::issuer::{Signer, openssl, p256, public, set};

const SHARED: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn verifier(algorithm: JwtAlgorithm, keys: KeySet) -> TokenVerifier {
    let settings = JwtSettings {
        algorithm,
        ..JwtSettings::from_config(&SecurityConfig::default())
    };
    TokenVerifier::new(settings, Keys::Fixed(Arc::new(keys)))
}

fn one(algorithm: JwtAlgorithm, text: &str) -> TokenVerifier {
    verifier(algorithm, KeySet::one(algorithm, text).unwrap())
}

fn mint(verifier: &TokenVerifier, user: &str) -> Result<String, TokenError> {
    verifier.mint(&NewToken {
        groups: GroupPatterns::default(),
        user: UserId::new(user).unwrap(),
        user_type: "customer".to_owned(),
        scopes: Scopes::NONE,
        skills: wsc_gateway::ticket::Queue::default(),
        device: None,
        lifetime: Duration::from_mins(1),
        key_id: None,
    })
}

/// The private key of an algorithm.
fn private(algorithm: JwtAlgorithm, rsa: &str) -> String {
    match algorithm {
        JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512 => SHARED.to_owned(),
        JwtAlgorithm::Es256 => p256(),
        JwtAlgorithm::Es384 => {
            openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "")
        }
        JwtAlgorithm::EdDsa => openssl("genpkey -algorithm ed25519", ""),
        _ => rsa.to_owned(),
    }
}

#[test]
fn every_algorithm_signs_with_its_private_key_and_checks_with_the_public_one() {
    let rsa = openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "");
    for algorithm in JwtAlgorithm::ALL {
        let private = private(*algorithm, &rsa);
        let shown = match algorithm.shared_key_bytes() {
            Some(_) => private.clone(),
            None => public(&private),
        };
        let token = mint(&one(*algorithm, &private), "alice").unwrap();
        let judge = one(*algorithm, &shown);
        assert_eq!(
            judge.verify(&token).unwrap().user.as_str(),
            "alice",
            "{algorithm}"
        );
        let (message, signature) = token.rsplit_once('.').unwrap();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let broken = format!("{message}.{flipped}{}", &signature[1..]);
        assert_eq!(
            judge.verify(&broken),
            Err(TokenError::Signature),
            "{algorithm}"
        );
        assert_eq!(
            mint(&judge, "eve").is_ok(),
            algorithm.shared_key_bytes().is_some(),
            "{algorithm}: a public key signs nothing"
        );
        // Pinned: what this one takes is taken by none of the others.
        let other = match algorithm {
            JwtAlgorithm::Hs512 => one(JwtAlgorithm::Hs384, SHARED),
            _ => one(JwtAlgorithm::Hs512, SHARED),
        };
        assert_eq!(
            other.verify(&token),
            Err(TokenError::Algorithm),
            "{algorithm}"
        );
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_one() {
    let private = p256();
    let public = public(&private);
    for algorithm in [
        JwtAlgorithm::Hs256,
        JwtAlgorithm::Hs384,
        JwtAlgorithm::Hs512,
    ] {
        assert!(matches!(
            KeySet::one(algorithm, &public),
            Err(KeyError::NotShared { .. })
        ));
    }
    let judge = one(JwtAlgorithm::Es256, &public);
    let claims = json!({"sub": "eve", "iat": 1, "exp": 4_000_000_000_u64});
    let key = EncodingKey::from_secret(public.as_bytes());
    let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    assert_eq!(judge.verify(&confused), Err(TokenError::Algorithm));
    // The same signature under the name of the right algorithm.
    let (_, rest) = confused.split_once('.').unwrap();
    let header = Signer::new("x").token("eve");
    let relabelled = format!("{}.{rest}", header.split_once('.').unwrap().0);
    assert_eq!(judge.verify(&relabelled), Err(TokenError::Signature));
}

#[test]
fn a_key_that_does_not_fit_its_algorithm_is_refused_without_being_shown() {
    let weak = openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024", "");
    let certificate = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    let cases = [
        (JwtAlgorithm::Rs256, public(&weak)),
        (JwtAlgorithm::Rs256, public(&p256())),
        (JwtAlgorithm::Es384, public(&p256())),
        (JwtAlgorithm::EdDsa, public(&p256())),
        (JwtAlgorithm::Es256, certificate.cert.pem()),
        (JwtAlgorithm::Es256, SHARED.to_owned()),
        (
            JwtAlgorithm::Ps256,
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".to_owned(),
        ),
    ];
    for (algorithm, text) in cases {
        let error = KeySet::one(algorithm, &text).err().unwrap();
        assert!(
            matches!(error, KeyError::Unfit { .. }),
            "{algorithm}: {error}"
        );
        let shown = error.to_string();
        assert!(
            shown.starts_with("jwt-key ") && !shown.contains("AAAA"),
            "{shown}"
        );
    }
}

#[test]
fn keys_follow_each_other_without_a_gap() {
    let (old, new, named) = (p256(), p256(), p256());
    let token = |private: &str| mint(&one(JwtAlgorithm::Es256, private), "alice").unwrap();
    let others = BTreeMap::from([
        ("previous".to_owned(), public(&old)),
        ("k7".to_owned(), public(&named)),
    ]);
    let keys = KeySet::files(JwtAlgorithm::Es256, &public(&new), &others).unwrap();
    let judge = verifier(JwtAlgorithm::Es256, keys);
    for private in [&old, &new] {
        assert!(judge.verify(&token(private)).is_ok());
    }
    assert_eq!(
        judge.verify(&token(&named)),
        Err(TokenError::Signature),
        "a key with a name is only for tokens that name it"
    );
    let wrong = BTreeMap::from([("next".to_owned(), SHARED.to_owned())]);
    let error = KeySet::files(JwtAlgorithm::Es256, &public(&new), &wrong)
        .err()
        .unwrap();
    assert!(error.to_string().starts_with("jwt-key-next "), "{error}");
}

fn judge_by(document: &str) -> TokenVerifier {
    let set = KeySet::jwks(JwtAlgorithm::Es256, "jwt-jwks", document.as_bytes()).unwrap();
    verifier(JwtAlgorithm::Es256, set)
}

#[test]
fn a_token_picks_its_key_from_a_set_by_name() {
    let (one, two, stranger) = (Signer::new("k1"), Signer::new("k2"), Signer::new("k3"));
    let judge = judge_by(&set(&[&one, &two]));
    assert!(judge.verify(&one.token("alice")).is_ok());
    assert!(judge.verify(&two.token("alice")).is_ok());
    let cases = [
        (stranger.token("eve"), TokenError::UnknownKey),
        (stranger.token_as("eve", Some("k1")), TokenError::Signature),
        (one.token_as("eve", Some("k2")), TokenError::Signature),
        (one.token_as("eve", Some("")), TokenError::UnknownKey),
        (one.token_as("eve", None), TokenError::NoKeyId),
    ];
    for (token, expected) in cases {
        assert_eq!(judge.verify(&token), Err(expected));
    }
    let single = judge_by(&set(&[&one]));
    assert!(
        single.verify(&one.token_as("alice", None)).is_ok(),
        "there is only one"
    );
}

#[test]
fn a_key_of_a_set_is_only_used_for_what_it_says() {
    let signer = Signer::new("k1");
    for (change, taken) in [
        (
            json!({"use": "sig", "alg": "ES256", "key_ops": ["verify"]}),
            true,
        ),
        (json!({"use": "enc"}), false),
        (json!({"alg": "ES384"}), false),
        (json!({"alg": "ECDH-ES"}), false),
        (json!({"key_ops": ["sign"]}), false),
        (json!({"kty": "oct", "k": "AAAA"}), false),
        (json!({"crv": "secp256k1"}), false),
        (json!({"x": 7}), false),
    ] {
        let mut key = signer.jwk();
        for (name, value) in change.as_object().unwrap() {
            key[name] = value.clone();
        }
        let strange = json!({"kty": "new-kind", "kid": "?"});
        let document = json!({"keys": [strange, 5, key]}).to_string();
        let judged = judge_by(&document).verify(&signer.token("alice"));
        assert_eq!(judged.is_ok(), taken, "{change}");
    }
    let rsa = openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024", "");
    let rsa = EncodingKey::from_rsa_pem(rsa.as_bytes()).unwrap();
    let weak = jsonwebtoken::jwk::Jwk::from_encoding_key(&rsa, Algorithm::RS256).unwrap();
    let document = json!({"keys": [weak]}).to_string();
    let set = KeySet::jwks(JwtAlgorithm::Rs256, "jwt-jwks", document.as_bytes()).unwrap();
    assert!(set.is_empty(), "1024 bits");
}

#[test]
fn what_is_no_set_is_refused_by_the_name_of_its_file() {
    let many: Vec<Value> = (0..65).map(|_| json!({})).collect();
    for document in [
        "",
        "{}",
        "[]",
        r#"{"keys": 5}"#,
        &json!({"keys": many}).to_string(),
    ] {
        let error = KeySet::jwks(JwtAlgorithm::Es256, "jwt-jwks", document.as_bytes());
        assert!(
            error
                .err()
                .unwrap()
                .to_string()
                .starts_with("jwt-jwks is no JWKS"),
            "{document}"
        );
    }
    let none = KeySet::jwks_of_use(JwtAlgorithm::Es256, "jwt-jwks", br#"{"keys": []}"#);
    assert!(matches!(none, Err(KeyError::NoneFits { .. })));
}

#[test]
fn what_a_token_brings_along_is_no_key() {
    let (good, evil) = (Signer::new("k1"), Signer::new("k1"));
    let judge = judge_by(&set(&[&good]));
    let key = EncodingKey::from_ec_pem(p256().as_bytes()).unwrap();
    let claims = json!({"sub": "eve", "iat": 1, "exp": 4_000_000_000_u64});
    for kid in [None, Some("k1".to_owned())] {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = kid;
        header.jwk = serde_json::from_value(evil.jwk()).ok();
        header.jku = Some("https://evil.example/jwks.json".to_owned());
        header.x5u = Some("https://evil.example/cert.pem".to_owned());
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        assert_eq!(judge.verify(&token), Err(TokenError::Signature));
    }
}
