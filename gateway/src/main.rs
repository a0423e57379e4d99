//! The binary: arguments, log, run until told to leave.

use std::process::ExitCode;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use wsc_gateway::app::Gateway;
use wsc_gateway::cli::{Arguments, Command, Resolved};

/// Long-lived pods give memory back: jemalloc purges in the background.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Token(token)) => arguments.token(token),
        Some(Command::Drain(drain)) => drain.run(),
        None => tokio::runtime::Runtime::new()
            .map_err(Into::into)
            .and_then(|runtime| {
                let done = runtime.block_on(run(&arguments));
                // Whatever is stuck must not keep the process.
                runtime.shutdown_background();
                done
            }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsc-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Resolved {
        config,
        options,
        dev,
    } = arguments.resolve()?;
    let log = arguments.log(&config, &options.node)?;
    for key in config.unimplemented_keys_set() {
        tracing::warn!(%key, "this release does nothing with a key that is set");
    }
    if !config.wsc.security.enable_auth {
        tracing::warn!(
            "wsc.security.enableAuth is false: whoever connects is who they say they are"
        );
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let gateway = Gateway::start(config, options).await?;
    if let Some(dev) = dev {
        dev.greet(gateway.addresses());
    }
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to leave by SIGTERM"),
        _ = interrupt.recv() => tracing::info!("told to leave by SIGINT"),
        epoch = gateway.cluster().fenced() => tracing::error!(%epoch, "another process has this node's name"),
        never = arguments.watch(&gateway, &log) => match never {},
        () = gateway.drain_requested() => tracing::info!("told to leave on the admin port"),
    }
    tokio::select! {
        () = gateway.drain() => Ok(()),
        _ = interrupt.recv() => anyhow::bail!("interrupted a second time: left without finishing the drain"),
    }
}
