//! Streams, what the decoder makes of them, and what tungstenite does. The fuzz targets use `frames` and `oracle` too.

pub(crate) mod frames;
pub(crate) mod oracle;
pub(crate) mod streams;
