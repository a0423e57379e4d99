//! Which known name a wrong one was probably meant to be. Used for unknown keys only.

/// The known name nearest to `name`, if any is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = fold(name);
    known
        .map(|candidate| (distance(&wanted, &fold(candidate)), candidate))
        .min()
        .filter(|(distance, _)| *distance <= (wanted.len() / 3).clamp(1, 4))
        .map(|(_, candidate)| candidate)
}

/// `heart_beat-interval`, `heartBeatInterval` and `HEARTBEATINTERVAL` are the same name in other spellings.
fn fold(name: &str) -> Vec<char> {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let at =
                |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut cost = (at(&row, j) + usize::from(a != b))
                .min(at(&row, j + 1) + 1)
                .min(at(&next, j) + 1);
            let swapped =
                i > 0 && j > 0 && left.get(i - 1) == Some(b) && right.get(j - 1) == Some(a);
            if swapped {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            next.push(cost);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["heartbeatInterval", "clientTimeout", "path", "enabled"];

    #[test]
    fn finds_the_key_that_was_misspelt() {
        for (wrong, meant) in [
            ("heartBeatInterval", "heartbeatInterval"),
            ("heartbeat_interval", "heartbeatInterval"),
            ("heartbeat-intervall", "heartbeatInterval"),
            ("clientTimeuot", "clientTimeout"),
            ("enable", "enabled"),
            ("pahth", "path"),
        ] {
            assert_eq!(nearest(wrong, KNOWN.into_iter()), Some(meant), "{wrong}");
        }
    }

    #[test]
    fn stays_silent_when_nothing_is_near() {
        assert_eq!(nearest("colour", KNOWN.into_iter()), None);
        assert_eq!(nearest("", KNOWN.into_iter()), None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_mistake() {
        assert_eq!(distance(&fold("ab"), &fold("ba")), 1);
        assert_eq!(distance(&fold(""), &fold("abc")), 3);
    }
}
