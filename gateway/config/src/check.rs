//! Holds a value against the schema, as the API server would, and notes every problem with its path.
//!
//! The schema is the only place where types and bounds are stated; this reader keeps the gateway's file to the same
//! bounds as the resource. It knows the keywords that this crate's schemas use and no others (a test lists them).
//! Conditions between keys are not its business, see `rules`.

use std::net::IpAddr;

use regex_lite::Regex;
use serde_json::{Map, Value};

use crate::nearest::nearest;
use crate::problems::{Fault, Problem, Problems};
use crate::{ByteSize, Cidr, KibSize, Millis, Origin, Seconds};

/// Notes what the schema has against the value at `path`.
pub(crate) fn check(schema: &Value, value: &Value, path: &str, problems: &mut Problems) {
    match verdict(schema, value) {
        Verdict::Fine => {}
        Verdict::Wrong(why) => problems.invalid(path, why),
        Verdict::Object(fields) => object(schema, fields, path, problems),
        Verdict::Array(items) => {
            if let Some(why) = count(schema, items.len(), ("minItems", "maxItems"), "entries") {
                problems.invalid(path, why);
            }
            let Some(item_schema) = schema.get("items") else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                check(item_schema, item, &format!("{path}[{index}]"), problems);
            }
        }
    }
}

/// What one node of the schema says of one value, before looking into it.
enum Verdict<'a> {
    Fine,
    Wrong(String),
    Object(&'a Map<String, Value>),
    Array(&'a [Value]),
}

fn verdict<'a>(schema: &Value, value: &'a Value) -> Verdict<'a> {
    if value.is_null() && schema.get("nullable").and_then(Value::as_bool) == Some(true) {
        return Verdict::Fine;
    }
    let why = match (
        keyword(schema, "x-wsc-unit"),
        keyword(schema, "type"),
        value,
    ) {
        (Some(unit), _, _) => measure(schema, unit, value),
        (None, Some("object"), Value::Object(fields)) => return Verdict::Object(fields),
        (None, Some("array"), Value::Array(items)) => return Verdict::Array(items),
        (None, Some("boolean"), Value::Bool(_)) => None,
        (None, Some("string"), Value::String(text)) => string(schema, text),
        (None, Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {
            range(schema, value)
        }
        (None, Some("number"), Value::Number(_)) => range(schema, value),
        (None, wanted, _) => Some(format!(
            "must be {}, is {}",
            article(wanted.unwrap_or("known")),
            show(value)
        )),
    };
    why.map_or(Verdict::Fine, Verdict::Wrong)
}

fn object(schema: &Value, fields: &Map<String, Value>, path: &str, problems: &mut Problems) {
    let empty = Map::new();
    let known = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let others = schema
        .get("additionalProperties")
        .filter(|others| others.is_object());
    for (key, value) in fields {
        let path = join(path, key);
        match known.get(key).or(others) {
            Some(schema) => match keyword(schema, "x-wsc-now") {
                Some(now) => problems.invalid(path, format!("was renamed to {now}")),
                None => check(schema, value, &path, problems),
            },
            None => problems.push(unknown(known, key, &path)),
        }
    }
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for key in required
        .filter_map(Value::as_str)
        .filter(|key| !fields.contains_key(*key))
    {
        problems.invalid(join(path, key), "is required");
    }
    let limits = ("minProperties", "maxProperties");
    if let Some(why) = count(schema, fields.len(), limits, "entries") {
        problems.invalid(path, why);
    }
}

/// A problem for a key that the schema does not have, with the nearest of its neighbours.
pub(crate) fn unknown(known: &Map<String, Value>, key: &str, path: &str) -> Problem {
    let parent = path.strip_suffix(key).unwrap_or_default();
    // Not one that is refused itself.
    let known = known
        .iter()
        .filter(|(_, schema)| keyword(schema, "x-wsc-now").is_none());
    let meant = nearest(key, known.map(|(name, _)| name.as_str()));
    let suggestion = meant.map(|name| format!("{parent}{name}"));
    Problem {
        path: path.to_owned(),
        fault: Fault::Unknown { suggestion },
        source: None,
    }
}

/// The path of a key within `parent`.
pub(crate) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    }
}

fn string(schema: &Value, text: &str) -> Option<String> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        let known = words.contains(&text);
        return (!known)
            .then(|| format!("must be one of {}, is `{}`", words.join(", "), short(text)));
    }
    let limits = ("minLength", "maxLength");
    count(schema, text.chars().count(), limits, "characters").or_else(|| syntax(schema, text))
}

/// Whether the text has the form that the schema asks for.
fn syntax(schema: &Value, text: &str) -> Option<String> {
    match keyword(schema, "x-wsc-syntax") {
        Some("ip") => {
            let fine = text
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical() == ip);
            return (!fine).then(|| format!("must be an IP address, is `{}`", short(text)));
        }
        Some("cidr") => return text.parse::<Cidr>().err().map(|error| error.to_string()),
        Some("origin") => return text.parse::<Origin>().err().map(|error| error.to_string()),
        Some(_) | None => {}
    }
    let pattern = keyword(schema, "pattern")?;
    let fine = Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
    (!fine).then(|| format!("must match `{pattern}`, is `{}`", short(text)))
}

fn range(schema: &Value, value: &Value) -> Option<String> {
    let number = value.as_f64()?;
    let zero = schema.get("x-wsc-zero").and_then(Value::as_bool) == Some(true);
    if zero && number == 0.0 {
        return None;
    }
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    let below = bound("minimum").is_some_and(|min| number < min);
    let above = bound("maximum").is_some_and(|max| number > max);
    (below || above).then(|| match (bound("minimum"), bound("maximum")) {
        (Some(min), Some(max)) => format!("must be between {min} and {max}, is {value}"),
        (Some(min), None) => format!("must be at least {min}, is {value}"),
        (None, max) => format!("must be at most {}, is {value}", max.unwrap_or_default()),
    })
}

/// A duration or a size, against its bounds.
fn measure(schema: &Value, unit: &str, value: &Value) -> Option<String> {
    match unit {
        "seconds" => bounded::<Seconds>(schema, value),
        "milliseconds" => bounded::<Millis>(schema, value),
        "bytes" => bounded::<ByteSize>(schema, value),
        _ => bounded::<KibSize>(schema, value),
    }
}

fn bounded<T>(schema: &Value, value: &Value) -> Option<String>
where
    T: PartialOrd + std::fmt::Display + serde::de::DeserializeOwned,
{
    let measure: T = match serde_json::from_value(value.clone()) {
        Ok(measure) => measure,
        Err(error) => return Some(error.to_string()),
    };
    let bound = |name| {
        schema
            .get(name)
            .and_then(|bound| serde_json::from_value::<T>(bound.clone()).ok())
    };
    let (Some(min), Some(max)) = (bound("x-wsc-min"), bound("x-wsc-max")) else {
        return None;
    };
    let fine = min <= measure && measure <= max;
    (!fine).then(|| format!("must be between {min} and {max}, is {measure}"))
}

fn count(schema: &Value, count: usize, limits: (&str, &str), what: &str) -> Option<String> {
    let bound = |name| {
        schema
            .get(name)
            .and_then(Value::as_u64)
            .and_then(|n| usize::try_from(n).ok())
    };
    if let Some(min) = bound(limits.0).filter(|min| count < *min) {
        return Some(format!("must have at least {min} {what}, has {count}"));
    }
    let max = bound(limits.1).filter(|max| count > *max)?;
    Some(format!("must have at most {max} {what}, has {count}"))
}

fn keyword<'a>(schema: &'a Value, name: &str) -> Option<&'a str> {
    schema.get(name).and_then(Value::as_str)
}

fn article(kind: &str) -> String {
    match kind {
        "integer" | "object" | "array" => format!("an {kind}"),
        kind => format!("a {kind}"),
    }
}

/// A value in an error; what is inside of containers is not repeated.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the string `{}`", short(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn short(text: &str) -> String {
    const MOST: usize = 64;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain("…".chars()).collect()
}
