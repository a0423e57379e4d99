//! Validates text that arrives in pieces (RFC 6455 8.1).
//!
//! Owns the bytes of a character that a piece cut in two. Each byte is validated once, into a `String`, so that the
//! finished message needs no second look, and a wrong byte is found with the piece that brings it.

use std::str;

use crate::Violation;

/// The start of a character whose rest has not arrived; empty between characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    bytes: [u8; 3],
    len: u8,
}

impl Tail {
    /// Nothing is waiting.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; 3],
            len: 0,
        }
    }

    /// How many bytes are waiting, at most 3.
    pub(crate) const fn len(self) -> usize {
        self.len as usize
    }

    /// Appends to `text` all characters that are complete and keeps the start of the one that is not.
    pub(crate) fn append(&mut self, text: &mut String, piece: &[u8]) -> Result<(), Violation> {
        let piece = self.complete(text, piece)?;
        let (whole, cut) = piece.split_at(piece.len() - cut_at_end(piece));
        text.push_str(str::from_utf8(whole).map_err(|_| Violation::InvalidUtf8)?);
        for byte in cut {
            self.push(*byte, text)?;
        }
        Ok(())
    }

    /// Finishes the waiting character, if any, and returns the piece without the bytes that this took.
    fn complete<'a>(
        &mut self,
        text: &mut String,
        mut piece: &'a [u8],
    ) -> Result<&'a [u8], Violation> {
        while self.len > 0
            && let [byte, rest @ ..] = piece
        {
            self.push(*byte, text)?;
            piece = rest;
        }
        Ok(piece)
    }

    /// Adds one byte, which completes the character, prolongs it or proves it wrong.
    fn push(&mut self, byte: u8, text: &mut String) -> Result<(), Violation> {
        let [a, b, c] = self.bytes;
        let character: &[u8] = match self.len {
            0 => &[byte],
            1 => &[a, byte],
            2 => &[a, b, byte],
            _ => &[a, b, c, byte],
        };
        match str::from_utf8(character) {
            Ok(complete) => {
                text.push_str(complete);
                self.len = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => {
                // No prefix of a character is longer than three bytes, so there is a slot.
                if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
                    *slot = byte;
                }
                self.len += 1;
                Ok(())
            }
            Err(_) => Err(Violation::InvalidUtf8),
        }
    }
}

/// How many bytes at the end of `piece` belong to a character that goes on behind it, judged by its first byte alone.
fn cut_at_end(piece: &[u8]) -> usize {
    for (back, byte) in (1..=3).zip(piece.iter().rev()) {
        let width = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            0x00..=0x7f => 1,
        };
        return if width > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text and how many bytes wait, or the index of the piece that was refused.
    fn feed(pieces: &[&[u8]]) -> Result<(String, usize), usize> {
        let (mut tail, mut text) = (Tail::new(), String::new());
        for (index, piece) in pieces.iter().enumerate() {
            tail.append(&mut text, piece).map_err(|_| index)?;
        }
        Ok((text, tail.len()))
    }

    #[test]
    fn text_cut_anywhere_in_three_is_put_together() {
        let text = "a\u{7f}\u{80}é\u{7ff}\u{800}€\u{d7ff}\u{e000}\u{ffff}\u{10000}🦀\u{10ffff}z";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(
                    feed(&pieces),
                    Ok((text.to_owned(), 0)),
                    "cut at {first} and {second}"
                );
            }
        }
    }

    #[test]
    fn every_pair_and_triple_of_bytes_is_judged_like_the_standard_library_judges_it() {
        for word in 0..=0x00ff_ffff_u32 {
            let [_, bytes @ ..] = word.to_be_bytes();
            let [lead, ..] = bytes;
            // ASCII and stray continuations in front add nothing but time.
            if !matches!(lead, 0x7f | 0x80 | 0xbf..=0xff) {
                continue;
            }
            let waiting = match str::from_utf8(&bytes) {
                Ok(_) => Ok(0),
                Err(error) if error.error_len().is_none() => Ok(3 - error.valid_up_to()),
                Err(_) => Err(()),
            };
            let at_once = feed(&[&bytes]).map(|(_, len)| len).map_err(|_| ());
            assert_eq!(at_once, waiting, "{bytes:x?}");
            let singly = feed(&[&bytes[..1], &bytes[1..2], &bytes[2..]]);
            assert_eq!(
                singly.map(|(_, len)| len).map_err(|_| ()),
                waiting,
                "{bytes:x?}"
            );
        }
    }

    #[test]
    fn a_wrong_byte_is_found_with_the_piece_that_brings_it() {
        assert_eq!(feed(&[b"\xf4", b"\x90", b"\x80\x80"]), Err(1));
        assert_eq!(feed(&[b"ok \xed", b"\xa0", b"\x80"]), Err(1));
        assert_eq!(feed(&[b"\xe0\x80"]), Err(0));
        assert_eq!(feed(&[b"\xc0"]), Err(0));
        assert_eq!(feed(&[b"\xf0\x9f\xa6", b"a"]), Err(1));
        assert_eq!(feed(&[b"\xf0\x9f\xa6"]), Ok((String::new(), 3)));
    }
}
