//! `send`: one message by the HTTP API.

use std::io::Read as _;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::api::Api;
use crate::connection::Connection;
use crate::output::{Format, Table, print};

/// The largest text that is read from standard input.
const MAX_INPUT: u64 = 64 << 20;

/// A message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wscctl send --to alice --to bob 'Your order has shipped'
  wscctl send --to alice --type order.shipped --data '{\"order\":17}'
  echo '[1,2,3]' | wscctl send --broadcast --json-content -")]
pub struct SendCommand {
    /// A user it is for; as often as needed.
    #[arg(long, value_name = "USER", required_unless_present = "broadcast")]
    to: Vec<String>,
    /// For everyone.
    #[arg(long, conflicts_with = "to")]
    broadcast: bool,
    #[command(flatten)]
    message: Content,
}

/// What a message carries, wherever it goes.
#[derive(Debug, Args)]
pub(crate) struct Content {
    /// The content: text, or `-` for standard input.
    #[arg(value_name = "CONTENT")]
    text: Option<String>,
    /// The message's type, as recipients see it.
    #[arg(long = "type", default_value = "text")]
    kind: String,
    /// The content is JSON, not text.
    #[arg(long = "json-content")]
    is_json: bool,
    /// An object of the application's own, as JSON.
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Your own id for the message.
    #[arg(long)]
    id: Option<String>,
    /// The id of the message this one answers.
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
    /// How urgent it is.
    #[arg(long, value_enum)]
    priority: Option<Priority>,
    /// Who it is said to come from.
    #[arg(long)]
    from: Option<String>,
}

/// How urgent a message is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Priority {
    Low,
    Normal,
    High,
    Critical,
}

impl Priority {
    /// The word that the API takes.
    pub(crate) fn json(self) -> Value {
        let name = self.to_possible_value();
        name.map(|value| value.get_name().to_owned()).into()
    }
}

pub(crate) async fn run(
    command: &SendCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let api = Api::new(connection)?;
    let mut body = command.message.body()?;
    if command.broadcast {
        let answer = api.post("/v1/broadcasts", &body.into()).await?;
        return Ok(print(format, &answer, Table::fields)?);
    }
    body.insert("to".to_owned(), json!(command.to));
    let answer = api.post("/v1/messages", &body.into()).await?;
    print(format, &answer, |answer| {
        let fields = fields(answer.get("recipients"));
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        Table::of(&fields, answer.get("recipients").unwrap_or(&Value::Null))
    })?;
    Ok(())
}

/// The names of the first object's fields, the user first: what is told of a recipient depends on the gateway's settings.
fn fields(items: Option<&Value>) -> Vec<String> {
    let first = items
        .and_then(|items| items.get(0))
        .and_then(Value::as_object);
    let mut names: Vec<String> = first
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    names.sort_by_key(|name| name != "user_id");
    names
}

impl Content {
    /// The message as the API takes it.
    pub(crate) fn body(&self) -> Result<Map<String, Value>, Failure> {
        let fields = [
            ("type", Some(json!(self.kind))),
            ("content", self.content()?),
            ("data", self.data()?),
            ("id", self.id.as_ref().map(|id| json!(id))),
            ("reply_to", self.reply_to.as_ref().map(|id| json!(id))),
            ("priority", self.priority.map(Priority::json)),
            ("from", self.from.as_ref().map(|from| json!(from))),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Ok(given.collect())
    }

    fn content(&self) -> Result<Option<Value>, Failure> {
        let text = match self.text.as_deref() {
            None => return Ok(None),
            Some("-") => {
                let mut text = String::new();
                let read = std::io::stdin().take(MAX_INPUT).read_to_string(&mut text);
                read.map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
                text.strip_suffix('\n')
                    .map(ToOwned::to_owned)
                    .unwrap_or(text)
            }
            Some(text) => text.to_owned(),
        };
        if !self.is_json {
            return Ok(Some(text.into()));
        }
        let value = serde_json::from_str(&text);
        value
            .map(Some)
            .map_err(|error| Failure::Usage(format!("the content is not JSON: {error}")))
    }

    fn data(&self) -> Result<Option<Value>, Failure> {
        let Some(text) = &self.data else {
            return Ok(None);
        };
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(Some(object.into())),
            Ok(_) => Err(Failure::Usage("--data: must be a JSON object".to_owned())),
            Err(error) => Err(Failure::Usage(format!("--data: not JSON: {error}"))),
        }
    }
}
