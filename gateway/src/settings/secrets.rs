//! `Secrets`: the files of the secrets directory, read. A missing file is a secret that is not configured.
//!
//! The kubelet swaps all files of a mounted Secret at once; whoever reads again reads a whole new set. Nothing here can be
//! printed, and no error carries any part of a secret.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use wsc_config::JwtAlgorithm;

use super::SettingsError;
use crate::security::{ApiKey, KeySet, SealKey, SealKeys};

/// No secret is longer: a wrong mount must not fill the memory.
const MAX_BYTES: u64 = 64 * 1024;

/// Further files of a kind that may be there at once.
const MAX_NAMED: usize = 32;

/// The secrets of a gateway.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// `jwt-key`: what tokens are signed with.
    pub jwt_key: Option<String>,
    /// `jwt-key-NAME`: further keys of tokens, by name. `previous` and `next` are keys without a `kid`, any other name is
    /// the `kid` of the tokens it signed.
    pub jwt_keys: BTreeMap<String, String>,
    /// `jwt-jwks`: the keys of tokens as a set, instead of `jwt-key`.
    pub jwt_jwks: Option<String>,
    /// `jwt-jwks-ca`: what the server's certificate is judged by that keys of tokens are fetched from.
    pub jwt_jwks_ca: Option<String>,
    /// `api-key`: what backends show.
    pub api_key: Option<String>,
    /// `api-key-NAME`: what they may show as well, while a key is being replaced.
    pub api_keys: BTreeMap<String, String>,
    /// `encryption-key`: what contents are sealed with.
    pub encryption_key: Option<String>,
    /// `encryption-key-NAME`: what contents may have been sealed with.
    pub encryption_keys: BTreeMap<String, String>,
    /// `hook-key-NAME`: what requests to that hook are signed with; `hook-key-NAME.second`: what they are signed with as
    /// well, while a key is being replaced.
    pub hook_keys: BTreeMap<String, String>,
    /// `hook-ca-NAME`: what that hook's certificate is judged by.
    pub hook_cas: BTreeMap<String, String>,
    /// `redis-password`: for Redis.
    pub redis_password: Option<String>,
    /// Certificates (`tls.crt`) and keys (`tls.key`) of listeners by file name, each also with `ws-`, `http-` or `grpc-`
    /// before it.
    pub tls: BTreeMap<String, String>,
    /// `redis-ca`: what Redis' certificate is judged by.
    pub redis_ca: Option<String>,
    /// `etcd-password`: for etcd.
    pub etcd_password: Option<String>,
    /// `etcd-ca`: what etcd's certificate is judged by.
    pub etcd_ca: Option<String>,
    /// `etcd-cert`: the certificate shown to etcd.
    pub etcd_cert: Option<String>,
    /// `etcd-key`: the key of that certificate.
    pub etcd_key: Option<String>,
    /// `otlp-headers`: what a collector of traces is sent along, one `name: value` a line.
    pub otlp_headers: Option<String>,
}

impl Secrets {
    /// Reads the directory; one trailing newline is not part of a secret.
    pub fn read(dir: &Path) -> Result<Self, SettingsError> {
        let mut files = BTreeMap::new();
        for name in names(dir).map_err(|source| failed(dir, "", source))? {
            let text = text(&dir.join(&name)).map_err(|source| failed(dir, &name, source))?;
            files.insert(name, text);
        }
        let mut named = |kind: &str| {
            let names: Vec<String> = files
                .keys()
                .filter(|name| name.starts_with(kind))
                .take(MAX_NAMED)
                .cloned()
                .collect();
            let pairs = names.into_iter().filter_map(|name| {
                let text = files.remove(&name)?;
                Some((name.strip_prefix(kind)?.to_owned(), text))
            });
            pairs.collect()
        };
        let (jwt_keys, api_keys) = (named("jwt-key-"), named("api-key-"));
        let encryption_keys = named("encryption-key-");
        let (hook_keys, hook_cas) = (named("hook-key-"), named("hook-ca-"));
        let tls = files.extract_if(.., |name, _| is_tls(name)).collect();
        Ok(Self {
            tls,
            jwt_key: files.remove("jwt-key"),
            jwt_keys,
            jwt_jwks: files.remove("jwt-jwks"),
            jwt_jwks_ca: files.remove("jwt-jwks-ca"),
            api_key: files.remove("api-key"),
            api_keys,
            encryption_key: files.remove("encryption-key"),
            encryption_keys,
            hook_keys,
            hook_cas,
            redis_password: files.remove("redis-password"),
            redis_ca: files.remove("redis-ca"),
            etcd_password: files.remove("etcd-password"),
            etcd_ca: files.remove("etcd-ca"),
            etcd_cert: files.remove("etcd-cert"),
            etcd_key: files.remove("etcd-key"),
            otlp_headers: files.remove("otlp-headers"),
        })
    }

    /// The keys that tokens are judged by: those of the set, or `jwt-key` and those beside it.
    pub fn token_keys(&self, algorithm: JwtAlgorithm) -> Result<KeySet, SettingsError> {
        let keys = match (&self.jwt_jwks, &self.jwt_key) {
            (Some(set), _) => KeySet::jwks_of_use(algorithm, "jwt-jwks", set.as_bytes()),
            (None, Some(key)) => KeySet::files(algorithm, key, &self.jwt_keys),
            (None, None) => return Err(SettingsError::NoKey),
        };
        keys.map_err(SettingsError::Key)
    }

    /// The keys of which backends must show one.
    pub fn api_keys(&self) -> Result<Vec<ApiKey>, SettingsError> {
        let all = self.api_key.iter().chain(self.api_keys.values());
        all.map(|key| ApiKey::new(key.as_bytes()).map_err(SettingsError::ApiKey))
            .collect()
    }

    /// What contents are sealed with, if they are, and opened.
    pub fn seal_keys(&self, enabled: bool) -> Result<SealKeys, SettingsError> {
        let read = |name: &str, text: &str| {
            SealKey::parse(text).map_err(|source| SettingsError::SealKey {
                name: name.to_owned(),
                source,
            })
        };
        let current = self.encryption_key.as_deref();
        let current = current
            .map(|text| read("encryption-key", text))
            .transpose()?;
        let others = self.encryption_keys.iter();
        let mut others = others
            .map(|(name, text)| read(&format!("encryption-key-{name}"), text))
            .collect::<Result<Vec<_>, _>>()?;
        if enabled {
            let current = Some(current.ok_or(SettingsError::NoSealKey)?);
            return Ok(SealKeys { current, others });
        }
        // Switched off, what was sealed before can still be opened.
        others.extend(current);
        Ok(SealKeys {
            current: None,
            others,
        })
    }
}

/// The files of the directory that may be secrets of ours. The kubelet's own begin with two dots.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let known = |name: &str| {
        let prefixes = [
            "jwt-key",
            "jwt-jwks",
            "api-key",
            "encryption-key",
            "hook-key-",
            "hook-ca-",
        ];
        let single = [
            "redis-password",
            "redis-ca",
            "etcd-password",
            "etcd-ca",
            "etcd-cert",
            "etcd-key",
            "otlp-headers",
        ];
        is_tls(name)
            || single.contains(&name)
            || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string()
            && known(&name)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn is_tls(name: &str) -> bool {
    let mut listeners = ["ws-", "http-", "grpc-"].iter();
    let own = listeners.find_map(|listener| name.strip_prefix(listener));
    matches!(own.unwrap_or(name), "tls.crt" | "tls.key")
}

fn text(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        let why = format!("is longer than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let text = fs::read_to_string(path)?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

fn failed(dir: &Path, name: &str, source: io::Error) -> SettingsError {
    SettingsError::Secret {
        name: name.to_owned(),
        dir: dir.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_by_their_kind_and_name_and_strangers_are_passed_over() {
        let dir = std::env::temp_dir().join(format!("wsc-secrets-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&dir).unwrap();
        for (name, text) in [
            ("jwt-key", "a\n"),
            ("jwt-key-previous", "b"),
            ("jwt-key-2026", "c\n\n"),
            ("api-key-previous", "d"),
            ("encryption-key", "e"),
            ("etcd-password", "g"),
            ("etcd-key", "h"),
            ("otlp-headers", "i"),
            ("..data", "no secret"),
            ("jwt-jwks", "{}"),
            ("redis-ca", "f"),
            ("hook-ca-app", "j"),
            ("tls.crt", "g"),
            ("ws-tls.key", "h"),
            ("ca.crt", "another's"),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
        let secrets = Secrets::read(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let named = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(name, text)| (name.to_string(), text.to_string()));
            owned.collect::<BTreeMap<_, _>>()
        };
        let expected = Secrets {
            jwt_key: Some("a".to_owned()),
            jwt_keys: named(&[("previous", "b"), ("2026", "c\n")]),
            api_keys: named(&[("previous", "d")]),
            encryption_key: Some("e".to_owned()),
            jwt_jwks: Some("{}".to_owned()),
            redis_ca: Some("f".to_owned()),
            hook_cas: named(&[("app", "j")]),
            tls: named(&[("tls.crt", "g"), ("ws-tls.key", "h")]),
            etcd_password: Some("g".to_owned()),
            etcd_key: Some("h".to_owned()),
            otlp_headers: Some("i".to_owned()),
            ..Secrets::default()
        };
        assert!(secrets == expected);
        assert!(
            Secrets::read(&dir).is_err(),
            "a directory that is not there"
        );
    }

    #[test]
    fn sealing_needs_its_key_and_off_the_key_still_opens() {
        let none = Secrets::default();
        let error = none.seal_keys(true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "wsc.security.enableEncryption: no encryption-key in the secrets directory"
        );
        assert!(none.seal_keys(false).is_ok());
        let mut wrong = Secrets::default();
        wrong
            .encryption_keys
            .insert("previous".to_owned(), "x".to_owned());
        let error = wrong.seal_keys(false).unwrap_err();
        assert_eq!(error.to_string(), "encryption-key-previous");
        let with = Secrets {
            encryption_key: Some("0".repeat(64)),
            ..none
        };
        assert!(with.seal_keys(true).unwrap().current.is_some());
        let off = with.seal_keys(false).unwrap();
        assert!(off.current.is_none() && off.others.len() == 1);
    }
}
