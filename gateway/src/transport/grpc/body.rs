//! What a client hears: the bytes of the pipe that its connection writes into, and the status at the end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::HeaderMap;
use bytes::Bytes;
use hyper::body::{Body, Frame};

use super::status::ended;
use crate::protocol::Disconnect;
use crate::transport::pipe::PipeReader;

/// The body of the answer. Frames are messages of gRPC already when they get here, and several leave together.
#[derive(Debug)]
pub(super) struct SessionBody {
    frames: PipeReader,
    is_over: bool,
}

impl SessionBody {
    pub(super) const fn new(frames: PipeReader) -> Self {
        Self {
            frames,
            is_over: false,
        }
    }
}

impl Body for SessionBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let frame = if let Some(bytes) = ready!(self.frames.poll_read(cx)) {
            Frame::data(bytes)
        } else {
            self.is_over = true;
            Frame::trailers(trailers(self.frames.end()))
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

fn trailers(why: Option<Disconnect>) -> HeaderMap {
    let status = ended(why.unwrap_or(Disconnect::Internal));
    let mut trailers = HeaderMap::new();
    // Every part of it is of the gateway's own making, and fit for a header.
    let _fits = status.add_header(&mut trailers);
    trailers
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::transport::pipe::pipe;

    #[tokio::test]
    async fn the_end_is_a_status_that_says_why() {
        let (writer, reader) = pipe();
        writer.try_write(b"frame").unwrap();
        writer.end(Disconnect::Kicked);
        let body = SessionBody::new(reader).collect().await.unwrap();
        let trailers = body.trailers().unwrap().clone();
        assert_eq!(body.to_bytes(), "frame");
        assert_eq!(trailers["grpc-status"], "7");
        assert_eq!(trailers["wsc-code"], "4003");
        assert_eq!(trailers["wsc-reason"], "kicked");
        assert_eq!(trailers["wsc-reconnect"], "false");
    }
}
