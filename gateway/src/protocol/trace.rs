//! `TraceContext`: which trace a message belongs to, and the span it comes from. Pure.
//!
//! There is one only where the message is traced: whether it is, is decided once, where it enters. W3C Trace Context is how
//! callers say it; a node tells another in the envelope.

use std::fmt;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span that what follows is part of.
    pub span: [u8; 8],
}

/// What whoever sends something has decided about tracing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parent {
    /// Nothing.
    #[default]
    Undecided,
    /// It is part of a trace that nobody records.
    Unsampled,
    /// It is part of this one.
    Sampled(TraceContext),
}

impl Parent {
    /// Reads a `traceparent` header; what cannot be read decides nothing, as W3C Trace Context wants it.
    pub fn of_header(text: &str) -> Self {
        Self::read(text).unwrap_or_default()
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex::<1>(version)?;
        let [flags] = hex::<1>(flags)?;
        // A later version may say more; this one may not.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let context = TraceContext::of_ids(&hex::<16>(trace)?, &hex::<8>(span)?)?;
        Some(if flags & 1 == 1 {
            Self::Sampled(context)
        } else {
            Self::Unsampled
        })
    }
}

impl TraceContext {
    /// From bytes on the wire; ids of zeros are none.
    pub fn of_ids(trace: &[u8], span: &[u8]) -> Option<Self> {
        let context = Self {
            trace: trace.try_into().ok()?,
            span: span.try_into().ok()?,
        };
        (context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (trace, span) = text.split_once('-')?;
        Self::of_ids(&hex::<16>(trace)?, &hex::<8>(span)?)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |bytes: &[u8], f: &mut fmt::Formatter<'_>| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        digits(&self.trace, f)?;
        f.write_str("-")?;
        digits(&self.span, f)
    }
}

/// Lower-case hexadecimal digits, exactly two a byte.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.bytes().all(is_digit) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_says_which_trace_and_whether_it_is_recorded() {
        let Parent::Sampled(context) = Parent::of_header(GOOD) else {
            panic!("sampled");
        };
        assert_eq!(context.trace[..2], [0x4b, 0xf9]);
        assert_eq!(context.span[7], 0xb7);
        let unsampled = GOOD.replace("-01", "-00");
        assert_eq!(Parent::of_header(&unsampled), Parent::Unsampled);
        let later = GOOD.replacen("00", "01", 1) + "-more";
        assert_eq!(Parent::of_header(&later), Parent::Sampled(context));
    }

    #[test]
    fn what_is_no_traceparent_decides_nothing() {
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Parent::of_header(wrong), Parent::Undecided, "{wrong}");
        }
    }
}
