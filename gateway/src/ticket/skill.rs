//! `Skill`, and `Queue`: the skills that a ticket asks for are the queue in which it waits.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Skills or a queue that cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SkillError {
    /// Nothing, or too long.
    #[error("a skill has {0} bytes, allowed are 1 to {max}", max = Skill::MAX_BYTES)]
    Length(usize),
    /// A character that would be misread in a queue's name or a log.
    #[error("skill {0:?} has a character other than letters, digits, '-', '_', '.' and ':'")]
    Character(String),
    /// Too many at once.
    #[error("{0} skills, allowed are at most {max}", max = Queue::MAX_SKILLS)]
    Many(usize),
}

/// Something an agent can do and a ticket can ask for: `billing`, `lang:de`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Skill(Arc<str>);

impl Skill {
    /// The longest name.
    pub const MAX_BYTES: usize = 64;

    /// Checks length and characters.
    pub fn new(name: &str) -> Result<Self, SkillError> {
        if name.is_empty() || name.len() > Self::MAX_BYTES {
            return Err(SkillError::Length(name.len()));
        }
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if !name.chars().all(plain) {
            return Err(SkillError::Character(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Skill {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

/// Where a ticket waits: those who ask for the same skills wait in the same queue. No skills: the general one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Queue(BTreeSet<Skill>);

impl Queue {
    /// The most skills that a ticket can ask for, and that an agent can have.
    pub const MAX_SKILLS: usize = 32;

    /// The name of the queue of those who ask for no skill. That of a skill of the same name is `+general`.
    pub const GENERAL: &'static str = "general";

    /// The queue of these skills.
    pub fn of<S: AsRef<str>>(skills: impl IntoIterator<Item = S>) -> Result<Self, SkillError> {
        let skills: Result<BTreeSet<_>, _> = skills
            .into_iter()
            .map(|name| Skill::new(name.as_ref()))
            .collect();
        let skills = skills?;
        if skills.len() > Self::MAX_SKILLS {
            return Err(SkillError::Many(skills.len()));
        }
        Ok(Self(skills))
    }

    /// Reads what `Display` wrote. A `+` that a query does not escape is a space.
    pub fn parse(name: &str) -> Result<Self, SkillError> {
        if name == Self::GENERAL {
            return Ok(Self::default());
        }
        let name = match name.strip_prefix(['+', ' ']) {
            Some(Self::GENERAL) => Self::GENERAL,
            _ => name,
        };
        Self::of(name.split(['+', ' ']))
    }

    /// The skills.
    pub const fn skills(&self) -> &BTreeSet<Skill> {
        &self.0
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(Self::GENERAL);
        }
        let is_alone = self.0.len() == 1;
        for (at, skill) in self.0.iter().enumerate() {
            // A skill of this name by itself would be the general queue's.
            let misread = is_alone && skill.as_str() == Self::GENERAL;
            let plus = if at > 0 || misread { "+" } else { "" };
            write!(f, "{plus}{}", skill.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_by_its_skills_in_order_and_each_once() {
        let queue = |skills: &[&str]| Queue::of(skills).map(|queue| queue.to_string());
        assert_eq!(queue(&[]), Ok("general".to_owned()));
        assert_eq!(
            queue(&["lang:de", "billing", "lang:de"]),
            Ok("billing+lang:de".to_owned())
        );
        assert_eq!(queue(&[""]), Err(SkillError::Length(0)));
        assert_eq!(queue(&["a+b"]), Err(SkillError::Character("a+b".into())));
        assert_eq!(queue(&["general", "a"]), Ok("a+general".to_owned()));
        let many: Vec<String> = (0..33).map(|n| n.to_string()).collect();
        assert_eq!(Queue::of(many), Err(SkillError::Many(33)));
    }

    #[test]
    fn no_two_queues_have_one_name_and_each_is_read_back() {
        let queues = [&[][..], &["general"], &["a", "general"], &["a"]];
        let mut names = BTreeSet::new();
        for skills in queues {
            let queue = Queue::of(skills).unwrap();
            let name = queue.to_string();
            assert_eq!(Queue::parse(&name), Ok(queue.clone()), "{name}");
            assert_eq!(Queue::parse(&name.replace('+', " ")), Ok(queue), "{name}");
            names.insert(name);
        }
        assert_eq!(names.len(), queues.len(), "{names:?}");
        assert_eq!(Queue::parse("+a"), Err(SkillError::Length(0)));
    }
}
