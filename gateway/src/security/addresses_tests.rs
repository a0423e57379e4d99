//! Whose word is taken about where a client is.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn cidrs(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn policy() -> AddressPolicy {
    AddressPolicy {
        trusted: cidrs(&["10.0.0.0/8", "fd00::/8"]),
        ..AddressPolicy::default()
    }
}

fn client(peer: &str, lines: &[(&str, &str)]) -> Result<String, ForwardedError> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let client = policy().client(peer.parse().unwrap(), &headers);
    client.map(|address| address.to_string())
}

const XFF: &str = "x-forwarded-for";

#[test]
fn a_stranger_is_where_the_socket_says_whatever_it_writes() {
    for header in [XFF, "forwarded"] {
        let spoofed = client("203.0.113.9", &[(header, "for=10.1.1.1, 10.2.2.2")]);
        assert_eq!(spoofed.as_deref(), Ok("203.0.113.9"));
    }
    assert_eq!(
        client("203.0.113.9", &[(XFF, "junk")]).as_deref(),
        Ok("203.0.113.9")
    );
}

#[test]
fn the_right_most_hop_that_is_no_trusted_proxy_is_the_client() {
    let hops = [(XFF, "1.1.1.1, 198.51.100.7, 10.3.3.3, 10.4.4.4")];
    assert_eq!(client("10.0.0.1", &hops).as_deref(), Ok("198.51.100.7"));
    let lines = [(XFF, "1.1.1.1"), (XFF, "198.51.100.7"), (XFF, "10.3.3.3")];
    assert_eq!(
        client("10.0.0.1", &lines).as_deref(),
        Ok("198.51.100.7"),
        "lines in order"
    );
    assert_eq!(client("10.0.0.1", &[]).as_deref(), Ok("10.0.0.1"));
    assert_eq!(
        client("10.0.0.1", &[(XFF, " , ")]).as_deref(),
        Ok("10.0.0.1")
    );
    let inside = [(XFF, "10.9.9.9, 10.8.8.8")];
    assert_eq!(
        client("10.0.0.1", &inside).as_deref(),
        Ok("10.9.9.9"),
        "a client inside"
    );
}

#[test]
fn mapped_addresses_are_those_they_stand_for() {
    let hops = [(XFF, "::ffff:198.51.100.7, ::ffff:10.3.3.3")];
    assert_eq!(
        client("::ffff:10.0.0.1", &hops).as_deref(),
        Ok("198.51.100.7")
    );
    assert_eq!(
        client("::ffff:203.0.113.9", &hops).as_deref(),
        Ok("203.0.113.9")
    );
}

#[test]
fn ports_brackets_and_quotes_are_understood() {
    for (line, told) in [
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
    ] {
        assert_eq!(
            client("10.0.0.1", &[(XFF, line)]).as_deref(),
            Ok(told),
            "{line}"
        );
    }
    for (line, told) in [
        ("for=198.51.100.7;proto=https;by=10.0.0.1", "198.51.100.7"),
        ("proto=https; For=\"[2001:db8::7]:4711\"", "2001:db8::7"),
        (
            "for=1.1.1.1, for=198.51.100.7, for=\"[fd00::2]\"",
            "198.51.100.7",
        ),
    ] {
        assert_eq!(
            client("fd00::1", &[("forwarded", line)]).as_deref(),
            Ok(told),
            "{line}"
        );
    }
}

#[test]
fn what_a_trusted_proxy_says_and_cannot_be_understood_is_refused() {
    for line in [
        "unknown",
        "_hidden",
        "198.51.100",
        "198.51.100.7:",
        "198.51.100.7:99999",
        "[2001:db8::7",
        "[2001:db8::7]x",
        "fe80::1%eth0",
        "198.51.100.7 10.0.0.2",
        "\u{e9}",
        "010.1.1.1",
    ] {
        let refused = client("10.0.0.1", &[(XFF, line)]);
        assert_eq!(refused, Err(ForwardedError::Malformed(XFF)), "{line}");
    }
    for line in [
        "for=unknown",
        "proto=https",
        "for=1.1.1.1;for=2.2.2.2",
        "for=\"1.1.1.1",
    ] {
        let refused = client("10.0.0.1", &[("forwarded", line)]);
        assert_eq!(
            refused,
            Err(ForwardedError::Malformed("Forwarded")),
            "{line}"
        );
    }
    let untouched = client("10.0.0.1", &[(XFF, "garbage, 198.51.100.7")]);
    assert_eq!(
        untouched.as_deref(),
        Ok("198.51.100.7"),
        "left of the client nothing counts"
    );
}

#[test]
fn two_headers_that_name_different_clients_are_refused() {
    let both = |newer| client("10.0.0.1", &[(XFF, "198.51.100.7"), ("forwarded", newer)]);
    assert_eq!(both("for=1.1.1.1"), Err(ForwardedError::Disagree));
    assert_eq!(both("for=198.51.100.7").as_deref(), Ok("198.51.100.7"));
}

#[test]
fn blocked_wins_over_listed_and_mapped_addresses_are_looked_through() {
    let lists = AddressPolicy {
        listed: Some(cidrs(&["192.0.2.0/24", "2001:db8::/32"])),
        blocked: cidrs(&["192.0.2.66", "0.0.0.0/32"]),
        trusted: Vec::new(),
    };
    let judge = |address: &str| lists.judge(address.parse().unwrap());
    assert_eq!(judge("192.0.2.65"), Ok(()));
    assert_eq!(judge("::ffff:192.0.2.65"), Ok(()));
    assert_eq!(judge("2001:db8:1::1"), Ok(()));
    assert_eq!(judge("192.0.2.66"), Err(AddressRefusal::Blocked));
    assert_eq!(judge("::ffff:192.0.2.66"), Err(AddressRefusal::Blocked));
    assert_eq!(judge("192.0.3.1"), Err(AddressRefusal::NotListed));
    assert_eq!(
        AddressPolicy::default().judge("192.0.3.1".parse().unwrap()),
        Ok(())
    );
}

#[test]
fn an_ipv6_address_counts_as_its_network_and_an_ipv4_one_as_itself() {
    let counted = |text: &str| counted_as(text.parse().unwrap()).to_string();
    assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(counted("192.0.2.7"), "192.0.2.7");
    assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
}

proptest! {
    #[test]
    fn whatever_a_client_writes_left_of_the_trusted_part_changes_nothing(junk in "[ -~]{0,60}") {
        let line = format!("{junk}, 198.51.100.7, 10.3.3.3");
        let told = client("10.0.0.1", &[(XFF, &line)]);
        prop_assert_eq!(told.as_deref(), Ok("198.51.100.7"));
    }

    #[test]
    fn no_header_panics(line in "[ -~]{0,60}", newer in "[ -~]{0,60}") {
        let _any = client("10.0.0.1", &[(XFF, &line), ("forwarded", &newer)]);
    }
}
