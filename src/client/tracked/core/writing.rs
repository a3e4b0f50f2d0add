//! Writes what is queued, and the token between the frames of messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite as _;

use super::{Core, Link};
use crate::client::error::Error;

impl Core {
    /// Writes the frame that shows a token, between the frames of messages. `None` if there is nothing of it to write now.
    fn write_token(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        let Link::Up {
            writer: Some(writer),
            ..
        } = &mut self.link
        else {
            return None;
        };
        if self.token_frame.is_empty() {
            return None;
        }
        let rest = self.tracker.outgoing().rest_of_frame();
        let wrote = if rest > 0 {
            let unwritten = &self.tracker.outgoing().unwritten()[..rest];
            Pin::new(writer).poll_write(cx, unwritten)
        } else {
            Pin::new(writer).poll_write(cx, &self.token_frame)
        };
        match wrote {
            Poll::Pending => return Some(false),
            Poll::Ready(Ok(len)) => {
                self.is_unflushed = true;
                if rest > 0 {
                    self.tracker.outgoing_mut().advance(len);
                } else {
                    self.token_frame.drain(..len);
                }
            }
            Poll::Ready(Err(error)) => self.cannot_write(error),
        }
        Some(true)
    }

    /// Writes what is queued and wanted, or flushes what was written. Returns `true` if anything was done.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(has_written) = self.write_token(cx) {
            return has_written;
        }
        let Link::Up {
            writer: Some(writer),
            ..
        } = &mut self.link
        else {
            return false;
        };
        let outgoing = self.tracker.outgoing();
        let unwritten = outgoing.unwritten();
        let wrote = if self.wants_flush && !unwritten.is_empty() {
            if !self.tracker.may_publish() {
                return false;
            }
            Pin::new(writer).poll_write(cx, unwritten)
        } else if self.is_unflushed {
            Pin::new(writer).poll_flush(cx).map_ok(|()| 0)
        } else {
            return false;
        };
        match wrote {
            Poll::Pending => return false,
            Poll::Ready(Ok(len)) => {
                self.tracker.outgoing_mut().advance(len);
                self.is_unflushed = len > 0;
                self.wants_flush = !self.tracker.outgoing().unwritten().is_empty();
                self.finish_if_done();
            }
            Poll::Ready(Err(error)) => self.cannot_write(error),
        }
        true
    }

    fn cannot_write(&mut self, error: io::Error) {
        if self.backoff.is_some() && self.has_receiver {
            self.lost(Some(Error::Io(error)));
        } else if let Link::Up { writer, .. } = &mut self.link {
            // The receiving side finds out why.
            *writer = None;
            self.write_error = Some(Error::Io(error));
        }
    }
}
