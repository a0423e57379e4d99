//! What compression saves by the size of a message: from this the threshold `WORTHWHILE` was chosen.
//!
//! `cargo run -p wsc-wire --example deflate`

use flate2::{Compress, Compression, FlushCompress};

/// A message as the gateway writes it, with this much text in it.
fn message(text: usize) -> String {
    let words = "thank you for the quick answer, could you tell me where the order with number 48213 is now? ";
    let text: String = words.chars().cycle().take(text).collect();
    format!(
        r#"{{"type":"text","id":"0193575c-5f2b-7d6c-9a51-3c6d1d0f7a10","from":"customer-4711","from_type":"customer","to":"agent-12","seq":17,"create_at":1732406400123,"content":"{text}"}}"#
    )
}

fn main() {
    println!("bytes  deflated  saved");
    for text in [0, 20, 40, 60, 80, 120, 200, 400, 1000, 4000] {
        let message = message(text);
        let mut deflated = Vec::with_capacity(message.len() * 2);
        let done = Compress::new(Compression::new(6), false).compress_vec(
            message.as_bytes(),
            &mut deflated,
            FlushCompress::Sync,
        );
        let size = deflated.len().saturating_sub(4);
        if done.is_ok() {
            let saved = 100_usize.saturating_sub(100 * size / message.len());
            println!("{:5}  {size:8}  {saved:4} %", message.len());
        }
    }
}
