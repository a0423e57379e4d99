//! The bare send loop, the floor of what a server can cost: one thread, one system call per message and socket, and
//! nothing else. No identity, no limits, no queues: a slow reader holds everybody up.
//!
//! It speaks the plain dialect without rooms, and answers `E` to the sender.

use std::io::{self, Read as _, Write as _};

use anyhow::{Context as _, bail};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::handshake::{self, ACCEPT};

const LISTENER: Token = Token(usize::MAX);

/// Serves until it is killed.
pub fn serve(port: u16) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("bare send loop {}", env!("CARGO_PKG_VERSION"));
    let mut server = Server::default();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept(&listener, &poll)?,
                Token(index) => {
                    if server.read(index).is_err() {
                        server.socks.get_mut(index).map(Option::take);
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Server {
    socks: Vec<Option<Sock>>,
    buffer: Vec<u8>,
}

struct Sock {
    stream: TcpStream,
    upgraded: bool,
    rest: Vec<u8>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> anyhow::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            poll.registry()
                .register(&mut stream, Token(self.socks.len()), Interest::READABLE)?;
            self.socks.push(Some(Sock {
                stream,
                upgraded: false,
                rest: Vec::new(),
            }));
        }
    }

    fn read(&mut self, index: usize) -> anyhow::Result<()> {
        self.buffer.resize(1 << 16, 0);
        let sock = self
            .socks
            .get_mut(index)
            .and_then(Option::as_mut)
            .context("gone")?;
        loop {
            match sock.stream.read(&mut self.buffer) {
                Ok(0) => bail!("the client went"),
                Ok(read) => sock
                    .rest
                    .extend(self.buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut rest = std::mem::take(&mut sock.rest);
        if !sock.upgraded {
            if !rest.ends_with(b"\r\n\r\n") {
                sock.rest = rest;
                return Ok(());
            }
            rest.clear();
            sock.upgraded = true;
            let answer = format!(
                "{}\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n",
                handshake::SWITCHING
            );
            sock.stream.write_all(answer.as_bytes())?;
            sock.stream.write_all(&encoded(b"ready"))?;
        }
        let mut used = 0;
        while let Some((size, payload)) = request(rest.get(used..).unwrap_or_default()) {
            used += size;
            self.serve(index, &payload)?;
        }
        rest.drain(..used);
        if let Some(Some(sock)) = self.socks.get_mut(index) {
            sock.rest = rest;
        }
        Ok(())
    }

    fn serve(&mut self, index: usize, payload: &[u8]) -> io::Result<()> {
        let (&kind, body) = payload.split_first().unwrap_or((&b'E', &[]));
        let frame = encoded(body);
        let all = match kind {
            b'P' => self.socks.as_mut_slice(),
            _ => self.socks.get_mut(index..=index).unwrap_or_default(),
        };
        for sock in all.iter_mut().flatten().filter(|sock| sock.upgraded) {
            let mut left = frame.as_slice();
            while !left.is_empty() {
                match sock.stream.write(left) {
                    Ok(written) => left = left.get(written..).unwrap_or_default(),
                    // The floor has no queues: it waits, and everybody with it.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        std::thread::yield_now();
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// A message of up to 64 KiB as a server sends it.
fn encoded(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(payload.len()) {
        Ok(len @ 0..=125) => frame.push(len.to_be_bytes()[1]),
        len => {
            frame.push(126);
            frame.extend(len.unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// A whole message of a client at the start of `bytes`: how many bytes it takes, and what it says.
fn request(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (len, rest) = match bytes {
        [_, 0xfe, a, b, rest @ ..] => (usize::from(u16::from_be_bytes([*a, *b])), rest),
        [_, short, rest @ ..] => (usize::from(short & 0x7f), rest),
        _ => return None,
    };
    let (mask, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..len)?;
    let payload = payload
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, mask)| byte ^ mask);
    Some((bytes.len() - rest.len() + len, payload.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_generator_writes_and_the_generator_what_it_writes() {
        for len in [0, 125, 126, 5000] {
            let payload = vec![b'x'; len];
            let mut sent = Vec::new();
            crate::frame::masked(crate::frame::Opcode::Text, &payload, &mut sent);
            assert_eq!(request(&sent), Some((sent.len(), payload.clone())));
            assert_eq!(request(&sent[..sent.len() - 1]), None);
            let frame = encoded(&payload);
            assert_eq!(
                crate::frame::first(&frame).unwrap().unwrap().payload,
                payload
            );
        }
    }
}
