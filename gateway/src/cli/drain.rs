//! `wsc-gateway drain`: tells the gateway of this pod to leave, by its admin port. The image has no shell and no curl.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

/// For connecting, and for each read and write.
const DEADLINE: Duration = Duration::from_secs(5);

/// As much of the answer as is read: its first line is in it.
const LONGEST: u64 = 1024;

/// Where the gateway listens.
#[derive(Debug, Args)]
pub struct DrainArguments {
    /// The admin port of the gateway in this pod.
    #[arg(long, default_value_t = 9100, value_name = "PORT")]
    port: u16,
}

impl DrainArguments {
    /// Tells it; what it does then it does by itself.
    pub fn run(&self) -> anyhow::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let answer = told(address).with_context(|| format!("no answer from {address}"))?;
        let first = answer.lines().next().unwrap_or_default();
        if first.split(' ').nth(1) != Some("202") {
            bail!("{address} answers: {first}");
        }
        Ok(())
    }
}

fn told(address: SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, DEADLINE)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.set_write_timeout(Some(DEADLINE))?;
    socket.write_all(
        b"POST /drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    )?;
    let mut answer = Vec::new();
    socket.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
