//! `GroupPatterns`: the groups that a token lets its user join, as its claim `groups` lists them.

use crate::protocol::GroupId;

/// The most patterns in one token: each join looks at all of them.
const MAX: usize = 64;

/// Why a claim `groups` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Too many.
    #[error("{0} patterns, allowed are {MAX}")]
    Count(usize),
    /// One that no group's id could match.
    #[error("pattern {at} has {bytes} bytes, allowed are 1 to {max}", max = GroupId::MAX_BYTES)]
    Length {
        /// Which, from 0.
        at: usize,
        /// Its length.
        bytes: usize,
    },
}

/// See the module. In a pattern `*` stands for any run of characters, none included; everything else stands for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPatterns(Box<[Box<str>]>);

impl GroupPatterns {
    /// Checks how many there are and their lengths.
    pub fn new<I>(patterns: I) -> Result<Self, PatternError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let patterns: Vec<Box<str>> = patterns
            .into_iter()
            .map(|pattern| pattern.as_ref().into())
            .collect();
        if patterns.len() > MAX {
            return Err(PatternError::Count(patterns.len()));
        }
        let bad = |pattern: &str| pattern.is_empty() || pattern.len() > GroupId::MAX_BYTES;
        match patterns.iter().position(|pattern| bad(pattern)) {
            Some(at) => Err(PatternError::Length {
                at,
                bytes: patterns.get(at).map_or(0, |pattern| pattern.len()),
            }),
            None => Ok(Self(patterns.into())),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them matches the whole id.
    pub fn matches(&self, group: &GroupId) -> bool {
        self.0
            .iter()
            .any(|pattern| matches(pattern, group.as_str()))
    }

    /// The patterns as they stand in the token.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|pattern| &**pattern)
    }
}

/// The first piece begins the text, the last one ends it, and each between is found as early as it can be: what is left for
/// the others is then the longest. Linear in text times pieces.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces = rest.split('*');
    let last = pieces.next_back().unwrap_or_default();
    for piece in pieces {
        match text.find(piece) {
            Some(at) => text = text.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(patterns: &[&str], group: &str) -> bool {
        let patterns = GroupPatterns::new(patterns).unwrap();
        patterns.matches(&GroupId::new(group).unwrap())
    }

    #[test]
    fn a_star_stands_for_any_run_and_everything_else_for_itself() {
        for (pattern, group, matches) in [
            ("room-7", "room-7", true),
            ("room-7", "room-70", false),
            ("room-*", "room-", true),
            ("room-*", "room-7", true),
            ("room-*", "xroom-7", false),
            ("*", "anything", true),
            ("*-eu", "shop-eu", true),
            ("*-eu", "shop-eu-2", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("**", "x", true),
            ("room-?", "room-7", false),
            ("", "x", false),
        ] {
            if pattern.is_empty() {
                assert!(GroupPatterns::new([pattern]).is_err());
            } else {
                assert_eq!(allows(&[pattern], group), matches, "{pattern} {group}");
            }
        }
        assert!(allows(&["a", "b*"], "bc"));
        assert!(!allows(&[], "a"));
    }

    #[test]
    fn a_token_cannot_carry_patterns_without_end() {
        assert_eq!(
            GroupPatterns::new(vec!["a"; 65]),
            Err(PatternError::Count(65))
        );
        assert_eq!(
            GroupPatterns::new(["a", &"b".repeat(129)]),
            Err(PatternError::Length { at: 1, bytes: 129 })
        );
    }
}
