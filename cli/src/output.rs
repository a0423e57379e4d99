//! What is printed: JSON as the gateway gave it, or a table for people.

use std::io::{self, Write as _};

use clap::ValueEnum;
use serde_json::Value;

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// The gateway's answer, for programs.
    Json,
}

/// Rows below a head.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(head: &[&str]) -> Self {
        let head = head.iter().map(|name| name.to_uppercase()).collect();
        Self { rows: vec![head] }
    }

    /// One row per object of a list, with the values of these fields.
    pub(crate) fn of(fields: &[&str], items: &Value) -> Self {
        let mut table = Self::new(fields);
        for item in items.as_array().into_iter().flatten() {
            table.row(fields.iter().map(|field| cell(item.get(field))).collect());
        }
        table
    }

    /// The fields of one object, one a row.
    pub(crate) fn fields(object: &Value) -> Self {
        let mut table = Self::new(&["field", "value"]);
        for (name, value) in object.as_object().into_iter().flatten() {
            table.row(vec![name.clone(), cell(Some(value))]);
        }
        table
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            text.push_str(line.join("   ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Prints an answer: as it came, or as the table that is made of it.
pub(crate) fn print(
    format: Format,
    answer: &Value,
    table: impl FnOnce(&Value) -> Table,
) -> io::Result<()> {
    match format {
        Format::Json => line(&format!("{answer:#}")),
        Format::Table => io::stdout()
            .lock()
            .write_all(table(answer).text().as_bytes()),
    }
}

/// Prints an answer: as it came, or as a table of the fields of one of its lists.
pub(crate) fn print_list(
    format: Format,
    answer: &Value,
    (list, fields): (&str, &[&str]),
) -> io::Result<()> {
    print(format, answer, |answer| {
        Table::of(fields, answer.get(list).unwrap_or(&Value::Null))
    })
}

/// Prints one line, at once: readers of a pipe wait for it.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// A value in a table. Control characters of strangers do not reach the terminal.
pub(crate) fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(|item| !item.is_object()) => {
            let items: Vec<String> = items.iter().map(|item| cell(Some(item))).collect();
            items.join(",")
        }
        Some(value) => value.to_string(),
    };
    printable(&text)
}

/// The text without control characters.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let items = json!([{"name": "a", "n": 100}, {"name": "long", "n": null}]);
        let text = Table::of(&["name", "n"], &items).text();
        assert_eq!(text, "NAME   N\na      100\nlong   -\n");
    }

    #[test]
    fn what_strangers_wrote_cannot_drive_the_terminal() {
        assert_eq!(cell(Some(&json!("a\u{1b}[2Jb"))), "a\u{fffd}[2Jb");
    }
}
