//! `Session`: one connection of `tail`, from the handshake to the reason it ended, whatever it is over.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};
use tokio::time::timeout;
use wsc_gateway::protocol::{Disconnect, Position};

use super::event_stream::EventStream;
use super::grpc::Grpc;
use super::web_socket::WebSocket;
use super::wire::{Heard, Wire};
use crate::Failure;
use crate::api::encode;
use crate::connection::Secret;
use crate::endpoint::Endpoint;
use crate::output::printable;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long nothing at all may come before the welcome frame says better.
const SILENCE: Duration = Duration::from_secs(90);

/// What a session is over.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Transport {
    /// WebSocket, at `--ws-url`.
    #[default]
    Ws,
    /// Server-Sent Events, at `--sse-url`.
    Sse,
    /// A stream of gRPC, at `--grpc-url`.
    Grpc,
}

/// Where to connect, as whom, and from where on.
pub(super) struct Opening<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) token: Option<&'a Secret>,
    pub(super) after: Option<Position>,
}

impl Opening<'_> {
    /// What the header `Authorization` says.
    pub(super) fn bearer(&self) -> Option<String> {
        self.token.map(|token| format!("Bearer {}", token.expose()))
    }

    /// Where the client was, as JSON.
    pub(super) fn resume(&self) -> Option<String> {
        let after = self.after?;
        Some(json!({"inbox": after.to_string()}).to_string())
    }

    /// The path with where the client was.
    pub(super) fn path(&self) -> String {
        let path = match self.endpoint.path() {
            "" => "/",
            path => path,
        };
        match self.resume() {
            Some(resume) => format!("{path}?resume={}", encode(&resume)),
            None => path.to_owned(),
        }
    }
}

/// A connection that was let in.
pub(super) struct Session {
    wire: Box<dyn Wire>,
    silence: Duration,
    /// What a `reconnect` frame asked for.
    after: Duration,
}

/// Why it ended.
pub(super) enum Ended {
    /// Nothing more is wanted.
    Enough,
    /// The client should not come back by itself.
    Stay(Failure),
    /// It should, after this time.
    ComeBack {
        /// For whoever watches.
        why: String,
        /// Beside the pause of the client's own.
        after: Duration,
    },
}

impl Ended {
    pub(super) fn come_back(why: impl std::fmt::Display) -> Self {
        Self::come_back_after(printable(&why.to_string()), None)
    }

    /// `seconds`: what a header `Retry-After` says.
    pub(super) fn come_back_after(why: String, seconds: Option<&str>) -> Self {
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        let after = Duration::from_secs(seconds.unwrap_or_default());
        Self::ComeBack { why, after }
    }
}

impl Session {
    /// Connects and is let in, or hears why not.
    pub(super) async fn open(transport: Transport, opening: &Opening<'_>) -> Result<Self, Ended> {
        let opened = async {
            let wire: Box<dyn Wire> = match transport {
                Transport::Ws => Box::new(WebSocket::open(opening).await?),
                Transport::Sse => Box::new(EventStream::open(opening).await?),
                Transport::Grpc => Box::new(Grpc::open(opening).await?),
            };
            Ok::<_, Ended>(wire)
        };
        let late = || Ended::come_back(opening.endpoint.unreachable("no answer in time"));
        let wire = timeout(HANDSHAKE, opened).await.map_err(|_| late())??;
        Ok(Self {
            wire,
            silence: SILENCE,
            after: Duration::ZERO,
        })
    }

    /// Hands over every frame until `take` says that it was the last, or the connection ends.
    pub(super) async fn read(
        &mut self,
        mut take: impl FnMut(&str) -> Result<bool, Failure>,
    ) -> Result<Ended, Failure> {
        loop {
            let next = tokio::select! {
                next = timeout(self.silence, self.wire.hear()) => next,
                _ = tokio::signal::ctrl_c() => return Ok(self.farewell().await),
            };
            match next {
                Ok(Heard::Frame(text)) => {
                    self.heed(&text);
                    if !take(&text)? {
                        return Ok(self.farewell().await);
                    }
                }
                Ok(Heard::Life) => {}
                Ok(Heard::Closed(code, reason)) => return Ok(self.closed(code, &reason)),
                Ok(Heard::Broken(why)) => return Ok(self.back(&why)),
                Err(_) => return Ok(self.back("nothing came for too long")),
            }
        }
    }

    /// Takes over what the gateway says about the connection itself.
    fn heed(&mut self, text: &str) {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let data = |name| {
            frame
                .get("data")
                .and_then(|data| data.get(name))
                .and_then(Value::as_u64)
        };
        match frame.get("type").and_then(Value::as_str) {
            Some("welcome") => {
                if let Some(timeout) = data("client_timeout_ms") {
                    self.silence = Duration::from_millis(timeout);
                }
            }
            Some("reconnect") => {
                self.after = Duration::from_millis(data("after_ms").unwrap_or_default());
            }
            _ => {}
        }
    }

    async fn farewell(&mut self) -> Ended {
        self.wire.farewell().await;
        Ended::Enough
    }

    fn back(&self, why: &str) -> Ended {
        Ended::ComeBack {
            why: printable(why),
            after: self.after,
        }
    }

    fn closed(&self, code: u16, reason: &str) -> Ended {
        let why = printable(&format!("closed with {code}: {reason}"));
        if reconnects(code) {
            return self.back(&why);
        }
        Ended::Stay(match code {
            4001 | 4003 => Failure::Refused(why),
            _ => Failure::Failed(why),
        })
    }
}

/// What the gateway's table of close codes says; codes of proxies are judged by RFC 6455 §7.4.
fn reconnects(code: u16) -> bool {
    let known = Disconnect::ALL
        .iter()
        .map(|disconnect| disconnect.describe());
    let known = known.into_iter().find(|told| told.code == code);
    known.map_or(matches!(code, 1001 | 1005 | 1006 | 1011..=1014), |told| {
        told.reconnect
    })
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(why) => Self::come_back(why),
            failure => Self::Stay(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_of_the_gateway_is_heeded_as_its_table_says() {
        for disconnect in Disconnect::ALL {
            let told = disconnect.describe();
            assert_eq!(reconnects(told.code), told.reconnect, "{}", told.code);
        }
    }

    #[test]
    fn a_code_of_a_proxy_leads_back_and_one_that_nobody_knows_does_not() {
        assert!(reconnects(1001) && reconnects(1014));
        assert!(!reconnects(4999) && !reconnects(1003));
    }
}
