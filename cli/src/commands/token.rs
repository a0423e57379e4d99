//! `token`: the gateway's own minting, with a key from a file or a directory.

use std::path::PathBuf;

use clap::Args;
use wsc_config::GatewayConfig;
use wsc_gateway::cli::TokenArguments;
use wsc_gateway::settings::Secrets;

use crate::{Failure, output};

/// Which key, and what the token says.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl get secret chat-auth -o jsonpath='{.data.jwt-key}' | base64 -d > jwt-key
  wscctl token --user alice --ttl 30m --key-file jwt-key
  WSC_TOKEN=$(wscctl token --user bob --key-file jwt-key) wscctl tail")]
pub struct TokenCommand {
    #[command(flatten)]
    token: TokenArguments,
    /// The file with the key that tokens are signed with.
    #[arg(long, value_name = "FILE", required_unless_present = "secrets_dir")]
    key_file: Option<PathBuf>,
    /// A directory with the file jwt-key, such as a mounted Secret, instead of --key-file.
    #[arg(long, value_name = "DIR", conflicts_with = "key_file")]
    secrets_dir: Option<PathBuf>,
    /// The gateway's configuration: its issuer, audience, user types and longest life of a token hold here too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(command: &TokenCommand) -> Result<(), Failure> {
    let secrets = secrets(command)?;
    let token = command
        .token
        .mint(&config(command)?, &secrets)
        .map_err(|error| Failure::failed(format!("{error:#}")))?;
    Ok(output::line(&token)?)
}

fn secrets(command: &TokenCommand) -> Result<Secrets, Failure> {
    if let Some(dir) = &command.secrets_dir {
        return Secrets::read(dir)
            .map_err(|error| Failure::Usage(format!("--secrets-dir: {error}")));
    }
    let file = command.key_file.as_deref().unwrap_or_else(|| "".as_ref());
    let key = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("--key-file {}: {error}", file.display())))?;
    Ok(Secrets {
        jwt_key: Some(key.strip_suffix('\n').unwrap_or(&key).to_owned()),
        ..Secrets::default()
    })
}

fn config(command: &TokenCommand) -> Result<GatewayConfig, Failure> {
    let Some(file) = &command.config else {
        return Ok(GatewayConfig::default());
    };
    let wrong = |why: String| Failure::Usage(format!("--config {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    GatewayConfig::load(Some(&text), [], &[]).map_err(|error| wrong(error.to_string()))
}
