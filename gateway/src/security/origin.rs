//! `OriginPolicy`: which web pages may open a connection (RFC 6454, RFC 6455 §10.2).
//!
//! Asked before authentication on every transport that browsers can use. A list says exactly who; an empty list lets in
//! pages of the gateway's own host and callers that are no browsers (no `Origin` at all).

use wsc_config::Origin;

/// Which web pages may connect.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    allowed: Vec<Origin>,
}

impl OriginPolicy {
    /// Empty: the same origin, or none.
    pub fn new(allowed: &[Origin]) -> Self {
        Self {
            allowed: allowed.to_vec(),
        }
    }

    /// Judges a request by its `Origin` and `Host` headers.
    ///
    /// No `Origin`: not a browser, allowed. With an empty list the page's host and port must be those the request was
    /// sent to; whether TLS ended at a proxy before us cannot be seen from here, so the scheme only tells the default port.
    pub fn allows(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        if !self.allowed.is_empty() {
            return self.allowed.iter().any(|entry| entry.allows(origin));
        }
        host.is_some_and(|host| is_same(origin, host))
    }
}

fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default = if scheme.eq_ignore_ascii_case("https") {
        "443"
    } else if scheme.eq_ignore_ascii_case("http") {
        "80"
    } else {
        return false;
    };
    match (split(authority), split(host)) {
        (Some((page, page_port)), Some((own, own_port))) => {
            page.eq_ignore_ascii_case(own)
                && page_port.unwrap_or(default) == own_port.unwrap_or(default)
        }
        _ => false,
    }
}

/// Name and port of `name`, `name:port` or `[v6]:port`; nothing for what a browser would never send.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, rest) = authority.split_at_checked(end)?;
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port),
        None if rest.is_empty() => None,
        None => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    let number = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let sound = !name.is_empty() && name.bytes().all(plain) && port.is_none_or(number);
    sound.then_some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(entries: &[&str]) -> OriginPolicy {
        let entries: Vec<Origin> = entries.iter().map(|entry| entry.parse().unwrap()).collect();
        OriginPolicy::new(&entries)
    }

    fn listed(entry: &str, origin: &str) -> bool {
        policy(&[entry]).allows(Some(origin), Some("chat.example.com"))
    }

    fn same(origin: &str, host: &str) -> bool {
        policy(&[]).allows(Some(origin), Some(host))
    }

    #[test]
    fn a_caller_without_origin_is_no_browser() {
        assert!(policy(&[]).allows(None, None));
        assert!(policy(&["https://chat.example.com"]).allows(None, Some("elsewhere")));
    }

    #[test]
    fn a_list_is_exact_in_scheme_host_and_port() {
        let entry = "https://chat.example.com";
        assert!(listed(entry, "https://chat.example.com"));
        assert!(listed(entry, "https://chat.example.com:443"));
        assert!(!listed(entry, "http://chat.example.com"), "scheme");
        assert!(!listed(entry, "https://chat.example.com:8443"), "port");
        assert!(listed(
            "https://chat.example.com:8443",
            "https://chat.example.com:8443"
        ));
        assert!(
            listed(entry, "HTTPS://Chat.Example.COM"),
            "case means nothing"
        );
    }

    #[test]
    fn look_alikes_are_refused() {
        for origin in [
            "https://chat.example.com.evil.net",
            "https://evilchat.example.com",
            "https://xchat.example.com",
            "https://chat.example.com@evil.net",
            "https://evil.net/chat.example.com",
            "https://evil.net#chat.example.com",
            "https://chat.example.com/",
            "https://chat.example.com ",
            " https://chat.example.com",
            "https://chat.example.com.",
            "https://chat-example.com",
            "chat.example.com",
            "//chat.example.com",
            "https://",
            "",
        ] {
            assert!(!listed("https://chat.example.com", origin), "{origin:?}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_whole_labels_only() {
        let entry = "*.example.com";
        assert!(listed(entry, "https://a.example.com"));
        assert!(listed(entry, "https://a.b.example.com"));
        for origin in [
            "https://example.com",
            "https://evilexample.com",
            "https://.example.com",
            "https://a.example.com.evil.net",
            "http://a.example.com",
            "https://*.example.com",
        ] {
            assert!(!listed(entry, origin), "{origin:?}");
        }
    }

    #[test]
    fn a_page_without_an_origin_of_its_own_is_refused() {
        assert!(!listed("https://chat.example.com", "null"));
        assert!(!same("null", "null"));
        assert!(!same("null", "chat.example.com"));
        assert!(!same("file://", "chat.example.com"));
    }

    #[test]
    fn a_list_does_not_also_mean_the_same_origin() {
        assert!(!listed(
            "https://other.example.com",
            "https://chat.example.com"
        ));
    }

    #[test]
    fn an_empty_list_means_the_same_host_and_port() {
        assert!(same("https://chat.example.com", "chat.example.com"));
        assert!(same("https://chat.example.com", "Chat.Example.com:443"));
        assert!(same("http://localhost:8081", "localhost:8081"));
        assert!(same("http://[::1]:8081", "[::1]:8081"));
        assert!(!same("http://localhost:8082", "localhost:8081"));
        assert!(!same("http://localhost", "localhost:8081"));
        assert!(!same("https://evil.net", "chat.example.com"));
        assert!(!same(
            "https://chat.example.com.evil.net",
            "chat.example.com"
        ));
        assert!(!same(
            "https://chat.example.com@evil.net",
            "chat.example.com"
        ));
        assert!(!same("ws://chat.example.com", "chat.example.com"));
        assert!(!policy(&[]).allows(Some("https://chat.example.com"), None));
    }
}
