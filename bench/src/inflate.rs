//! Decompresses messages that servers have compressed, each by itself.

use anyhow::ensure;
use flate2::{Decompress, FlushDecompress};

/// What a sender takes off the end of each message (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// No message of a run is larger.
const MOST: usize = 1 << 20;

/// For all connections: nothing is carried from one message to the next.
#[derive(Debug)]
pub struct Inflate {
    state: Decompress,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Default for Inflate {
    fn default() -> Self {
        Self {
            state: Decompress::new(false),
            input: Vec::new(),
            output: Vec::with_capacity(MOST),
        }
    }
}

impl Inflate {
    /// The message that was compressed to `bytes`.
    pub fn message(&mut self, bytes: &[u8]) -> anyhow::Result<&[u8]> {
        let Self {
            state,
            input,
            output,
        } = self;
        state.reset(false);
        input.clear();
        input.extend(bytes);
        input.extend(TAIL);
        output.clear();
        state.decompress_vec(input, output, FlushDecompress::Sync)?;
        ensure!(
            state.total_in() == input.len() as u64,
            "a compressed message is larger than {MOST} bytes"
        );
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    #[test]
    fn each_message_is_decompressed_by_itself() {
        let mut inflate = Inflate::default();
        for words in ["one and one and one", "two"] {
            let mut compressed = Vec::with_capacity(100);
            let mut deflate = Compress::new(Compression::default(), false);
            deflate
                .compress_vec(words.as_bytes(), &mut compressed, FlushCompress::Sync)
                .unwrap();
            let bytes = compressed.strip_suffix(&TAIL).unwrap();
            assert_eq!(inflate.message(bytes).unwrap(), words.as_bytes());
        }
        assert!(inflate.message(&[0xff, 0xff]).is_err());
    }
}
