//! The walk through received bytes: finds each payload's header and skips the rest.
//!
//! Messages of one publisher to one channel have the same bytes before their payload, so the head
//! of the last message is kept, and a message that begins with the same bytes is taken without
//! asking the adapter. That makes a message cost the same for every broker: one comparison of some
//! forty bytes, the header read, the rest skipped. Payload bytes are never copied; at most a head
//! and a header are carried from one read to the next.

use super::{Adapter, Head, PositionCount, PositionNotice, WireError};
use crate::payload::PayloadHeader;

/// Where one connection is in its stream. Every payload begins with a header of type `M`.
#[derive(Debug)]
pub(crate) struct Scanner<M> {
    /// The bytes before the payload of the last message; empty before the first.
    head: Vec<u8>,
    /// Bytes from the start of such a payload to the end of its message.
    body: usize,
    /// Bytes still to skip of what was begun.
    skip: usize,
    /// The header of the message being skipped: it counts when its last byte has come.
    open: Option<M>,
    /// Bytes too few to tell what they begin; to be put before the next that are read.
    carry: Vec<u8>,
    /// Messages published on this connection that the broker has confirmed.
    confirmed: u64,
    positions: PositionCount,
}

/// The longest head, header included, or control line, that is carried from one read to the next.
pub(crate) const MAX_CARRY: usize = 4096;

impl<M> Default for Scanner<M> {
    fn default() -> Self {
        Self {
            head: Vec::new(),
            body: 0,
            skip: 0,
            open: None,
            carry: Vec::new(),
            confirmed: 0,
            positions: PositionCount::default(),
        }
    }
}

impl<M: PayloadHeader> Scanner<M> {
    /// Returns the bytes left over from the last [`Scanner::scan`]: they go before the next ones read.
    pub(crate) fn carry(&self) -> &[u8] {
        &self.carry
    }

    /// Returns how many messages published on this connection the broker has confirmed.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Returns the session's count of positions.
    pub(crate) fn positions(&self) -> &PositionCount {
        &self.positions
    }

    /// Walks through `received`, which begins with [`Scanner::carry`], and calls `deliver` for each
    /// message that is complete. Returns how many pings there were to answer.
    ///
    /// # Errors
    /// What the adapter says, a payload not of `payload_len` bytes, a head over [`MAX_CARRY`], or a position that
    /// does not fit.
    pub(crate) fn scan(
        &mut self,
        adapter: &dyn Adapter,
        payload_len: usize,
        received: &[u8],
        mut deliver: impl FnMut(M),
    ) -> Result<usize, WireError> {
        let mut rest = self.finish_open(received, &mut deliver);
        let mut pings = 0;
        let is_base64 = adapter.is_base64();
        let payload_len = if is_base64 {
            base64_len(payload_len)
        } else {
            payload_len
        };
        while !rest.is_empty() {
            let begins_alike = !self.head.is_empty() && rest.starts_with(&self.head);
            if !begins_alike {
                match adapter.head(rest)? {
                    Head::Partial => break,
                    Head::Control { len } => {
                        rest = self.pass(rest, len);
                        continue;
                    }
                    Head::Ping { len } => {
                        pings += 1;
                        rest = self.pass(rest, len);
                        continue;
                    }
                    Head::Confirm { len } => {
                        self.confirmed += 1;
                        rest = self.pass(rest, len);
                        continue;
                    }
                    Head::Notice { len, notice } => {
                        self.note(notice)?;
                        rest = self.pass(rest, len);
                        continue;
                    }
                    Head::Delivery {
                        head,
                        payload,
                        tail,
                    } => {
                        if payload != payload_len {
                            return Err(WireError::unexpected(rest));
                        }
                        self.head.clear();
                        self.head.extend_from_slice(&rest[..head]);
                        self.body = payload + tail;
                    }
                }
            }
            let behind = &rest[self.head.len()..];
            let header = if is_base64 {
                M::read_base64(behind)
            } else {
                M::read(behind)
            };
            let Some(header) = header else {
                break;
            };
            let whole = self.head.len() + self.body;
            if rest.len() < whole {
                self.open = Some(header);
            } else {
                self.positions.count();
                deliver(header);
            }
            rest = self.pass(rest, whole);
        }
        if rest.len() > MAX_CARRY {
            return Err(WireError::unexpected(rest));
        }
        self.carry.clear();
        self.carry.extend_from_slice(rest);
        Ok(pings)
    }

    /// Skips what is left of the message that the last scan ended in.
    fn finish_open<'a>(&mut self, received: &'a [u8], deliver: &mut impl FnMut(M)) -> &'a [u8] {
        let skipped = self.skip.min(received.len());
        self.skip -= skipped;
        if self.skip == 0
            && let Some(header) = self.open.take()
        {
            self.positions.count();
            deliver(header);
        }
        &received[skipped..]
    }

    fn note(&mut self, notice: PositionNotice) -> Result<(), WireError> {
        if let PositionNotice::Receipt { count, .. } = notice {
            self.confirmed += count;
        }
        self.positions.note(notice)
    }

    /// Passes `len` bytes, some of which may not have come yet.
    fn pass<'a>(&mut self, rest: &'a [u8], len: usize) -> &'a [u8] {
        let here = len.min(rest.len());
        self.skip = len - here;
        &rest[here..]
    }
}

/// Returns the length of `payload_len` bytes as base64.
fn base64_len(payload_len: usize) -> usize {
    4 * payload_len.div_ceil(3)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::adapter::{Role, Session};
    use crate::verify::Stamp;

    /// Feeds `stream` in pieces of `piece` bytes and returns the stamps and the number of pings.
    fn feed(
        adapter: &dyn Adapter,
        payload_len: usize,
        stream: &[u8],
        pieces: &[usize],
    ) -> (Vec<Stamp>, usize) {
        let (mut scanner, mut stamps, mut pings) = (Scanner::default(), Vec::new(), 0);
        let mut rest = stream;
        for piece in pieces
            .iter()
            .copied()
            .chain(std::iter::repeat(stream.len()))
        {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(piece.clamp(1, rest.len()));
            let received = [scanner.carry(), now].concat();
            pings += scanner
                .scan(adapter, payload_len, &received, |stamp| stamps.push(stamp))
                .expect("the stream is well formed");
            rest = later;
        }
        assert!(
            scanner.carry().is_empty(),
            "left over: {:?}",
            scanner.carry()
        );
        assert_eq!(scanner.skip, 0);
        (stamps, pings)
    }

    /// Asserts that `stream` holds messages 0, 1, 2 … `messages` and `pings` pings, however it is
    /// cut in two or into single bytes.
    pub(crate) fn assert_scans(
        adapter: &dyn Adapter,
        payload_len: usize,
        stream: &[u8],
        messages: u64,
        pings: usize,
    ) {
        let expected: Vec<_> = (0..messages)
            .map(|sequence| Stamp::new(0, sequence))
            .collect();
        for cut in 1..=stream.len() {
            let found = feed(adapter, payload_len, stream, &[cut]);
            assert_eq!(found, (expected.clone(), pings), "cut at byte {cut}");
        }
        let single = feed(adapter, payload_len, stream, &vec![1; stream.len()]);
        assert_eq!(single, (expected, pings), "byte by byte");
    }

    /// Returns a payload of `len` bytes that carries message `sequence` of publisher 0.
    pub(crate) fn payload(len: usize, sequence: u64) -> Vec<u8> {
        let mut payload = vec![b'.'; len];
        payload[..Stamp::LEN].copy_from_slice(&Stamp::new(0, sequence).to_bytes());
        payload
    }

    /// Returns session `number`, a publisher's on channel `lg.0`.
    pub(crate) fn session(number: u32) -> Session<'static> {
        Session {
            local: ([127, 0, 0, 1], 4000).into(),
            role: Role::Publisher,
            number,
            channel: "lg.0",
            since: None,
        }
    }
}
