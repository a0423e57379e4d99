//! What a token says, as arguments; `wsc-gateway token` and `wscctl token` share it.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use wsc_config::{GatewayConfig, JwtAlgorithm};

use crate::group::GroupPatterns;
use crate::protocol::UserId;
use crate::security::{NewToken, Scopes};
use crate::settings::Secrets;
use crate::ticket::Queue;

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
    /// What the user can do, if it is an agent; may be given more than once.
    #[arg(long)]
    skill: Vec<String>,
    /// How long it is good for (30s, 1h); the most is wsc.security.tokenExpiration, which is the default.
    #[arg(long)]
    ttl: Option<wsc_config::Seconds>,
    /// The device it is for, if it is for one.
    #[arg(long)]
    device: Option<String>,
    /// The algorithm it is signed by, such as RS256 or ES384; wsc.security.jwt.algorithm unless said.
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    algorithm: Option<JwtAlgorithm>,
    /// The name of the key it is signed with (kid), where those who check it have several.
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
}

impl TokenArguments {
    /// Signs it with the `jwt-key` of these secrets; a token that this configuration would not take is not made.
    pub fn mint(&self, config: &GatewayConfig, secrets: &Secrets) -> anyhow::Result<String> {
        let mut config = config.clone();
        let jwt = &mut config.wsc.security.jwt;
        jwt.algorithm = self.algorithm.unwrap_or(jwt.algorithm);
        let verifier = super::verifier(&config, secrets)?;
        let lifetime: Duration = self
            .ttl
            .unwrap_or(config.wsc.security.token_expiration)
            .into();
        let new = NewToken {
            user: UserId::new(&self.user).context("--user")?,
            user_type: self.user_type.clone(),
            scopes: Scopes::parse(&self.scope),
            groups: GroupPatterns::new(&self.groups).context("--group")?,
            skills: Queue::of(&self.skill).context("--skill")?,
            device: self.device.clone(),
            lifetime,
            key_id: self.kid.clone(),
        };
        Ok(verifier.mint(&new)?)
    }
}

fn algorithm(name: &str) -> Result<JwtAlgorithm, String> {
    let all = JwtAlgorithm::ALL;
    let found = all.iter().find(|known| known.as_str() == name).copied();
    found.ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|known| known.as_str()).collect();
        format!("must be one of {}", known.join(", "))
    })
}
