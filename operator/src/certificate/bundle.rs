//! What a `caBundle` has to hold, by what stands there. Pure.
//!
//! A bundle is replaced in one write, and replicas that show what another authority signed are still called then. So what
//! stands there stays for a while beside what is wanted.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::material::{END, life};

/// What begins a certificate in PEM.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Authorities that may stay beside the wanted ones. Nobody who means well has more.
const MOST: usize = 4;

/// What becomes of the authorities that stand beside the wanted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Somebody may show what they signed.
    Stay,
    /// Nobody does any more.
    Go,
}

/// What is to be done about one bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What is to be written; `None`: what stands there will do.
    pub write: Option<String>,
    /// Whether others are in it afterwards.
    pub has_others: bool,
}

struct Authority {
    der: CertificateDer<'static>,
    pem: String,
}

/// What is to be done where `standing` is, and the authorities of `wanted` are to be believed.
pub fn due(standing: &[u8], wanted: &str, others: Others) -> Due {
    let standing = authorities(&String::from_utf8_lossy(standing));
    let own = authorities(wanted);
    let is_own = |one: &Authority| own.iter().any(|own| own.der == one.der);
    let lacks = own
        .iter()
        .any(|own| standing.iter().all(|one| one.der != own.der));
    let beside: Vec<_> = standing.iter().filter(|one| !is_own(one)).collect();
    let beside = match others {
        Others::Stay => beside.get(..MOST.min(beside.len())).unwrap_or_default(),
        Others::Go if beside.is_empty() && !lacks => &[],
        Others::Go => {
            return Due {
                write: Some(wanted.to_owned()),
                has_others: false,
            };
        }
    };
    let write = lacks.then(|| {
        let beside: String = beside.iter().map(|one| one.pem.as_str()).collect();
        format!("{}\n{beside}", wanted.trim_end())
    });
    Due {
        write,
        has_others: !beside.is_empty(),
    }
}

/// The certificates in a text; what is none is not carried on.
fn authorities(text: &str) -> Vec<Authority> {
    let parts = text.split_inclusive(END).filter_map(|part| {
        let pem = part.get(part.find(BEGIN)?..)?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        life(&der)?;
        Some(Authority {
            der,
            pem: format!("{pem}\n"),
        })
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn authority() -> String {
        let params = CertificateParams::new(Vec::new()).unwrap();
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .pem()
    }

    #[test]
    fn what_stands_there_stays_beside_what_is_wanted_until_it_is_to_go() {
        let (old, new) = (authority(), authority());
        assert_eq!(due(b"", &new, Others::Stay).write.unwrap(), new);
        let both = due(old.as_bytes(), &new, Others::Stay);
        assert!(both.has_others);
        let both = both.write.unwrap();
        assert_eq!(both, format!("{new}{old}"));
        let settled = Due {
            write: None,
            has_others: true,
        };
        assert_eq!(due(both.as_bytes(), &new, Others::Stay), settled);
        // Whoever has not heard of the new one yet leaves it where it is.
        assert_eq!(due(both.as_bytes(), &old, Others::Stay), settled);
        let alone = Due {
            write: Some(new.clone()),
            has_others: false,
        };
        assert_eq!(due(both.as_bytes(), &new, Others::Go), alone);
        for others in [Others::Stay, Others::Go] {
            let nothing = Due {
                write: None,
                has_others: false,
            };
            // However its lines end.
            let standing = new.replace('\n', "\r\n");
            assert_eq!(due(standing.as_bytes(), &new, others), nothing);
        }
    }

    #[test]
    fn what_is_no_certificate_is_not_carried_on_and_no_more_than_a_few_are() {
        let new = authority();
        let junk = format!("no\n{BEGIN}\nAAAA\n{END}\n");
        assert_eq!(due(junk.as_bytes(), &new, Others::Stay).write.unwrap(), new);
        let many: String = (0..9).map(|_| authority()).collect();
        let kept = due(many.as_bytes(), &new, Others::Stay).write.unwrap();
        assert_eq!(kept.matches(END).count(), 1 + MOST);
    }
}
