//! Colours for a terminal; none for a file, a pipe, or whoever set `NO_COLOR`.

use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::LazyLock;

static COLOURS: LazyLock<bool> =
    LazyLock::new(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());

pub(crate) fn bold(text: impl Display) -> String {
    paint("1", text)
}

pub(crate) fn dim(text: impl Display) -> String {
    paint("2", text)
}

pub(crate) fn green(text: impl Display) -> String {
    paint("32", text)
}

/// A line that begins a part.
pub(crate) fn heading(text: &str) {
    println!("\n{}", bold(format!("── {text}")));
}

fn paint(code: &str, text: impl Display) -> String {
    if *COLOURS {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_string()
    }
}
