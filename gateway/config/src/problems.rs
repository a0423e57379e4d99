//! `Problems`: everything that is wrong with a configuration, at once.
//!
//! Each problem names its key by the path that a user would type, and where the value came from when a loader knows.
//! Made by `check` (what the schema says) and by the sections' own rules (what keys mean together).

use std::collections::BTreeSet;
use std::fmt;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The file, by line and column, both from 1.
    File {
        /// The line.
        line: u64,
        /// The column.
        column: u64,
    },
    /// An environment variable, by name.
    Environment(String),
    /// A `--set` flag, by the key that it sets; the value is not repeated.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { line, column } => write!(out, "file line {line}, column {column}"),
            Self::Environment(name) => write!(out, "environment variable {name}"),
            Self::Flag(key) => write!(out, "--set {key}"),
        }
    }
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// There is no such key; perhaps another one is meant.
    Unknown {
        /// The path of the key that is nearest in name.
        suggestion: Option<String>,
    },
    /// The value cannot be; the text says why, and what it is.
    Invalid(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The key, such as `wsc.security.blockedIps[2]`.
    pub path: String,
    /// What is wrong with it.
    pub fault: Fault,
    /// Where the value came from, if that is known.
    pub source: Option<Source>,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Unknown {
                suggestion: Some(key),
            } => {
                write!(out, "unknown key {}, did you mean {key}", self.path)?;
            }
            Fault::Unknown { suggestion: None } => write!(out, "unknown key {}", self.path)?,
            Fault::Invalid(why) => write!(out, "{}: {why}", self.path)?,
        }
        match &self.source {
            Some(source) => write!(out, " ({source})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, in the order of the keys; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(BTreeSet<Problem>);

impl std::error::Error for Problems {}

impl Problems {
    /// Notes an invalid value.
    pub(crate) fn invalid(&mut self, path: impl Into<String>, why: impl Into<String>) {
        let fault = Fault::Invalid(why.into());
        self.0.insert(Problem {
            path: path.into(),
            fault,
            source: None,
        });
    }

    /// Notes any problem.
    pub(crate) fn push(&mut self, problem: Problem) {
        self.0.insert(problem);
    }

    /// Says of each problem where its value came from.
    pub(crate) fn locate(self, source: impl Fn(&str) -> Option<Source>) -> Self {
        let located = self.0.into_iter().map(|problem| {
            let source = problem.source.clone().or_else(|| source(&problem.path));
            Problem { source, ..problem }
        });
        Self(located.collect())
    }

    /// Nothing wrong, or everything that is.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The problems, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}
