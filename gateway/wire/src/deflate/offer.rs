//! The negotiation: what a client offers in `Sec-WebSocket-Extensions`, and what is answered (RFC 7692 5 and 7.1).
//!
//! Owns which offers are taken. The first offer that can be kept wins; one with an unknown, repeated or wrong parameter is
//! declined, and with no other left the connection goes on without compression. What is not permessage-deflate is passed
//! over.

/// How far back a deflated frame may point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Window {
    /// 32 KiB, what every client takes that asks for nothing.
    #[default]
    Wide,
    /// 512 bytes, for clients that ask for any smaller window: one form serves them all.
    Narrow,
}

impl Window {
    /// The bits as zlib takes them.
    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Wide => 15,
            Self::Narrow => 9,
        }
    }
}

/// What was agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The window of frames for this client.
    pub window: Window,
}

impl Agreed {
    /// The value of `Sec-WebSocket-Extensions` in the answer. Neither side keeps a context: a frame is deflated once for
    /// all its recipients, and no connection holds an inflater.
    pub const fn answer(self) -> &'static str {
        match self.window {
            Window::Wide => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            }
            Window::Narrow => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"
            }
        }
    }
}

/// Chooses among the offers in the values of all `Sec-WebSocket-Extensions` headers, in their order.
pub fn negotiate<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Agreed> {
    values
        .into_iter()
        .flat_map(|value| value.split(','))
        .find_map(agree)
}

fn agree(offer: &str) -> Option<Agreed> {
    let mut parts = offer.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    // Each parameter may stand once.
    let mut seen = Vec::new();
    let mut window = Window::Wide;
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
            None => (part, None),
        };
        match (name, value) {
            // Whatever the client's window: 32 KiB are kept for it.
            (
                "server_no_context_takeover"
                | "client_no_context_takeover"
                | "client_max_window_bits",
                None,
            ) => {}
            ("client_max_window_bits", Some(value)) => _ = bits(value)?,
            ("server_max_window_bits", Some(value)) => window = window_of(bits(value)?)?,
            _ => return None,
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    Some(Agreed { window })
}

/// zlib cannot deflate with a window of 256 bytes: 8 is declined.
const fn window_of(bits: u8) -> Option<Window> {
    match bits {
        15 => Some(Window::Wide),
        9..=14 => Some(Window::Narrow),
        _ => None,
    }
}

/// 8 to 15, without leading zeros (RFC 7692 7.1.2.1).
fn bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok()?;
    let plain = !value.starts_with(['0', '+']);
    (plain && (8..=15).contains(&bits)).then_some(bits)
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(value: &str) -> Option<Window> {
        negotiate([value]).map(|agreed| agreed.window)
    }

    #[test]
    fn what_browsers_and_libraries_offer_is_taken() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "Permessage-Deflate; client_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate ; server_max_window_bits = 15",
            "permessage-deflate; server_max_window_bits=\"15\"",
            "x-webkit-deflate-frame, permessage-deflate",
        ] {
            assert_eq!(window(offer), Some(Window::Wide), "{offer}");
        }
    }

    #[test]
    fn a_small_window_is_met_by_the_smallest_and_eight_bits_are_declined() {
        for bits in 9..=14 {
            let offer = format!("permessage-deflate; server_max_window_bits={bits}");
            assert_eq!(window(&offer), Some(Window::Narrow), "{offer}");
        }
        assert_eq!(window("permessage-deflate; server_max_window_bits=8"), None);
    }

    #[test]
    fn an_offer_with_a_wrong_parameter_is_declined() {
        for parameter in [
            "mystery",
            "server_no_context_takeover=1",
            "client_no_context_takeover=",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=+9",
            "client_max_window_bits=16",
            "client_max_window_bits=x",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=9; server_max_window_bits=10",
            "",
        ] {
            let offer = format!("permessage-deflate; {parameter}");
            assert_eq!(window(&offer), None, "{offer}");
        }
        assert_eq!(window(""), None);
        assert_eq!(window("permessage-bzip2"), None);
    }

    #[test]
    fn the_first_offer_that_can_be_kept_wins_over_all_headers() {
        let agreed = negotiate([
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; mystery",
            "permessage-deflate; server_max_window_bits=12, permessage-deflate",
        ]);
        assert_eq!(agreed.map(|agreed| agreed.window), Some(Window::Narrow));
    }

    #[test]
    fn the_answer_gives_up_both_contexts_and_names_the_window_only_where_it_was_asked_for() {
        let answer = |window| Agreed { window }.answer();
        for window in [Window::Wide, Window::Narrow] {
            assert!(answer(window).contains("; server_no_context_takeover"));
            assert!(answer(window).contains("; client_no_context_takeover"));
        }
        assert!(!answer(Window::Wide).contains("window_bits"));
        assert!(answer(Window::Narrow).ends_with("; server_max_window_bits=9"));
    }
}
