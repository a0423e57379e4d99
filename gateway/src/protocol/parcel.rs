//! `Parcel`: an encoded message on its way between the parts of a gateway and between gateways.

use bytes::Bytes;

use super::{Mark, Position, TraceContext};

/// See the module. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The message as the JSON codec wrote it, its position not in it.
    pub json: Bytes,
    /// Where it stands in its log, if it is in one.
    pub mark: Option<Mark>,
    /// The span it comes from, if it is traced.
    pub trace: Option<TraceContext>,
}

impl Parcel {
    /// The message as clients see it: with its position.
    pub fn visible(&self) -> Bytes {
        match &self.mark {
            None => self.json.clone(),
            Some(mark) => with_position(&self.json, mark.position),
        }
    }
}

impl From<Bytes> for Parcel {
    /// A message that is in no log.
    fn from(json: Bytes) -> Self {
        Self {
            json,
            mark: None,
            trace: None,
        }
    }
}

fn with_position(json: &[u8], position: Position) -> Bytes {
    let field = format!(",\"pos\":\"{position}\"}}");
    let mut out = Vec::with_capacity(json.len() + field.len());
    // What the codec wrote ends with a brace.
    out.extend_from_slice(json.strip_suffix(b"}").unwrap_or(json));
    out.extend_from_slice(field.as_bytes());
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{LogId, Start};

    #[test]
    fn a_logged_message_shows_its_position() {
        let json = Bytes::from_static(br#"{"type":"t","content":{}}"#);
        let mut parcel = Parcel::from(json.clone());
        assert_eq!(parcel.visible(), json);
        let position = Position {
            epoch: 3,
            offset: 4,
        };
        parcel.mark = Some(Mark {
            log: LogId::Broadcast,
            position,
            ack: None,
            start: Start::Here,
        });
        assert_eq!(
            parcel.visible(),
            &br#"{"type":"t","content":{},"pos":"3.4"}"#[..]
        );
    }
}
