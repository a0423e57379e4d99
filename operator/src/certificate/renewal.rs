//! What is to be renewed and when, and how it is made. Pure but for the drawing of keys.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::CertificateError;
use super::material::{Life, Material};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// How long an authority lives.
const AUTHORITY: SignedDuration = SignedDuration::from_hours(5 * 365 * 24);

/// How long a certificate lives.
const LEAF: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Clocks of callers may be behind by so much.
const SKEW: SignedDuration = HOUR;

/// So long an authority is in the bundle before it signs what is shown: by then every caller has been told.
const KNOWN_BY_ALL: SignedDuration = HOUR;

/// What is to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// The authority: a new one is put before the old one, and the certificate stays.
    Authority,
    /// The certificate.
    Leaf,
    /// Both, since nothing there can be used.
    Everything,
}

/// What is to be renewed of what was found.
pub(super) fn due(found: Option<&Material>, names: &[String], now: Timestamp) -> Due {
    let Some(found) = found else {
        return Due::Everything;
    };
    let (Some(leaf), Some(authority)) = (found.life(), found.authority_life()) else {
        return Due::Everything;
    };
    if now >= authority.until {
        return Due::Everything;
    }
    if found.identity(names, now).is_none() {
        return Due::Leaf;
    }
    if nears_its_end(authority, now) {
        return Due::Authority;
    }
    let known_by_all = now.duration_since(authority.from) >= SKEW + KNOWN_BY_ALL;
    if nears_its_end(leaf, now) && known_by_all {
        return Due::Leaf;
    }
    Due::Nothing
}

/// Two thirds are over.
fn nears_its_end(life: Life, now: Timestamp) -> bool {
    let whole = life.until.duration_since(life.from);
    life.until.duration_since(now) < whole / 3
}

/// Makes what is due. What cannot be used afterwards all the same, because the Secret holds things that do not belong
/// together, is made wholly anew.
pub(super) fn renew(
    found: Option<&Material>,
    names: &[String],
    due: Due,
    now: Timestamp,
) -> Result<Material, CertificateError> {
    let renewed = match (found, due) {
        (Some(found), Due::Nothing) => Some(found.clone()),
        (Some(found), Due::Authority) => {
            let (authority, authority_key) = authority(now)?;
            let old = found.authority().unwrap_or_default();
            Some(Material {
                authorities: format!("{authority}{old}\n"),
                authority_key,
                ..found.clone()
            })
        }
        (Some(found), Due::Leaf) => leaf(found, names, now).ok(),
        (None, _) | (_, Due::Everything) => None,
    };
    if let Some(renewed) = renewed
        && renewed.identity(names, now).is_some()
    {
        return Ok(renewed);
    }
    let (authorities, authority_key) = authority(now)?;
    let bare = Material {
        authorities,
        authority_key,
        chain: String::new(),
        key: String::new(),
    };
    Ok(leaf(&bare, names, now)?)
}

/// A new authority and its key.
fn authority(now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let mut params = lasting(now, AUTHORITY)?;
    // Two authorities of one name would be taken for one another while both are in the bundle.
    let name = format!("wsc-operator {:016x}", rand::random::<u64>());
    params.distinguished_name = called(&name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let made = params.self_signed(&key)?;
    Ok((made.pem(), key.serialize_pem()))
}

/// A new certificate of the authority that signs.
fn leaf(of: &Material, names: &[String], now: Timestamp) -> Result<Material, rcgen::Error> {
    let key = KeyPair::from_pem(&of.authority_key)?;
    let issuer = Issuer::from_ca_cert_pem(&of.authorities, key)?;
    let mut params = lasting(now, LEAF)?;
    params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
    // A common name may have 64 characters; callers look at the others.
    params.distinguished_name = called("wsc-operator");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let made = params.signed_by(&key, &issuer)?;
    Ok(Material {
        chain: made.pem(),
        key: key.serialize_pem(),
        ..of.clone()
    })
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

/// From a little before now, for so long.
fn lasting(now: Timestamp, life: SignedDuration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    let at = |time: Timestamp| {
        let since = u64::try_from(time.as_second()).unwrap_or_default();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(since)
    };
    params.not_before = at(now - SKEW);
    params.not_after = at(now + life);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn names() -> Vec<String> {
        vec!["api.wsc-system.svc".to_owned()]
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn fresh() -> Material {
        renew(None, &names(), Due::Everything, now()).unwrap()
    }

    #[test]
    fn what_is_fresh_is_believed_for_its_names_only_and_nothing_is_due() {
        let made = fresh();
        assert_eq!(due(Some(&made), &names(), now()), Due::Nothing);
        assert!(made.identity(&names(), now()).is_some());
        let others = vec!["other.wsc-system.svc".to_owned()];
        assert!(made.identity(&others, now()).is_none());
        assert_eq!(due(Some(&made), &others, now()), Due::Leaf);
        assert_eq!(due(None, &names(), now()), Due::Everything);
    }

    #[test]
    fn a_certificate_is_renewed_by_the_same_authority_when_two_thirds_are_over() {
        let made = fresh();
        assert_eq!(due(Some(&made), &names(), now() + DAY * 59), Due::Nothing);
        let later = now() + DAY * 61;
        assert_eq!(due(Some(&made), &names(), later), Due::Leaf);
        let renewed = renew(Some(&made), &names(), Due::Leaf, later).unwrap();
        assert_eq!(renewed.authorities, made.authorities);
        assert_ne!(renewed.chain, made.chain);
        assert_ne!(renewed.key, made.key);
        assert_eq!(due(Some(&renewed), &names(), later), Due::Nothing);
        // Also one that nobody renewed in time.
        assert_eq!(due(Some(&made), &names(), now() + DAY * 91), Due::Leaf);
    }

    #[test]
    fn a_new_authority_is_known_to_callers_before_anything_it_signed_is_shown() {
        let mut made = fresh();
        let later = now() + DAY * (4 * 365);
        // The certificate was renewed all the time, last a month and a bit ago.
        made = renew(Some(&made), &names(), Due::Leaf, later - DAY * 59).unwrap();
        assert_eq!(due(Some(&made), &names(), later), Due::Authority);
        let both = renew(Some(&made), &names(), Due::Authority, later).unwrap();
        assert_eq!(both.chain, made.chain, "shown as before");
        assert!(both.authorities.contains(made.authorities.trim()));
        // The certificate is due two days later; the new authority signs it, and callers of old and new bundle believe it.
        let due_then = due(Some(&both), &names(), later + DAY * 2);
        assert_eq!(due_then, Due::Leaf);
        let renewed = renew(Some(&both), &names(), Due::Leaf, later + DAY * 2).unwrap();
        assert!(renewed.identity(&names(), later + DAY * 2).is_some());
        let old_bundle = Material {
            authorities: made.authorities.clone(),
            ..renewed.clone()
        };
        assert!(old_bundle.identity(&names(), later + DAY * 2).is_none());
        // Within the hour it is not.
        let soon = later + SignedDuration::from_mins(30);
        let mut hasty = both.clone();
        hasty.chain.clone_from(&made.chain);
        assert_eq!(due(Some(&hasty), &names(), soon), Due::Nothing);
    }

    #[test]
    fn of_more_than_two_authorities_the_oldest_goes() {
        let first = fresh();
        let second = renew(Some(&first), &names(), Due::Authority, now()).unwrap();
        let third = renew(Some(&second), &names(), Due::Authority, now());
        // What the first one signed would not be believed any more: everything is made anew instead.
        let third = third.unwrap();
        assert_eq!(third.authorities.matches("END CERTIFICATE").count(), 1);
        assert!(third.identity(&names(), now()).is_some());
    }

    #[test]
    fn what_does_not_belong_together_is_made_anew() {
        let (one, two) = (fresh(), fresh());
        let mixed = Material {
            authority_key: two.authority_key.clone(),
            key: two.key.clone(),
            ..one.clone()
        };
        assert_eq!(due(Some(&mixed), &names(), now()), Due::Leaf);
        let made = renew(Some(&mixed), &names(), Due::Leaf, now()).unwrap();
        assert_eq!(due(Some(&made), &names(), now()), Due::Nothing);
        assert_ne!(made.authorities, one.authorities);
        let broken = Material {
            authorities: "nothing".to_owned(),
            ..one
        };
        assert_eq!(due(Some(&broken), &names(), now()), Due::Everything);
    }
}
