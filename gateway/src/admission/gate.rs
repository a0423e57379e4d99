//! What every request passes before anything else of it is looked at: where it comes from, and whether it may.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};

use super::{Admission, Attempt, LockedOut};
use crate::security::{AddressRefusal, ForwardedError};
use crate::telemetry::Limit;

/// Where a request comes from, as far as anybody trusted says; an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Why a request is turned away unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// Where it comes from cannot be told.
    #[error(transparent)]
    Forwarded(#[from] ForwardedError),
    /// Nobody from there is let in.
    #[error(transparent)]
    Address(#[from] AddressRefusal),
    /// There were too many failures from there.
    #[error(transparent)]
    LockedOut(#[from] LockedOut),
}

impl Admission {
    /// Finds out where a request comes from and judges that; counts a refusal. `attempt`: what it may be about to show.
    pub fn judge(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
        attempt: Attempt,
    ) -> Result<ClientAddress, Turned> {
        let address = self.address(extensions, headers)?;
        self.may_try(attempt, address.0)?;
        Ok(address)
    }

    /// The same without regard to what happened before.
    pub fn address(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<ClientAddress, Turned> {
        let rules = self.rules();
        let client = rules.addresses.client(peer(extensions), headers);
        let address = client.inspect_err(|_| self.met(Limit::Forwarded))?;
        let judged = rules.addresses.judge(address);
        judged.inspect_err(|refusal| self.met(limit(*refusal)))?;
        Ok(ClientAddress(address))
    }
}

const fn limit(refusal: AddressRefusal) -> Limit {
    match refusal {
        AddressRefusal::Blocked => Limit::AddressBlocked,
        AddressRefusal::NotListed => Limit::AddressNotListed,
    }
}

/// The other end of the connection, as its listener has noted it. Who comes from nowhere is on no list.
fn peer(extensions: &Extensions) -> IpAddr {
    let noted = extensions.get::<ConnectInfo<SocketAddr>>();
    noted.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |noted| noted.0.ip())
}
