//! `import`: a configuration file of go-wsc or go-rpc-gateway becomes a `WebSocketGateway`.
//!
//! `source` reads the file in any of its three spellings, `names` says where each key goes and what its bare integers
//! count, `carry` moves the values over and notes every one that it leaves behind, `resource` writes what came of it.
//! Nothing is lost in silence, and no value is repeated in a note: what is left behind may be a password.

use std::path::PathBuf;

use clap::Args;

use crate::{Failure, output};

mod carry;
mod names;
mod resource;
mod source;
mod values;

/// Which file, and what the resource is called.
#[derive(Debug, Args)]
#[command(after_help = "\
Keys may be written in snake_case, kebab-case or camelCase; the file may be a whole configuration or only what stands
under `wsc`. Durations may be Go strings or bare integers in the unit of the reference. What cannot be carried over is
named in a comment at the head of the resource and on standard error.

  wscctl import gateway-prod.yaml --name chat --replicas 3 | kubectl apply -f -")]
pub struct ImportCommand {
    /// The configuration file (YAML or JSON); `-` for standard input.
    file: PathBuf,
    /// The resource's name.
    #[arg(long, default_value = "chat")]
    name: String,
    /// The resource's namespace; without one, that of whoever applies it.
    #[arg(long)]
    namespace: Option<String>,
    /// How many pods there are.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    replicas: u32,
    /// Print nothing and end with 1 if anything cannot be carried over.
    #[arg(long)]
    strict: bool,
}

/// What the resource is called.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its namespace, if it says.
    pub namespace: Option<String>,
    /// Its pods.
    pub replicas: u32,
}

/// What came of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The resource.
    pub resource: serde_json::Value,
    /// What was left behind, each with its path as the file writes it, and why.
    pub notes: Vec<Note>,
}

/// A key that was left behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// The key as the file writes it.
    pub path: String,
    /// Why; never what its value is.
    pub why: String,
}

pub(crate) fn run(command: &ImportCommand) -> Result<(), Failure> {
    let text = read(command)?;
    let identity = Identity {
        name: command.name.clone(),
        namespace: command.namespace.clone(),
        replicas: command.replicas,
    };
    let imported = import(&text, &identity)?;
    for Note { path, why } in &imported.notes {
        eprintln!("wscctl: {}", output::printable(&format!("{path}: {why}")));
    }
    if command.strict && !imported.notes.is_empty() {
        return Err(Failure::failed(format!(
            "--strict: {} keys cannot be carried over",
            imported.notes.len()
        )));
    }
    Ok(output::line(imported.yaml()?.trim_end())?)
}

/// Turns the text of a configuration into a resource.
pub fn import(text: &str, identity: &Identity) -> Result<Imported, Failure> {
    let leaves = source::read(text)?;
    let carried = carry::carry(leaves)?;
    resource::resource(carried, identity)
}

fn read(command: &ImportCommand) -> Result<String, Failure> {
    let text = if command.file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(&command.file)
    };
    text.map_err(|error| Failure::Usage(format!("{}: {error}", command.file.display())))
}
