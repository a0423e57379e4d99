//! `LogConfig`: how much is logged, and in which form.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closed::closed;
use crate::schema;

closed! {
    /// How much is logged.
    pub enum LogLevel {
        /// What needs someone's attention.
        Error = "error",
        /// What may.
        Warn = "warn",
        /// The life of the process.
        Info = "info",
        /// Each connection.
        Debug = "debug",
        /// Each frame.
        Trace = "trace",
    }
}

closed! {
    /// The form of a line.
    pub enum LogFormat {
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Text = "text",
    }
}

/// The log on standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct LogConfig {
    /// How much is logged: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: LogLevel,
    /// The form of a line: `json` or `text`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            format: LogFormat::Json,
        }
    }
}
