//! The protocol of NATS, as far as members need it: a stream of lines, some with a payload behind them, which WebSocket
//! frames cut wherever they like. Rooms are subjects.

use anyhow::{Context as _, ensure};

use crate::dialect::Member;

/// No line and no payload of a run is longer.
const MOST: usize = 1 << 20;

/// What a member says to be let in and to hear its room: the answer to the `PING` comes when all of it is done. The server
/// is to acknowledge nothing else, and to send members their own messages, too.
pub(crate) fn enter(member: &Member) -> String {
    let Member { number, room } = member;
    format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"echo\":true,\"protocol\":1,\"name\":\"u{number}\",\
         \"lang\":\"wsc-bench\",\"version\":\"{}\"}}\r\nSUB r{room} 1\r\nPING\r\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// A publish to a room.
pub(crate) fn publish(room: usize, body: &str) -> String {
    format!("PUB r{room} {}\r\n{body}\r\n", body.len())
}

/// What the server says first in `bytes`, and how many of them it takes; `None` when it is not all there yet. Of what was
/// published it is the payload, otherwise the line.
pub(crate) fn first(bytes: &[u8]) -> anyhow::Result<Option<(&[u8], usize)>> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        ensure!(bytes.len() <= MOST, "a line is longer than {MOST} bytes");
        return Ok(None);
    };
    let (line, rest) = bytes.split_at(end);
    if !line.starts_with(b"MSG ") {
        return Ok(Some((line, end + 2)));
    }
    let size = size(line).with_context(|| {
        format!(
            "the line of a message has no size: {:?}",
            String::from_utf8_lossy(line)
        )
    })?;
    ensure!(size <= MOST, "a message is larger than {MOST} bytes");
    let message = rest.get(2..2 + size).zip(rest.get(2 + size..4 + size));
    let Some((payload, after)) = message else {
        return Ok(None);
    };
    ensure!(after == b"\r\n", "a message does not end where it should");
    Ok(Some((payload, end + 4 + size)))
}

/// The last word of a message's line, after subject, subscription and perhaps where to answer.
fn size(line: &[u8]) -> Option<usize> {
    let word = line.rsplit(|byte| *byte == b' ').next()?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &[u8] = b"INFO {\"max_payload\":1048576}\r\nMSG r1 1 5\r\na\r\nbc\r\nPING\r\nMSG r1 1 inbox 0\r\n\r\n-ERR 'Slow Consumer'\r\n";

    /// All that can be told from the start of `bytes`, and what is left.
    fn told(mut bytes: &[u8]) -> (Vec<String>, &[u8]) {
        let mut told = Vec::new();
        while let Some((message, used)) = first(bytes).unwrap() {
            told.push(String::from_utf8(message.to_vec()).unwrap());
            bytes = &bytes[used..];
        }
        (told, bytes)
    }

    #[test]
    fn lines_and_payloads_are_told_apart_wherever_the_stream_is_cut() {
        let whole = [
            "INFO {\"max_payload\":1048576}",
            "a\r\nbc",
            "PING",
            "",
            "-ERR 'Slow Consumer'",
        ];
        for cut in 0..=SAID.len() {
            let (mut all, rest) = told(&SAID[..cut]);
            let rest = [rest, &SAID[cut..]].concat();
            let (more, left) = told(&rest);
            all.extend(more);
            assert_eq!(all, whole, "cut after {cut}");
            assert!(left.is_empty(), "cut after {cut}");
        }
    }

    #[test]
    fn what_no_server_may_say_is_an_error_that_shows_it() {
        let refused = first(b"MSG r1 1 many\r\n").unwrap_err().to_string();
        assert!(refused.contains("MSG r1 1 many"), "{refused}");
        for bad in [&b"MSG r1 1 1\r\nabc\r\n"[..], b"MSG r1 1 1048577\r\n"] {
            assert!(first(bad).is_err(), "{bad:?}");
        }
        assert!(first(&vec![b'x'; MOST + 1]).is_err());
    }

    #[test]
    fn a_publish_says_how_long_it_is() {
        assert_eq!(publish(7, "#1 order"), "PUB r7 8\r\n#1 order\r\n");
    }
}
