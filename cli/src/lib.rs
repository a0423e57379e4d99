//! `wscctl`: tokens, messages, sessions, groups, tickets and drains of a gateway from the command line.
//!
//! A thin client of the gateway's own interfaces: [`api`] speaks HTTP, `commands::tail` WebSocket, and [`import`] turns a
//! configuration of the Go libraries into a resource without speaking to anyone. What is printed goes through [`output`],
//! why a command failed through [`failure`]; nothing here ever prints a key or a token but `token` itself.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory as _, FromArgMatches as _};

mod api;
mod arguments;
mod commands;
mod connection;
mod endpoint;
mod failure;
pub mod import;
mod output;
mod reference;

pub use arguments::Arguments;
pub use failure::{Failure, USAGE};
pub use reference::reference;

/// Reads the arguments; under the name `kubectl-wsc` the help says `kubectl wsc`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_stem);
    let mut command = Arguments::command();
    if name.is_some_and(|name| name == "kubectl-wsc") {
        command = command.name("kubectl-wsc").bin_name("kubectl wsc");
    }
    Arguments::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// Carries out one command.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    runtime.block_on(commands::run(arguments))
}
