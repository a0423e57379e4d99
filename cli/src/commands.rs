//! One file a command: its arguments, the call, and the table of what came back.

use crate::arguments::{Arguments, Command};
use crate::{Failure, import};

pub(crate) mod drain;
pub(crate) mod groups;
pub(crate) mod kick;
pub(crate) mod log;
pub(crate) mod records;
pub(crate) mod revoke;
pub(crate) mod send;
pub(crate) mod sessions;
pub(crate) mod stats;
pub(crate) mod tail;
pub(crate) mod tickets;
pub(crate) mod token;

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        connection,
        output,
        command,
    } = arguments;
    match command {
        Command::Token(command) => token::run(&command),
        Command::Import(command) => import::run(&command),
        Command::Send(command) => send::run(&command, &connection, output).await,
        Command::Tail(command) => tail::run(&command, &connection, output).await,
        Command::Log(command) => log::run(&command, &connection, output).await,
        Command::Records(command) => records::run(&command, &connection, output).await,
        Command::Sessions(command) => sessions::run(&command, &connection, output).await,
        Command::Groups(command) => groups::run(&command, &connection, output).await,
        Command::Tickets(command) => tickets::run(&command, &connection, output).await,
        Command::Kick(command) => kick::run(&command, &connection, output).await,
        Command::Revoke(command) => revoke::run(&command, &connection, output).await,
        Command::Stats(_) => stats::run(&connection, output).await,
        Command::Drain(command) => drain::run(&command, &connection, output).await,
    }
}
