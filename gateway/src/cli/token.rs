//! What a token says, as arguments; `wsc-gateway token` and `wscctl token` share it.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use wsc_config::GatewayConfig;

use crate::group::GroupPatterns;
use crate::protocol::UserId;
use crate::security::{NewToken, Scopes};
use crate::settings::Secrets;

/// What a token says.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// The user's id.
    #[arg(long)]
    user: String,
    /// The user's type, one of wsc.security.allowedUserTypes.
    #[arg(long = "type", default_value = "customer")]
    user_type: String,
    /// What the user may do beyond sending to users, separated by spaces: broadcast, groups, admin, observe.
    #[arg(long, default_value = "")]
    scope: String,
    /// A group the user may join, or a pattern of groups, such as room-*; may be given more than once.
    #[arg(long = "group", value_name = "PATTERN")]
    groups: Vec<String>,
    /// How long it is good for (30s, 1h); the most is wsc.security.tokenExpiration, which is the default.
    #[arg(long)]
    ttl: Option<wsc_config::Seconds>,
    /// The device it is for, if it is for one.
    #[arg(long)]
    device: Option<String>,
}

impl TokenArguments {
    /// Signs it with the `jwt-key` of these secrets; a token that this configuration would not take is not made.
    pub fn mint(&self, config: &GatewayConfig, secrets: &Secrets) -> anyhow::Result<String> {
        let verifier = super::verifier(config, secrets)?;
        let lifetime: Duration = self
            .ttl
            .unwrap_or(config.wsc.security.token_expiration)
            .into();
        let new = NewToken {
            user: UserId::new(&self.user).context("--user")?,
            user_type: self.user_type.clone(),
            scopes: Scopes::parse(&self.scope),
            groups: GroupPatterns::new(&self.groups).context("--group")?,
            device: self.device.clone(),
            lifetime,
        };
        Ok(verifier.mint(&new)?)
    }
}
