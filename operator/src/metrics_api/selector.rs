//! A label selector from its text, as Kubernetes writes it: `a=b,c!=d,e in (f,g),h notin (i),j,!k`. Pure.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector};

/// The longest key: a prefix, a slash and a name.
const KEY: usize = 253 + 1 + 63;

/// The longest value.
const VALUE: usize = 63;

/// Reads a selector; an error is the part that is none.
pub(super) fn parse(text: &str) -> Result<Selector, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Selector::default());
    }
    parts(text)
        .into_iter()
        .map(|part| requirement(part.trim()).ok_or_else(|| part.trim().to_owned()))
        .collect()
}

/// Cut at the commas that stand outside of parentheses.
fn parts(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.split(move |character| {
        match character {
            '(' => inside = true,
            ')' => inside = false,
            _ => {}
        }
        character == ',' && !inside
    })
    .collect()
}

fn requirement(part: &str) -> Option<Expression> {
    if let Some(name) = part.strip_prefix('!') {
        return Some(Expression::DoesNotExist(key(name)?));
    }
    if let Some((left, values)) = part.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
        let (name, operator) = left.trim().rsplit_once(char::is_whitespace)?;
        let values = values
            .split(',')
            .map(value)
            .collect::<Option<BTreeSet<_>>>()?;
        return match operator {
            "in" => Some(Expression::In(key(name)?, values)),
            "notin" => Some(Expression::NotIn(key(name)?, values)),
            _ => None,
        };
    }
    if let Some((name, unwanted)) = part.split_once("!=") {
        return Some(Expression::NotEqual(key(name)?, value(unwanted)?));
    }
    if let Some((name, wanted)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Expression::Equal(key(name)?, value(wanted)?));
    }
    Some(Expression::Exists(key(part)?))
}

fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = (1..=KEY).contains(&text.len()) && text.chars().all(|c| c == '/' || is_part(c));
    fits.then(|| text.to_owned())
}

fn value(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() <= VALUE && text.chars().all(is_part)).then(|| text.to_owned())
}

const fn is_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use kube::core::SelectorExt;

    use super::*;

    fn matches(text: &str) -> bool {
        let labels = [("wsc.dev/gateway".to_owned(), "chat".to_owned())].into();
        parse(text).unwrap().matches(&labels)
    }

    #[test]
    fn every_form_that_kubernetes_writes_is_read() {
        for text in [
            "",
            "wsc.dev/gateway=chat",
            "wsc.dev/gateway == chat",
            "wsc.dev/gateway!=desk",
            "wsc.dev/gateway in (chat, desk)",
            "wsc.dev/gateway notin (desk)",
            "wsc.dev/gateway",
            "!other",
            "!other,wsc.dev/gateway in (desk,chat),wsc.dev/gateway!=shop",
        ] {
            assert!(matches(text), "{text}");
        }
        for text in [
            "wsc.dev/gateway=desk",
            "wsc.dev/gateway=",
            "wsc.dev/gateway!=chat",
            "wsc.dev/gateway in (desk)",
            "wsc.dev/gateway notin (chat)",
            "!wsc.dev/gateway",
            "wsc.dev/gateway=chat,other",
        ] {
            assert!(!matches(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_part_that_is_none() {
        for (text, part) in [
            ("a=b,=c", "=c"),
            ("a b", "a b"),
            ("a in (b", "a in (b"),
            ("a on (b)", "a on (b)"),
            ("a=b c", "a=b c"),
            (",", ""),
            ("a=b;c=d", "a=b;c=d"),
        ] {
            assert_eq!(parse(text).unwrap_err(), part, "{text}");
        }
        assert!(parse(&format!("a={}", "b".repeat(64))).is_err());
    }
}
