//! `MessageName` and `About`: which message of a log is meant.
//!
//! Ids are their senders' own: two senders may give the same one, and neither may thereby touch what is the other's.

/// What a message is called within its log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageName {
    /// Who sent it.
    pub sender: String,
    /// The id it has from its sender.
    pub id: String,
}

/// The messages of a log that a reader's word is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About<'a> {
    /// Their id.
    pub id: &'a str,
    /// Whose; `None`: those of every sender.
    pub sender: Option<&'a str>,
}

impl MessageName {
    /// Of these parts.
    pub fn new(sender: &str, id: &str) -> Self {
        Self {
            sender: sender.to_owned(),
            id: id.to_owned(),
        }
    }
}

/// Sender and id as one text that no other two make, whatever is in them. The scripts make the same.
pub(super) fn text(sender: &str, id: &str) -> String {
    format!("{}:{sender}{id}", sender.len())
}

/// Somebody hears of several messages of one id once.
pub(super) fn each_once(mut senders: Vec<String>) -> Vec<String> {
    senders.sort_unstable();
    senders.dedup();
    senders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_one_text() {
        assert_eq!(text("a", "b:c"), "1:ab:c");
        assert_eq!(text("a:b", "c"), "3:a:bc");
        assert_eq!(text("é", "x"), "2:éx", "in bytes, as Lua counts");
    }
}
