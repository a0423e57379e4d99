//! The arguments, and the help that is made of them.

use clap::{Parser, Subcommand};

use crate::commands::{
    drain, groups, kick, log, records, revoke, send, sessions, stats, tail, tickets, token,
};
use crate::connection::Connection;
use crate::import;
use crate::output::Format;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it could not be done; the message says why
  2  the command was misused
  3  there is no such user, session, group, ticket, agent or path
  4  refused: no key or token, a wrong one, or one that may not do this
  5  nobody answered, or the gateway cannot now; try again

As a plugin of kubectl: put it, or a link to it, on the PATH as `kubectl-wsc`; then `kubectl wsc` is the same program.";

/// Tokens, messages, sessions and drains of a WebSocket gateway.
#[derive(Debug, Parser)]
#[command(name = "wscctl", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// The form of the output.
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM"
    )]
    pub output: Format,
    /// Where the gateway is.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints a token signed with a key of yours.
    Token(token::TokenCommand),
    /// Prints the resource for a configuration file of go-wsc or go-rpc-gateway.
    Import(import::ImportCommand),
    /// Sends a message to users or to everyone.
    Send(send::SendCommand),
    /// Connects as a client and prints what comes, until it is told to stop.
    Tail(tail::TailCommand),
    /// Prints what was sent to a user, a group, a ticket or everyone, and what became of it.
    Log(log::LogCommand),
    /// Lists what became of the messages of one sender.
    Records(records::RecordsCommand),
    /// Lists the users online, or the sessions of one user.
    Sessions(sessions::SessionsCommand),
    /// Ends the sessions of a user, or one session.
    Kick(kick::KickCommand),
    /// Makes, fills, lists and ends groups, and sends to them.
    Groups(groups::GroupsCommand),
    /// Opens, assigns, hands on and closes tickets of customer service; their agents and queues.
    Tickets(tickets::TicketsCommand),
    /// Takes tokens back, one or all of a user, and ends their sessions.
    Revoke(revoke::RevokeCommand),
    /// Prints the counts of the node that answers, and the nodes it sees.
    Stats(stats::StatsCommand),
    /// Tells one pod to send its clients elsewhere and to leave, as SIGTERM does.
    Drain(drain::DrainCommand),
}
