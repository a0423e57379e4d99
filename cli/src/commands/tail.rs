//! `tail`: a client that prints what comes, and comes back by the rules of the close codes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::sleep;
use wsc_gateway::protocol::{Position, PositionError};

use crate::Failure;
use crate::connection::{Connection, Secret};
use crate::output::{self, Format, cell, printable};

mod event_stream;
mod grpc;
mod session;
mod web_socket;
mod wire;

use session::{Ended, Opening, Session, Transport};

/// The longest pause between attempts (docs/protocol.md asks for a bound that doubles).
const LONGEST: Duration = Duration::from_secs(30);
/// The bound of the first pause.
const SHORTEST: Duration = Duration::from_millis(500);

/// Who to be, and what to print.
#[derive(Debug, Args)]
#[command(after_help = "\
The token comes from the environment variable WSC_TOKEN or from --token-file, which is read again at every attempt, so that
a token that ended can be replaced meanwhile. When it connects again it names the place up to which it has printed, so that
nothing stored is missed, and whatever is missing all the same is told. A place is `pos` of a message with --json. Which close codes lead to another attempt is in docs/codes.md.")]
pub struct TailCommand {
    /// The file with the client's token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print each frame as the line of JSON it came as, the protocol's own included.
    #[arg(long)]
    json: bool,
    /// End after so many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Begin after this place in the inbox, EPOCH.OFFSET; 0.0: with the oldest message that is kept. Without it, with what
    /// no client of the user has received.
    #[arg(long, value_name = "POSITION", value_parser = position)]
    from: Option<Position>,
    /// What to connect by.
    #[arg(long, value_enum, default_value_t, value_name = "TRANSPORT")]
    transport: Transport,
    /// End with the connection instead of connecting again.
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(
    command: &TailCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let endpoint = match command.transport {
        Transport::Ws => connection.web_socket()?,
        Transport::Sse => connection.event_stream()?,
        Transport::Grpc => connection.grpc()?,
    };
    let mut tail = Tail {
        json: command.json || format == Format::Json,
        left: command.count,
        at: command.from,
    };
    let mut failures = 0;
    loop {
        let token = Secret::find("--token-file", command.token_file.as_deref(), "WSC_TOKEN")?;
        let opening = Opening {
            endpoint: &endpoint,
            token: token.as_ref(),
            after: tail.at,
        };
        let met = match Session::open(command.transport, &opening).await {
            Ok(mut session) => {
                failures = 0;
                session.read(|frame| tail.print(frame)).await?
            }
            Err(ended) => ended,
        };
        let after = match met {
            Ended::Enough => return Ok(()),
            Ended::Stay(failure) => return Err(failure),
            Ended::ComeBack { why, after } if command.once => {
                let _ = after;
                return Err(Failure::Unreachable(why));
            }
            Ended::ComeBack { why, after } => {
                eprintln!("wscctl: {why}; connecting again");
                after
            }
        };
        sleep(after + pause(failures)).await;
        failures += 1;
    }
}

fn position(text: &str) -> Result<Position, String> {
    text.parse()
        .map_err(|error: PositionError| error.to_string())
}

/// A random time below a bound that doubles with each failure in a row.
fn pause(failures: u32) -> Duration {
    let bound = SHORTEST.saturating_mul(1 << failures.min(8)).min(LONGEST);
    bound.mul_f64(rand::random::<f64>())
}

/// What is printed, and how much more of it.
struct Tail {
    json: bool,
    left: Option<u64>,
    /// Up to where in the inbox it has come.
    at: Option<Position>,
}

impl Tail {
    /// Prints a frame; false: that was the last one wanted.
    fn print(&mut self, text: &str) -> Result<bool, Failure> {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        // The gateway sets `from` on every message and on nothing else.
        let message = frame.get("from").is_some();
        if self.json {
            output::line(text)?;
        } else if message {
            output::line(&line(&frame))?;
        } else {
            note(&frame);
        }
        if let Some(at) = place(&frame) {
            self.at = Some(at);
        }
        if message && let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        Ok(self.left != Some(0))
    }
}

/// The place in the inbox that a frame is about. A message to a group or to everyone has one in another log.
fn place(frame: &Value) -> Option<Position> {
    let of = |value: Option<&Value>| value?.as_str()?.parse().ok();
    match frame.get("type").and_then(Value::as_str) {
        Some("position") => {
            let data = frame.get("data")?;
            of(data.get("pos")).filter(|_| data.get("log").is_some_and(|log| log == "inbox"))
        }
        _ => of(frame.get("pos")).filter(|_| frame.get("to").is_some()),
    }
}

/// A message in one line.
fn line(frame: &Value) -> String {
    let targets = ["to", "group", "ticket_id"]
        .iter()
        .find_map(|name| frame.get(name));
    let target = targets.map_or_else(|| "everyone".to_owned(), |to| cell(Some(to)));
    let mut line = format!(
        "{} {} -> {target}",
        cell(frame.get("type")),
        cell(frame.get("from"))
    );
    for name in ["content", "data"] {
        if let Some(value) = frame.get(name) {
            line = format!("{line}  {}", cell(Some(value)));
        }
    }
    line
}

/// The protocol's own frames are for whoever watches, not for whoever reads the output.
fn note(frame: &Value) {
    let data = |name| cell(frame.get("data").and_then(|data| data.get(name)));
    match frame.get("type").and_then(Value::as_str) {
        Some("welcome") => eprintln!(
            "wscctl: connected to {} as {}",
            data("node"),
            data("user_id")
        ),
        Some("position") => eprintln!(
            "wscctl: messages before {} are missing: {}",
            data("pos"),
            data("gap")
        ),
        Some("kicked" | "reconnect") => eprintln!("wscctl: told to leave: {}", data("reason")),
        Some("error") => eprintln!(
            "wscctl: {}: {}",
            cell(frame.get("code")),
            cell(frame.get("message"))
        ),
        Some(other) => eprintln!("wscctl: {}", printable(other)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_places_in_the_inbox_are_remembered() {
        let at = |frame: Value| place(&frame).map(|at| at.to_string());
        assert_eq!(
            at(json!({"type": "text", "to": "bob", "pos": "7.2"})),
            Some("7.2".to_owned())
        );
        assert_eq!(
            at(json!({"type": "text", "group": "g", "pos": "7.2"})),
            None
        );
        let gap =
            |log| json!({"type": "position", "data": {"log": log, "gap": "lost", "pos": "9.0"}});
        assert_eq!(at(gap("inbox")), Some("9.0".to_owned()));
        assert_eq!(at(gap("group:g")), None);
    }
}
