//! Reads the head of an HTTP request.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::shard::Shard;
use crate::shard::allowance::{Overdrawn, Share, evicted};
use crate::websocket::MAX_HEAD;

/// Bytes that are read before the head may take more memory.
const FIRST: usize = 1 << 10;

/// The part of a head that has come. Its memory grows as bytes come, and is charged to what connections that
/// have not joined may use.
///
/// The caller reads on until it is worth parsing, parses it, and reads on if it is not whole. When that is, is
/// decided here, so that a head in single bytes is not parsed from the start for each of them.
pub(crate) struct RequestHead<'a> {
    shard: &'a Shard,
    bytes: Vec<u8>,
    share: Share,
    /// Its length when it was last parsed.
    seen: usize,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn new(shard: &'a Shard) -> Self {
        Self {
            shard,
            bytes: Vec::with_capacity(FIRST),
            share: Share::default(),
            seen: 0,
        }
    }

    /// Returns the bytes that have come, with those that may follow the head.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes these bytes out.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).into()
    }

    /// Reads until the head may be whole, has grown to twice its length, or is at its limit.
    ///
    /// # Errors
    ///
    /// Those of the connection, with `UnexpectedEof` at its end; `Ok(Err(_))`: there is no memory.
    pub(crate) async fn read_on(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Result<(), Overdrawn>> {
        loop {
            let before = self.bytes.len();
            let room = MAX_HEAD.saturating_sub(before) as u64;
            let mut reader = (&mut *reader).take(room);
            let n = tokio::select! {
                n = reader.read_buf(&mut self.bytes) => n?,
                () = evicted(self.shard.join_scratch(), [&self.share]) => {
                    return Ok(Err(Overdrawn));
                }
            };
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.charge().is_err() {
                return Ok(Err(Overdrawn));
            }
            if is_worth_a_look(&self.bytes, before, self.seen) {
                self.seen = self.bytes.len();
                return Ok(Ok(()));
            }
        }
    }

    /// Charges for the buffer as it is now.
    fn charge(&mut self) -> Result<(), Overdrawn> {
        let scratch = &mut self.shard.join_scratch().borrow_mut();
        let capacity = self.bytes.capacity();
        scratch.allowance.hold(&mut self.share, capacity)
    }
}

impl Drop for RequestHead<'_> {
    fn drop(&mut self) {
        let scratch = &mut self.shard.join_scratch().borrow_mut();
        scratch.allowance.release(&mut self.share);
    }
}

/// Returns `true` if the head may be whole now. `before` and `seen` are its lengths before the last read, and
/// when it was last parsed.
fn is_worth_a_look(bytes: &[u8], before: usize, seen: usize) -> bool {
    if bytes.len() >= MAX_HEAD || bytes.len() >= seen * 2 {
        return true;
    }
    // An empty line ends a head, unless there is nothing before it.
    let new = &bytes[before.saturating_sub(3)..];
    let has_end =
        new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
    has_end
        && !bytes[..bytes.len().min(4)]
            .iter()
            .all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a head is looked at that comes in pieces of `size` bytes, and whether it is when
    /// it is whole.
    fn looks(head: &[u8], size: usize) -> (usize, bool) {
        let (mut seen, mut looks, mut before) = (0, 0, 0);
        while before < head.len() {
            let len = (before + size).min(head.len());
            if is_worth_a_look(&head[..len], before, seen) {
                (seen, looks) = (len, looks + 1);
            }
            before = len;
        }
        (looks, seen == head.len())
    }

    #[test]
    fn a_head_in_single_bytes_is_looked_at_a_few_times() {
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(39_000));
        for end in ["\r\n\r\n", "\n\n", "\n\r\n"] {
            for size in [1, 2, 3, 5, 1000] {
                let (looks, is_seen) = looks(format!("{long}{end}").as_bytes(), size);
                assert!(looks <= 20, "{looks} looks at pieces of {size}");
                assert!(is_seen, "{end:?} in pieces of {size}");
            }
        }
        let (looks, _) = looks("\r\n".repeat(20_000).as_bytes(), 1);
        assert!(looks <= 20, "{looks} looks at nothing");
    }
}
