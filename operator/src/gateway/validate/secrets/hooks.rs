//! The Secrets of hooks: what requests to them are signed with, and what their certificates are judged by. A running gateway
//! takes over others.

use wsc_config::{HookConfig, SecretKeyRef};

use super::{Fit, Planner, Rejection, Wanted, named};
use crate::names::{HOOK_CA, HOOK_KEY};

/// What the gateway signs requests to a hook with, at least.
const MIN_HOOK_KEY: usize = 16;

/// One key of a hook.
struct Key<'a> {
    path: &'static str,
    reference: Option<&'a SecretKeyRef>,
    fit: Fit,
    file: String,
}

impl Planner<'_> {
    pub(super) fn hooks(&mut self) -> Result<(), Rejection> {
        let input = self.input;
        for Key {
            path,
            reference,
            fit,
            file,
        } in input.gateway.spec.hooks.iter().flat_map(keys)
        {
            let Some(reference) = reference else { continue };
            let source = named(reference);
            let key = self.key(&Wanted { path, source, fit })?;
            self.mount(key, &file, false);
        }
        Ok(())
    }
}

fn keys(hook: &HookConfig) -> [Key<'_>; 3] {
    let HookConfig {
        name,
        signing_key_secret_ref,
        second_signing_key_secret_ref,
        tls,
        ..
    } = hook;
    [
        Key {
            path: "spec.hooks[].signingKeySecretRef",
            reference: signing_key_secret_ref.as_ref(),
            fit: Fit::Shared(MIN_HOOK_KEY),
            file: format!("{HOOK_KEY}{name}"),
        },
        Key {
            path: "spec.hooks[].secondSigningKeySecretRef",
            reference: second_signing_key_secret_ref.as_ref(),
            fit: Fit::Shared(MIN_HOOK_KEY),
            file: format!("{HOOK_KEY}{name}.second"),
        },
        Key {
            path: "spec.hooks[].tls.caSecretRef",
            reference: tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()),
            fit: Fit::Certificates,
            file: format!("{HOOK_CA}{name}"),
        },
    ]
}
