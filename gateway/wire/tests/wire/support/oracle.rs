//! What tungstenite makes of a stream, and where it is right to differ.
//!
//! `compare` is shared by the differential test and the fuzz target. Everything that is not listed here must agree:
//! the messages, and whether the stream is accepted, refused or closed. tungstenite differs deliberately in:
//!
//! 1. **When** it refuses: it waits for the end of the frame, the decoder stops at the first byte that proves it wrong.
//!    Completing the frame must make tungstenite refuse too, with nothing delivered in between.
//! 2. **Lengths** that are not in their shortest form: accepted by it, refused here (RFC 6455 5.2). With the shortest
//!    form in their place both must agree again.
//! 3. **Close codes** that must not be sent: delivered by it as 1002 "Protocol violation", refused with 1002 here.
//!    1014, registered after RFC 6455, is unknown to it: also delivered as 1002, accepted here.

use std::io::{self, Read, Write};

use tungstenite::{
    Error, Message,
    protocol::{Role, WebSocket, WebSocketConfig},
};
use wsc_wire::Violation;

use super::frames::{End, Owned, length_header, run};

/// Runs a stream through both and panics where they differ. The limit must be 125 at least: tungstenite applies it to
/// control frames too.
pub(crate) fn compare(stream: &[u8], pieces: &[usize], limit: usize) {
    let ours = run(stream, pieces, limit);
    assert_eq!(
        ours,
        run(stream, &[], limit),
        "depends on how the stream was cut"
    );
    let (messages, end) = &ours;
    match end {
        End::Refused(Violation::NonMinimalLength) => {
            let minimal = with_minimal_lengths(stream);
            assert_ne!(minimal, stream, "all lengths are minimal");
            let theirs = tungstenite(stream, limit);
            assert!(
                theirs.messages.starts_with(&known_to_tungstenite(messages)),
                "{ours:?}, tungstenite: {theirs:?}"
            );
            compare(&minimal, pieces, limit);
        }
        End::Refused(Violation::ControlFrameTooLong) if with_minimal_lengths(stream) != stream => {
            compare(&with_minimal_lengths(stream), pieces, limit);
        }
        End::Refused(violation) => compare_refusal(stream, limit, messages, *violation),
        End::Open | End::Closed => {
            let theirs = tungstenite(stream, limit);
            let closed = theirs.end == TheirEnd::Closed;
            let same_end = theirs.end != TheirEnd::Refused && closed == (*end == End::Closed);
            assert!(same_end, "{ours:?}, tungstenite: {theirs:?}");
            assert_eq!(known_to_tungstenite(messages), theirs.messages);
        }
    }
}

fn compare_refusal(stream: &[u8], limit: usize, messages: &[Owned], violation: Violation) {
    let mut theirs = tungstenite(stream, limit);
    if theirs.end == TheirEnd::Open {
        // Ones make lengths that are missing long, and never complete a shorter frame.
        let completed: Vec<u8> = stream
            .iter()
            .copied()
            .chain(vec![0xff; limit + 14])
            .collect();
        theirs = tungstenite(&completed, limit);
    }
    let mut expected = known_to_tungstenite(messages);
    if matches!(violation, Violation::InvalidCloseCode(_)) && theirs.end == TheirEnd::Closed {
        expected.push(protocol_violation());
    } else {
        assert_eq!(
            theirs.end,
            TheirEnd::Refused,
            "{violation}, tungstenite: {theirs:?}"
        );
    }
    assert_eq!(expected, theirs.messages, "{violation}");
}

/// What tungstenite puts in the place of a close frame whose code it does not know.
fn protocol_violation() -> Owned {
    Owned::Close(Some((1002, "Protocol violation".to_owned())))
}

fn known_to_tungstenite(messages: &[Owned]) -> Vec<Owned> {
    let known = |message: &Owned| match message {
        Owned::Close(Some((1014, _))) => protocol_violation(),
        message => message.clone(),
    };
    messages.iter().map(known).collect()
}

/// Rewrites every length to its shortest form, with a reading of headers that is neither implementation's.
fn with_minimal_lengths(mut stream: &[u8]) -> Vec<u8> {
    let mut minimal = Vec::with_capacity(stream.len());
    while let [first, second, rest @ ..] = stream {
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((digits, rest)) = rest.split_at_checked(extended) else {
            break;
        };
        let length = match extended {
            0 => u64::from(second & 0x7f),
            _ => digits
                .iter()
                .fold(0, |length, digit| length << 8 | u64::from(*digit)),
        };
        minimal.extend(length_header(*first, second & 0x80, length));
        let behind = length.saturating_add(if second & 0x80 == 0 { 0 } else { 4 });
        let behind = usize::try_from(behind)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        minimal.extend(&rest[..behind]);
        stream = &rest[behind..];
    }
    minimal.extend(stream);
    minimal
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TheirEnd {
    Open,
    Closed,
    Refused,
}

#[derive(Debug)]
struct Theirs {
    messages: Vec<Owned>,
    end: TheirEnd,
}

fn tungstenite(stream: &[u8], limit: usize) -> Theirs {
    let config = WebSocketConfig::default()
        .read_buffer_size(256)
        .write_buffer_size(0)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    let mut socket = WebSocket::from_raw_socket(Pipe(stream), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        let message = match socket.read() {
            Ok(Message::Text(text)) => Owned::Text(text.to_string()),
            Ok(Message::Binary(bytes)) => Owned::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Owned::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Owned::Pong(bytes.to_vec()),
            Ok(Message::Close(frame)) => {
                messages.push(Owned::Close(
                    frame.map(|frame| (frame.code.into(), frame.reason.to_string())),
                ));
                return Theirs {
                    messages,
                    end: TheirEnd::Closed,
                };
            }
            Ok(Message::Frame(frame)) => panic!("tungstenite never reads a raw frame: {frame}"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Theirs {
                    messages,
                    end: TheirEnd::Open,
                };
            }
            Err(_) => {
                return Theirs {
                    messages,
                    end: TheirEnd::Refused,
                };
            }
        };
        messages.push(message);
    }
}

/// A socket on which the stream has arrived and nothing more comes yet.
struct Pipe<'a>(&'a [u8]);

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
