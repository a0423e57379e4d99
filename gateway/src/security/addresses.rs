//! `AddressPolicy`: where a client really is, and whether clients from there are let in.
//!
//! A proxy says where a connection comes from in `X-Forwarded-For` or `Forwarded`; only a proxy of `trustedProxies` is
//! believed. Each hop adds the address it sees at the right, so the list is read from the right: the first address that
//! is no trusted proxy's is the client's. What stands left of it was written by somebody who is not trusted, and is never
//! looked at. Pure.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::FORWARDED;
use wsc_config::{Cidr, SecurityConfig};

/// The older header, of which most proxies write only this one.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    trusted: Vec<Cidr>,
    /// Who is let in; `None`: everyone.
    listed: Option<Vec<Cidr>>,
    blocked: Vec<Cidr>,
}

/// A trusted proxy said something that cannot be understood. Guessing would make the proxy itself the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardedError {
    /// The hop that counts is no address.
    #[error("{0}: the last hop that is no trusted proxy is not an address")]
    Malformed(&'static str),
    /// Both headers are there and name different clients: one of them was passed on as the client wrote it.
    #[error("Forwarded and X-Forwarded-For name different clients")]
    Disagree,
}

/// Why an address is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AddressRefusal {
    /// In `blockedIps`.
    #[error("this address is blocked")]
    Blocked,
    /// `enableIpWhitelist` is set, and it is not in `whitelistIps`.
    #[error("this address is not on the list of those that are let in")]
    NotListed,
}

impl AddressPolicy {
    /// As configured.
    pub fn new(config: &SecurityConfig) -> Self {
        Self {
            trusted: config.trusted_proxies.clone(),
            listed: config
                .enable_ip_whitelist
                .then(|| config.whitelist_ips.clone()),
            blocked: config.blocked_ips.clone(),
        }
    }

    /// Whether this is a proxy whose word is taken.
    pub fn trusts(&self, address: IpAddr) -> bool {
        contains(&self.trusted, address)
    }

    /// Whether clients from this address are let in.
    pub fn judge(&self, address: IpAddr) -> Result<(), AddressRefusal> {
        if contains(&self.blocked, address) {
            return Err(AddressRefusal::Blocked);
        }
        match &self.listed {
            Some(listed) if !contains(listed, address) => Err(AddressRefusal::NotListed),
            Some(_) | None => Ok(()),
        }
    }

    /// Where a request comes from, given the other end of its connection.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, ForwardedError> {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Ok(peer);
        }
        let older = self.nearest(X_FORWARDED_FOR, hops(headers, X_FORWARDED_FOR, plain_hop))?;
        let newer = self.nearest(
            "Forwarded",
            hops(headers, FORWARDED.as_str(), forwarded_hop),
        )?;
        match (older, newer) {
            (Some(older), Some(newer)) if older != newer => Err(ForwardedError::Disagree),
            (Some(client), _) | (None, Some(client)) => Ok(client),
            (None, None) => Ok(peer),
        }
    }

    /// The right-most address that is no trusted proxy's; the left-most of all when each is. `None`: no hops.
    fn nearest(
        &self,
        header: &'static str,
        hops: Vec<Option<IpAddr>>,
    ) -> Result<Option<IpAddr>, ForwardedError> {
        let mut last = None;
        for hop in hops.into_iter().rev() {
            let address = hop.ok_or(ForwardedError::Malformed(header))?;
            last = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        Ok(last)
    }
}

/// What an address counts as where something is counted: one customer has a whole /64 of IPv6.
pub fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

fn contains(ranges: &[Cidr], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

/// Every hop of a header in its order, of all its lines; `None`: one that is no address. Empty ones are no hops.
fn hops(headers: &HeaderMap, name: &str, read: fn(&str) -> Option<IpAddr>) -> Vec<Option<IpAddr>> {
    let mut hops = Vec::new();
    for line in headers.get_all(name) {
        match line.to_str() {
            Ok(line) => {
                let parts = line.split(',').map(str::trim);
                hops.extend(parts.filter(|part| !part.is_empty()).map(read));
            }
            Err(_) => hops.push(None),
        }
    }
    hops
}

/// An address, with a port or without: some proxies write one.
fn plain_hop(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let address = if let Some((address, port)) = bracketed {
        let port_is_sane = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        IpAddr::V6(address.parse().ok().filter(|_| port_is_sane)?)
    } else if let Ok(address) = text.parse() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
    };
    Some(address.to_canonical())
}

/// RFC 7239 §4: pairs between semicolons, of which `for` counts; an IPv6 address is in brackets and so in quotes.
fn forwarded_hop(text: &str) -> Option<IpAddr> {
    let mut found = text.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.trim())
    });
    let value = found.next()?;
    if found.next().is_some() {
        return None;
    }
    let bare = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    plain_hop(bare)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
