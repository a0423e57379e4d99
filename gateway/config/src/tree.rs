//! A YAML text as a plain value, and where in the text each part of it stands.
//!
//! Read without knowing the types, so that unknown keys and wrong types are found by path and all at once. An empty
//! value (`wsc:`) is the same as an absent one, as it is for the API server. Used by `load` alone.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::check::join;
use crate::problems::Source;

/// Where each key stands, by its path.
pub(crate) type Sources = BTreeMap<String, Source>;

/// Reads a text; the value is null when there is nothing in it.
pub(crate) fn read(text: &str) -> Result<(Value, Sources), serde_saphyr::Error> {
    let mut sources = Sources::new();
    if text.trim().is_empty() {
        return Ok((Value::Null, sources));
    }
    let node: Spanned<Node> = serde_saphyr::from_str(text)?;
    let value = settle(node, "", &mut sources);
    Ok((value, sources))
}

fn settle(node: Spanned<Node>, path: &str, sources: &mut Sources) -> Value {
    if !path.is_empty() {
        let (line, column) = (node.referenced.line(), node.referenced.column());
        sources.insert(path.to_owned(), Source::File { line, column });
    }
    match node.value {
        Node::Plain(value) => value,
        Node::List(items) => {
            let items = items.into_iter().enumerate();
            items
                .map(|(index, item)| settle(item, &format!("{path}[{index}]"), sources))
                .collect()
        }
        Node::Fields(fields) => {
            let fields = fields.into_iter().map(|(key, node)| {
                let value = settle(node, &join(path, &key), sources);
                (key, value)
            });
            Value::Object(
                fields
                    .filter(|(_, value)| !value.is_null())
                    .collect::<Map<_, _>>(),
            )
        }
    }
}

/// Any YAML value, with places.
enum Node {
    Plain(Value),
    List(Vec<Spanned<Node>>),
    Fields(Vec<(String, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Plain(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Plain(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Plain(flag.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Plain(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Plain(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Node, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Node::Plain(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Plain(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_where_each_value_stands() {
        let (value, sources) =
            read("wsc:\n  nodePort: 9000\n  websocketOrigins:\n    - https://a.example\n").unwrap();
        assert_eq!(
            value,
            serde_json::json!({"wsc": {"nodePort": 9000, "websocketOrigins": ["https://a.example"]}})
        );
        assert_eq!(
            sources["wsc.nodePort"],
            Source::File {
                line: 2,
                column: 13
            }
        );
        assert_eq!(
            sources["wsc.websocketOrigins[0]"],
            Source::File { line: 4, column: 7 }
        );
    }

    #[test]
    fn nothing_and_null_are_the_same_as_absent() {
        for text in [
            "",
            "  \n",
            "# only a comment\n",
            "wsc:\n",
            "wsc: null\n",
            "wsc: ~\nhttp:\n",
        ] {
            let (value, _) = read(text).unwrap();
            assert!(
                value.is_null() || value == serde_json::json!({}),
                "{text:?} gave {value}"
            );
        }
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        assert!(read("wsc: {nodePort: 1, nodePort: 2}").is_err());
    }
}
