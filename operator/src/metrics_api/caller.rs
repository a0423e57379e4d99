//! `Caller`: for whom the API server asks, as it says in headers. Pure; believed only after its certificate was judged.

use std::collections::BTreeMap;

use hyper::HeaderMap;
use percent_encoding::percent_decode_str;

use super::refusal::Refusal;

/// Who the API server could not tell, and the groups of all others and of these.
const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    pub(super) user: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

/// In which headers the API server says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) user: Vec<String>,
    pub(super) uid: Vec<String>,
    pub(super) groups: Vec<String>,
    /// What the names of further headers begin with.
    pub(super) extra: Vec<String>,
}

impl Headers {
    /// Who is named.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let user = first(&self.user, headers)?.ok_or(Refusal::Unauthenticated(
            "the front proxy does not say for whom it asks",
        ))?;
        let mut groups = Vec::new();
        for name in &self.groups {
            for value in headers.get_all(name.as_str()) {
                groups.push(text(value.as_bytes())?);
            }
        }
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            // Header names are in lower case here.
            let prefixes = self.extra.iter().map(|prefix| prefix.to_ascii_lowercase());
            let Some(key) = prefixes.into_iter().find_map(|prefix| {
                let rest = name.as_str().strip_prefix(&prefix)?;
                percent_decode_str(rest).decode_utf8().ok()
            }) else {
                continue;
            };
            let values = extra.entry(key.into_owned()).or_default();
            values.push(text(value.as_bytes())?);
        }
        // As Kubernetes' own API servers do: what the API server asks for itself, such as discovery, comes without groups.
        let said = |group: &str| groups.iter().any(|found| found == group);
        if user != ANONYMOUS && !said(AUTHENTICATED) && !said(UNAUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Ok(Caller {
            user,
            uid: first(&self.uid, headers)?,
            groups,
            extra,
        })
    }
}

/// The first of some headers that says something.
fn first(names: &[String], headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    for name in names {
        if let Some(value) = headers.get(name.as_str())
            && !value.is_empty()
        {
            return text(value.as_bytes()).map(Some);
        }
    }
    Ok(None)
}

fn text(bytes: &[u8]) -> Result<String, Refusal> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Refusal::Unauthenticated("a header of the front proxy is not in UTF-8"))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn usual() -> Headers {
        let one = |name: &str| vec![name.to_owned()];
        Headers {
            user: one("X-Remote-User"),
            uid: one("X-Remote-Uid"),
            groups: one("X-Remote-Group"),
            extra: one("X-Remote-Extra-"),
        }
    }

    #[test]
    fn user_groups_and_what_else_is_known_are_read() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-remote-user", "hpa"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "one"),
            ("x-remote-group", "two"),
            ("x-remote-extra-example.org%2fscope", "a"),
            ("x-remote-extra-example.org%2fscope", "b"),
            ("x-remote-other", "c"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let caller = usual().caller(&headers).unwrap();
        assert_eq!(caller.user, "hpa");
        assert_eq!(caller.uid.as_deref(), Some("7"));
        assert_eq!(caller.groups, ["one", "two", "system:authenticated"]);
        let extra = [(
            "example.org/scope".to_owned(),
            vec!["a".to_owned(), "b".to_owned()],
        )];
        assert_eq!(caller.extra, extra.into());
    }

    #[test]
    fn whoever_is_known_is_authenticated_and_nobody_else() {
        let groups = |user: &str, group: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("x-remote-user", HeaderValue::from_str(user).unwrap());
            if let Some(group) = group {
                headers.insert("x-remote-group", HeaderValue::from_str(group).unwrap());
            }
            usual().caller(&headers).unwrap().groups
        };
        assert_eq!(
            groups("system:kube-aggregator", None),
            ["system:authenticated"]
        );
        assert_eq!(groups("system:anonymous", None), [""; 0]);
        for one in ["system:authenticated", "system:unauthenticated"] {
            assert_eq!(groups("alice", Some(one)), [one]);
        }
    }

    #[test]
    fn nobody_and_what_is_no_text_are_refused() {
        let mut headers = HeaderMap::new();
        assert!(usual().caller(&headers).is_err());
        headers.insert("x-remote-user", HeaderValue::from_static(""));
        assert!(usual().caller(&headers).is_err());
        headers.insert("x-remote-user", HeaderValue::from_bytes(&[0xff]).unwrap());
        assert!(usual().caller(&headers).is_err());
    }
}
