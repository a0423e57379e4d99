//! `Claims`: the claims of a token as they stand in it, before anything is believed.
//!
//! Only the shapes are checked here; what they mean is judged in `jwt`. A claim that occurs twice makes the token
//! malformed, since two readers could disagree on which one counts.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Scopes;
use crate::group::GroupPatterns;
use crate::protocol::UserId;
use crate::ticket::Queue;

/// A token to be made; the issuer, the audience and the times are added by the verifier that makes it.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The user.
    pub user: UserId,
    /// The user's type.
    pub user_type: String,
    /// What the user may do.
    pub scopes: Scopes,
    /// The groups that the user may join.
    pub groups: GroupPatterns,
    /// What the user can do, if it is an agent.
    pub skills: Queue,
    /// The device, if the token is for one.
    pub device: Option<String>,
    /// How long the token is good for.
    pub lifetime: Duration,
    /// The name of the key it is signed with (`kid`), where those who check it have several.
    pub key_id: Option<String>,
}

/// The claims this service reads.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    pub(super) exp: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    pub(super) nbf: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    pub(super) iat: Option<u64>,
    pub(super) iss: Option<String>,
    #[serde(default)]
    pub(super) aud: Audience,
    pub(super) user_type: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) skills: Option<Vec<String>>,
    pub(super) device: Option<String>,
    pub(super) jti: Option<String>,
}

/// The claims this service writes.
#[derive(Debug, Serialize)]
pub(super) struct MintedClaims<'a> {
    pub(super) sub: &'a str,
    pub(super) iat: u64,
    pub(super) exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aud: Option<&'a str>,
    pub(super) user_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) scope: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<&'a str>,
    #[serde(skip_serializing_if = "is_general")]
    pub(super) skills: &'a Queue,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<&'a str>,
    pub(super) jti: &'a str,
}

fn is_general(queue: &Queue) -> bool {
    queue.skills().is_empty()
}

/// The claim `aud`: one name or several (RFC 7519 §4.1.3). Empty: the claim is not there.
#[derive(Debug, Default)]
pub(super) struct Audience(Vec<String>);

impl Audience {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|audience| audience == name)
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AudienceVisitor)
    }
}

struct AudienceVisitor;

impl<'de> Visitor<'de> for AudienceVisitor {
    type Value = Audience;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name or a list of names")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Audience, E> {
        Ok(Audience(vec![name.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Audience, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = names.next_element::<String>()? {
            all.push(name);
        }
        Ok(Audience(all))
    }
}

/// A `NumericDate` (RFC 7519 §2): seconds since 1970, possibly with a fraction, which is cut off.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(SecondsVisitor).map(Some)
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("seconds since 1970")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<u64, E> {
        Ok(seconds)
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<u64, E> {
        // Below 2^53 every whole number is exact; no date anyone means is beyond.
        let date = (0.0..9_007_199_254_740_992.0).contains(&seconds);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        date.then_some(seconds as u64)
            .ok_or_else(|| E::custom("not a date"))
    }
}
