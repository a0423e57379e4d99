//! `drain`: tells one pod to leave, by its admin port.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wsc_config::Seconds;

use crate::Failure;
use crate::api::Api;
use crate::connection::Connection;
use crate::output::{Format, Table, print};

/// How often a pod that leaves is asked how far it is.
const POLL: Duration = Duration::from_millis(500);

/// Whether to wait.
#[derive(Debug, Args)]
#[command(after_help = "\
The admin port has no Service, and takes this from the pod itself alone: forward it first, for one pod.
  kubectl port-forward pod/chat-6d5f-x2x7k 9100 &
  wscctl drain --wait")]
pub struct DrainCommand {
    /// Wait until no session is left to tell, or the pod is gone.
    #[arg(long)]
    wait: bool,
    /// How long to wait at most.
    #[arg(long, value_name = "TIME", default_value = "2m", requires = "wait")]
    timeout: Seconds,
}

pub(crate) async fn run(
    command: &DrainCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let admin = Api::admin(connection)?;
    let drain = async || admin.post("/drain", &json!({})).await;
    let answer = if command.wait {
        let before = admin.get("/status").await?;
        drain().await?;
        emptied(&admin, &before, command.timeout.into()).await?
    } else {
        drain().await?
    };
    Ok(print(format, &answer, Table::fields)?)
}

/// What the pod last said of itself; `before` is what it said before it was told.
async fn emptied(admin: &Api, before: &Value, limit: Duration) -> Result<Value, Failure> {
    let gone = || Ok(json!({ "phase": "stopped" }));
    let deadline = Instant::now() + limit;
    let mut last = Value::Null;
    while Instant::now() < deadline {
        match admin.get("/status").await {
            Ok(status) => {
                let left = |name| status.get(name).and_then(Value::as_u64);
                let phase = status.get("phase").and_then(Value::as_str);
                let leaves = matches!(phase, Some("draining" | "stopped"));
                if leaves && left("connections") == Some(0) && left("remaining") == Some(0) {
                    return Ok(status);
                }
                // Its container has begun anew, and answers under the same address.
                if !leaves && status.get("epoch") != before.get("epoch") {
                    return gone();
                }
                last = status;
            }
            // It was there a moment ago, when it was told: now it has gone.
            Err(Failure::Unreachable(_)) => return gone(),
            Err(failure) => return Err(failure),
        }
        sleep(POLL).await;
    }
    let left = last.get("connections").cloned().unwrap_or_default();
    Err(Failure::failed(format!(
        "not done within the time: {left} connections are left"
    )))
}
