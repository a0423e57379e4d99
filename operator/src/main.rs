//! `wsc-operator`: arguments, telemetry, run.

use clap::Parser;
use wsc_operator::cli::{Cli, Command};
use wsc_operator::{api, check, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Crd) => print!("{}", api::crd_yaml()?),
        Some(Command::Check) => {
            let client = kube::Client::try_default().await?;
            print!("{}", check::check(client, &cli.options).await?);
        }
        None => {
            run::telemetry(&cli.options)?;
            run::run(cli.options).await?;
        }
    }
    Ok(())
}
