//! `Error`: why a reconcile must be tried again.
//!
//! What a user must mend is no error but a `Rejection` in the status. Each variant answers three questions: the label in
//! the metrics, whether trying soon can help, and (by `Display`) what to write in the log, once, in `controller`.

use std::time::Duration;

/// Why a reconcile must be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer as expected.
    #[error("{action}")]
    Api {
        /// What was tried, with the object's kind and name.
        action: String,
        /// The client's reason.
        #[source]
        source: kube::Error,
    },
    /// The API server did not answer in time.
    #[error("{action}: no answer within {}s", deadline.as_secs())]
    Deadline {
        /// What was tried, with the object's kind and name.
        action: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// Somebody else wrote meanwhile; a fresh look will do.
    #[error("{action}: somebody else wrote it meanwhile")]
    Conflict {
        /// What was tried, with the object's kind and name.
        action: String,
    },
    /// Somebody changes an object again each time it is restored.
    #[error(
        "{object}: somebody, such as another controller, changes it again each time it is restored; that is done once a minute now"
    )]
    Contested {
        /// The object's kind and name.
        object: String,
    },
    /// A watch has not delivered its first list.
    #[error("the watch of {kind} has not caught up yet")]
    NotWatchingYet {
        /// The kind watched.
        kind: &'static str,
    },
    /// The operator lacks rights without which nothing can be decided.
    #[error(
        "the operator may not {}: grant it that (wsc-operator check names every right that is missing)",
        .0.join(", ")
    )]
    NotPermitted(Vec<String>),
    /// An object of our own cannot be written as JSON or YAML.
    #[error("an object cannot be serialised")]
    Serialise(#[from] serde_json::Error),
    /// The gateway's file cannot be written as YAML.
    #[error("the gateway's configuration cannot be written as YAML: {0}")]
    Yaml(String),
    /// The resource was stored by an older CRD and cannot be read.
    #[error("the resource cannot be read: {0}")]
    Unreadable(String),
    /// The resource has no namespace, name or uid; the API server always gives them.
    #[error("the resource has no {0}")]
    Incomplete(&'static str),
}

impl Error {
    /// The label in the metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Api { .. } => "api",
            Self::Deadline { .. } => "deadline",
            Self::Conflict { .. } => "conflict",
            Self::Contested { .. } => "contested",
            Self::NotWatchingYet { .. } => "not_watching_yet",
            Self::NotPermitted(_) => "not_permitted",
            Self::Serialise(_) | Self::Yaml(_) => "serialise",
            Self::Unreadable(_) => "unreadable",
            Self::Incomplete(_) => "incomplete",
        }
    }

    /// Whether trying again without a change of the resource can help.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Api { .. }
            | Self::Deadline { .. }
            | Self::Conflict { .. }
            | Self::Contested { .. }
            | Self::NotWatchingYet { .. }
            | Self::NotPermitted(_) => true,
            Self::Serialise(_) | Self::Yaml(_) | Self::Unreadable(_) | Self::Incomplete(_) => false,
        }
    }

    /// Whether somebody else writes against the operator.
    pub const fn is_contest(&self) -> bool {
        matches!(self, Self::Contested { .. })
    }

    /// The reason with its causes on one line; of what the API server said, its own words only.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            if let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>() {
                text.push_str(&status.message);
                break;
            }
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
