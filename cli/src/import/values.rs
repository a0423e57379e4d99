//! What a value of the reference is here: other words, other units, addresses in one text. Pure.

use serde_json::{Map, Value, json};
use wsc_config::{Cidr, Key, Origin};

use super::names::Way;
use super::source::plain;

/// A value that goes somewhere, or why it does not. Reasons do not repeat values.
pub(super) struct Moved {
    /// Where, and what.
    pub(super) values: Vec<(&'static str, Value)>,
    /// What was left behind.
    pub(super) notes: Vec<String>,
}

impl Moved {
    fn to(path: &'static str, value: Value) -> Self {
        Self {
            values: vec![(path, value)],
            notes: Vec::new(),
        }
    }

    fn nowhere(why: &str) -> Self {
        Self {
            values: Vec::new(),
            notes: vec![why.to_owned()],
        }
    }
}

/// The value as the key of ours wants it.
pub(super) fn moved(key: &'static Key, way: Way, value: &Value) -> Moved {
    let path = key.path.as_str();
    match way {
        Way::Same if key.kind.contains("address ranges") => ranges(path, value),
        Way::Same => Moved::to(path, word(key, value)),
        Way::Kib => Moved::to(path, counted(value, "KiB")),
        Way::Millis => Moved::to(path, counted(value, "ms")),
        Way::Secs => Moved::to(path, counted(value, "s")),
        Way::Origins => origins(path, value),
        Way::RedisAddress => match value.as_str() {
            Some(text) => address(text),
            None => Moved::nowhere("is not a text such as host:port"),
        },
        Way::RedisAddresses => addresses(value),
        Way::Addresses => each(path, value, |text| {
            let bare = text.strip_prefix("http://").unwrap_or(text);
            if bare.starts_with("https://") {
                return Err("an entry is a URL: give host:port, and tls.enabled: true");
            }
            Ok(bare.trim_end_matches('/').to_owned())
        }),
        Way::Anywhere => anywhere(path, value),
    }
}

/// One of the words of the key in whatever spelling: `kick_old` is `kickOld`, `round_robin` is `round-robin`.
fn word(key: &Key, value: &Value) -> Value {
    let words = key
        .kind
        .starts_with('`')
        .then(|| key.kind.split('`').skip(1).step_by(2));
    let same = value.as_str().zip(words).and_then(|(text, mut words)| {
        words
            .find(|word| plain(word) == plain(text))
            .map(Value::from)
    });
    same.unwrap_or_else(|| value.clone())
}

/// A bare integer with its unit.
fn counted(value: &Value, unit: &str) -> Value {
    value
        .as_u64()
        .map_or_else(|| value.clone(), |count| json!(format!("{count}{unit}")))
}

fn origins(path: &'static str, value: &Value) -> Moved {
    each(path, value, |text| {
        if text == "*" {
            return Err(
                "an entry lets any page in: name the origins that may connect; with none, the same origin may",
            );
        }
        let trimmed = text.trim_end_matches('/').to_lowercase();
        trimmed
            .parse::<Origin>()
            .map(|origin| origin.as_str().to_owned())
            .map_err(
                |_| "an entry is not an origin such as https://chat.example.com or *.example.com",
            )
    })
}

fn ranges(path: &'static str, value: &Value) -> Moved {
    each(path, value, |text| {
        let range = text.trim().parse::<Cidr>();
        range
            .map(|range| range.as_str().to_owned())
            .map_err(|_| "an entry is not an address or a range such as 10.0.0.0/8")
    })
}

/// A list, or one entry without one, without the entries that cannot be.
fn each(
    path: &'static str,
    value: &Value,
    read: impl Fn(&str) -> Result<String, &'static str>,
) -> Moved {
    let one = [value.clone()];
    let items = value.as_array().map_or(one.as_slice(), Vec::as_slice);
    let (mut kept, mut notes) = (Vec::new(), Vec::new());
    for item in items {
        match item.as_str().map_or(Err("an entry is not a text"), &read) {
            Ok(text) => kept.push(Value::from(text)),
            Err(why) => notes.push(why.to_owned()),
        }
    }
    Moved {
        values: vec![(path, kept.into())],
        notes,
    }
}

/// `host:port`, perhaps as a URL; one with a user or a password in it is left to its reader.
fn address(text: &str) -> Moved {
    let bare = text
        .strip_prefix("redis://")
        .unwrap_or(text)
        .trim_end_matches('/');
    if bare.contains(['@', '/', '?']) || bare.is_empty() {
        return Moved::nowhere(
            "is more than host:port: give wsc.redis.host, port, db, username and passwordSecretRef",
        );
    }
    let (host, port) = bare.rsplit_once(':').unwrap_or((bare, "6379"));
    let Ok(port) = port.parse::<u16>() else {
        return Moved::nowhere("is not host:port");
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Moved {
        values: vec![
            ("wsc.redis.host", host.into()),
            ("wsc.redis.port", port.into()),
        ],
        notes: Vec::new(),
    }
}

fn addresses(value: &Value) -> Moved {
    let items: Vec<&str> = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match items.as_slice() {
        [] => Moved {
            values: Vec::new(),
            notes: Vec::new(),
        },
        [one] => address(one),
        // The reference speaks to several addresses as to a cluster.
        several => Moved {
            values: vec![
                ("wsc.redis.cluster.addresses", json!(several)),
                ("wsc.redis.cluster.enabled", true.into()),
            ],
            notes: Vec::new(),
        },
    }
}

fn anywhere(path: &'static str, value: &Value) -> Moved {
    match value.as_str() {
        Some("" | "0.0.0.0" | "::") if path == "wsc.nodeIp" => match value.as_str() {
            Some("") => Moved::to(path, json!("0.0.0.0")),
            _ => Moved::to(path, value.clone()),
        },
        // The pods' listeners take every address of their pod; nothing is lost.
        Some("" | "0.0.0.0" | "::") => Moved {
            values: Vec::new(),
            notes: Vec::new(),
        },
        _ => Moved::nowhere("a pod listens on its own addresses, all of them"),
    }
}

/// `{a: {b: value}}` put into the tree at `a.b`.
pub(super) fn put(tree: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            tree.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = tree
                .entry(section)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
