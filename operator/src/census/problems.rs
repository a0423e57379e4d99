//! `Problem`: what a gateway says is wrong with it, in words that stay the same as long as the problem does. Pure.

use std::collections::BTreeMap;

/// How many of one pod are kept.
const MOST: usize = 8;

/// How much of one is kept, in bytes.
const LONGEST: usize = 200;

/// One line of a gateway's `problems`, such as `tokens: their keys cannot be fetched`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem(String);

impl Problem {
    /// What a gateway's lines come to. In which phase it is, it says elsewhere.
    pub fn all(lines: &[String]) -> Vec<Self> {
        let problems = lines.iter().map(|line| Self::of(line));
        let mut problems: Vec<Self> = problems.filter(|one| one.part() != "phase").collect();
        problems.truncate(MOST);
        problems
    }

    fn of(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut kept = Vec::new();
        let mut rest = words.as_slice();
        // `down for 7 s: why` would be news each time that it is asked for.
        while let Some((word, after)) = rest.split_first() {
            if let ("for", [number, unit, ..]) = (*word, after)
                && number.parse::<u64>().is_ok()
                && let Some(end) = unit.strip_prefix('s')
                && let Some(last) = kept.pop()
            {
                kept.push(format!("{last}{end}"));
                rest = after.get(2..).unwrap_or_default();
            } else {
                kept.push((*word).to_owned());
                rest = after;
            }
        }
        let mut text = kept.join(" ");
        let end = text.floor_char_boundary(LONGEST);
        if end < text.len() {
            text.truncate(end);
            text.push('…');
        }
        Self(text)
    }

    /// What it is about: what a line begins with. The rest may change while it lasts.
    pub fn part(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

/// Each problem once, with the pods that have it.
pub(super) fn summary<'a>(all: impl Iterator<Item = (&'a str, &'a [Problem])>) -> Option<String> {
    let mut pods: BTreeMap<&Problem, Vec<&str>> = BTreeMap::new();
    for (pod, problems) in all {
        for problem in problems {
            pods.entry(problem).or_default().push(pod);
        }
    }
    let lines = pods
        .iter()
        .map(|(problem, pods)| format!("{} ({})", problem.0, pods.join(", ")));
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> String {
        Problem::of(line).0
    }

    #[test]
    fn how_long_it_has_lasted_is_left_out() {
        assert_eq!(
            one("etcd: down for 17 s: no answer"),
            "etcd: down: no answer"
        );
        assert_eq!(
            one("cluster: not part of it for 7 s: no answer within 4000 ms"),
            "cluster: not part of it: no answer within 4000 ms"
        );
        assert_eq!(one("tokens: wait for it"), "tokens: wait for it");
        assert_eq!(one("for 7 s"), "for 7 s");
        assert_eq!(one("a for 7"), "a for 7");
    }

    #[test]
    fn a_problem_is_short_and_there_are_few_and_phases_are_none() {
        let long = "ä".repeat(1000);
        assert!(one(&long).len() <= LONGEST + '…'.len_utf8());
        let mut lines = vec!["phase: the node is draining".to_owned()];
        assert_eq!(Problem::all(&lines), []);
        lines.extend((0..100).map(|n| format!("part {n}: wrong")));
        assert_eq!(Problem::all(&lines).len(), MOST);
    }

    #[test]
    fn a_problem_of_several_pods_is_told_once() {
        let wrong = Problem::all(&["tokens: no keys".to_owned()]);
        let pods = [
            ("chat-1", wrong.as_slice()),
            ("chat-2", &wrong),
            ("chat-3", &[]),
        ];
        assert_eq!(
            summary(pods.into_iter()).unwrap(),
            "tokens: no keys (chat-1, chat-2)"
        );
        assert_eq!(summary([("chat-3", [].as_slice())].into_iter()), None);
    }
}
