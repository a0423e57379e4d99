//! WebSocket frames as a client needs them: one way to write a message, one way to find messages in what was read.
//!
//! The gateway's own codec is for servers and refuses what servers send; client libraries allocate each message, which
//! costs more than the rest of the generator. This one only looks: payloads stay in the buffer they were read into.

use anyhow::bail;

/// A frame to the server, masked by zero: servers must still unmask it, and the generator need not.
pub fn masked(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match u16::try_from(payload.len()) {
        Ok(len @ 0..=125) => out.push(0x80 | len.to_be_bytes()[1]),
        Ok(len) => {
            out.push(0xfe);
            out.extend(len.to_be_bytes());
        }
        Err(_) => {
            out.push(0xff);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0,
    /// A message of text.
    Text = 1,
    /// A message of bytes.
    Binary = 2,
    /// The server goes.
    Close = 8,
    /// The server asks whether the client lives.
    Ping = 9,
    /// The answer to that.
    Pong = 10,
}

/// A whole frame at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub opcode: Opcode,
    /// Whether the message ends with it.
    pub last: bool,
    /// Whether the message that begins with it is compressed.
    pub compressed: bool,
    /// What it holds.
    pub payload: &'a [u8],
    /// How many bytes it takes in the buffer.
    pub size: usize,
}

/// The frame at the start of `bytes`; `None` when it is not all there yet.
pub fn first(bytes: &[u8]) -> anyhow::Result<Option<Frame<'_>>> {
    let &[head, short, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if short & 0x80 != 0 {
        bail!("a server's frame is masked");
    }
    let (len, rest) = match (short, rest) {
        (126, &[a, b, ref rest @ ..]) => (usize::from(u16::from_be_bytes([a, b])), rest),
        (127, rest) => match rest.split_first_chunk::<8>() {
            Some((len, rest)) => (usize::try_from(u64::from_be_bytes(*len))?, rest),
            None => return Ok(None),
        },
        (126, _) => return Ok(None),
        (len, rest) => (usize::from(len), rest),
    };
    let Some(payload) = rest.get(..len) else {
        return Ok(None);
    };
    let opcode = match head & 0x3f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => bail!("a frame begins with {head:#04x}, which nobody asked for"),
    };
    Ok(Some(Frame {
        opcode,
        last: head & 0x80 != 0,
        compressed: head & 0x40 != 0,
        payload,
        size: bytes.len() - rest.len() + len,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server would send: the same without the mask.
    fn unmasked(len: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        masked(Opcode::Text, &vec![b'x'; len], &mut sent);
        let head = sent.len() - len - 4;
        sent.drain(head..head + 4);
        sent[1] &= 0x7f;
        sent
    }

    #[test]
    fn finds_frames_of_every_length_and_waits_for_what_is_missing() {
        for len in [0, 1, 125, 126, 65535, 65536] {
            let mut bytes = unmasked(len);
            bytes.extend(b"next");
            let frame = first(&bytes).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.payload.len()), (Opcode::Text, len));
            assert_eq!(&bytes[frame.size..], b"next");
            for short in (0..12.min(frame.size)).chain([frame.size - 1]) {
                assert_eq!(first(&bytes[..short]).unwrap(), None, "{short} of {len}");
            }
        }
    }

    #[test]
    fn refuses_what_no_server_may_send() {
        assert!(first(&[0x81, 0x80, 0, 0]).is_err());
        assert!(first(&[0x91, 0x00]).is_err());
    }
}
