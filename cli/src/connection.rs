//! `Connection`: where the gateway is and what is shown to it, by flags and environment.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Failure;
use crate::endpoint::{Endpoint, Scheme};

/// Where the gateway is. Keys come from files or the environment only: arguments show in lists of processes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The HTTP API.
    #[arg(
        long,
        global = true,
        env = "WSC_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://localhost:8080"
    )]
    url: String,
    /// The file with the API key; without it, the environment variable `WSC_API_KEY`.
    #[arg(
        long,
        global = true,
        env = "WSC_API_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    api_key_file: Option<PathBuf>,
    /// The admin port of one pod, for `drain`.
    #[arg(
        long,
        global = true,
        env = "WSC_ADMIN_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://localhost:9100"
    )]
    admin_url: String,
    /// Where WebSocket clients connect, for `tail`.
    #[arg(
        long,
        global = true,
        env = "WSC_WS_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "ws://localhost:8081/ws"
    )]
    ws_url: String,
    /// Where clients of Server-Sent Events connect, for `tail`.
    #[arg(
        long,
        global = true,
        env = "WSC_SSE_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://localhost:8081/sse"
    )]
    sse_url: String,
    /// Where clients of gRPC connect, for `tail`.
    #[arg(
        long,
        global = true,
        env = "WSC_GRPC_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://localhost:9090"
    )]
    grpc_url: String,
    /// The certificates (PEM) that the gateway's own is judged by; without it, those of this machine.
    #[arg(
        long,
        global = true,
        env = "WSC_CA_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    ca_file: Option<PathBuf>,
}

/// A key or a token: goes into a header and nowhere else.
pub(crate) struct Secret(String);

impl Secret {
    /// As a header's value after `Bearer `.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// From a file, else from a variable of the environment.
    pub(crate) fn find(
        what: &str,
        file: Option<&Path>,
        variable: &str,
    ) -> Result<Option<Self>, Failure> {
        let text = match file {
            Some(file) => {
                let read = std::fs::read_to_string(file);
                let wrong = |why| Failure::Usage(format!("{what} {}: {why}", file.display()));
                Some(read.map_err(wrong)?)
            }
            None => std::env::var(variable).ok(),
        };
        let text = text.map(|text| text.trim().to_owned());
        if text
            .as_ref()
            .is_some_and(|text| !text.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(Failure::Usage(format!(
                "{what}: holds more than one word of printable ASCII"
            )));
        }
        Ok(text.filter(|text| !text.is_empty()).map(Self))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

impl Connection {
    /// The HTTP API.
    pub(crate) fn api(&self) -> Result<Endpoint, Failure> {
        Endpoint::parse(&self.url, Scheme::Http, self.ca_file.as_deref())
    }

    /// The admin port.
    pub(crate) fn admin(&self) -> Result<Endpoint, Failure> {
        Endpoint::parse(&self.admin_url, Scheme::Http, self.ca_file.as_deref())
    }

    /// Where clients connect.
    pub(crate) fn web_socket(&self) -> Result<Endpoint, Failure> {
        Endpoint::parse(&self.ws_url, Scheme::WebSocket, self.ca_file.as_deref())
    }

    /// Where clients of Server-Sent Events connect.
    pub(crate) fn event_stream(&self) -> Result<Endpoint, Failure> {
        Endpoint::parse(&self.sse_url, Scheme::Http, self.ca_file.as_deref())
    }

    /// Where clients of gRPC connect.
    pub(crate) fn grpc(&self) -> Result<Endpoint, Failure> {
        Endpoint::parse(&self.grpc_url, Scheme::Grpc, self.ca_file.as_deref())
    }

    /// What the API is shown. Whether it wants one is the gateway's to say.
    pub(crate) fn api_key(&self) -> Result<Option<Secret>, Failure> {
        Secret::find(
            "--api-key-file",
            self.api_key_file.as_deref(),
            "WSC_API_KEY",
        )
    }
}
