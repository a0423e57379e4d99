//! `Fit`: what a key of a Secret must be, as far as its length and its look tell. Pure; the gateway judges the rest.

use crate::secrets::{Form, KeyFact};

/// What a key must be.
#[derive(Clone, Copy)]
pub(super) enum Fit {
    /// At least so many bytes, and no PEM: that would be public.
    Shared(usize),
    /// A PEM of a public key; a private one can check signatures as well.
    Key,
    /// A PEM of a private key.
    Private,
    /// A PEM with certificates.
    Certificates,
    /// A JWKS.
    Set,
}

impl Fit {
    /// What is wrong with a key, if anything is.
    pub(super) fn judge(self, fact: &KeyFact) -> Option<Unfit> {
        let (fits, wanted) = match self {
            Self::Shared(min) if fact.len < min => return Some(Unfit::Short(min)),
            Self::Shared(_) => (
                !matches!(
                    fact.form,
                    Form::PublicKey | Form::PrivateKey | Form::Certificate
                ),
                "shared key, but a PEM",
            ),
            Self::Key => (
                matches!(fact.form, Form::PublicKey | Form::PrivateKey),
                "public key in PEM",
            ),
            Self::Private => (fact.form == Form::PrivateKey, "private key in PEM"),
            Self::Certificates => (fact.form == Form::Certificate, "certificate in PEM"),
            Self::Set => (fact.form == Form::KeySet, "JWKS"),
        };
        (!fits).then_some(Unfit::Form(wanted))
    }
}

/// What is wrong with a key.
pub(super) enum Unfit {
    /// Shorter than this.
    Short(usize),
    /// Not this.
    Form(&'static str),
}
