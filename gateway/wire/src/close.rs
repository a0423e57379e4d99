//! The payload of a close frame (RFC 6455 5.5.1 and 7.4).
//!
//! Owns which codes may stand on the wire; `Message::parse` and `encode_close` ask here, so that what is refused from
//! clients is never sent to them either.

use std::str;

use crate::Violation;

/// Why the other side closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// A code that may be sent: 1000–1003, 1007–1014 or 3000–4999.
    pub code: u16,
    /// For people to read; may be empty.
    pub reason: &'a str,
}

/// Whether a code may stand in a close frame: those of RFC 6455 7.4.1 and of the registry it founded, except the ones
/// that only mean something inside a program (1004–1006, 1015), and those for libraries and applications.
pub(crate) const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Reads the unmasked payload of a close frame.
pub(crate) fn parse(payload: &[u8]) -> Result<Option<CloseFrame<'_>>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::TruncatedCloseCode),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Violation::InvalidCloseCode(code));
            }
            let reason = str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
            Ok(Some(CloseFrame { code, reason }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_codes_of_the_registry_are_taken() {
        let taken: Vec<u16> = (0..=u16::MAX).filter(|code| may_be_sent(*code)).collect();
        let expected: Vec<u16> = (1000..=1003)
            .chain(1007..=1014)
            .chain(3000..=4999)
            .collect();
        assert_eq!(taken, expected);
    }

    #[test]
    fn a_payload_is_nothing_or_a_code_and_a_reason() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03"), Err(Violation::TruncatedCloseCode));
        let (code, reason) = (1000, "");
        assert_eq!(parse(b"\x03\xe8"), Ok(Some(CloseFrame { code, reason })));
        let (code, reason) = (4999, "é");
        assert_eq!(
            parse(b"\x13\x87\xc3\xa9"),
            Ok(Some(CloseFrame { code, reason }))
        );
        assert_eq!(parse(b"\x03\xee"), Err(Violation::InvalidCloseCode(1006)));
        assert_eq!(parse(b"\x03\xe8\xc3"), Err(Violation::InvalidUtf8));
    }
}
