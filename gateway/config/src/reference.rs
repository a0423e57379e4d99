//! The configuration reference for users, made from the keys. `docs/configuration.md` is its output, nothing else.

use serde_json::Value;

use crate::keys::{Key, is_empty, keys, section, sections};
use crate::status::{Since, VALUES};

/// What stands above the tables.
const HEAD: &str = include_str!("reference/head.md");

/// The whole page, in Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for (name, does) in sections() {
        let title = format!("\n## `{name}`\n\n{does}\n\n");
        page.push_str(&title);
        page.push_str(
            "| key | type and bounds | default | does | since |\n|---|---|---|---|---|\n",
        );
        for key in keys().iter().filter(|key| section(&key.path) == name) {
            page.push_str(&row(key, &name));
        }
    }
    page
}

fn row(key: &Key, section: &str) -> String {
    let name = key
        .path
        .strip_prefix(section)
        .unwrap_or(&key.path)
        .trim_start_matches('.');
    let default = match &key.default {
        None => "absent".to_owned(),
        Some(value) if is_empty(value) => "empty".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(value) => format!(
            "`{}`",
            value.to_string().replace('"', "").replace(',', ", ")
        ),
    };
    let (kind, does) = (cell(&key.kind), cell(&key.does));
    format!(
        "| `{name}` | {kind} | {default} | {does} | {} |\n",
        since(key)
    )
}

fn since(key: &Key) -> String {
    let waiting = VALUES.iter().filter(|(path, ..)| *path == key.path);
    let waiting = waiting.map(|(_, word, release)| format!("; `{word}` planned for {release}"));
    match key.since {
        Since::Implemented(release) => format!("{release}{}", waiting.collect::<String>()),
        Since::Planned(release) => format!("planned for {release}"),
    }
}

/// A text that cannot break out of its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
