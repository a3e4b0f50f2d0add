//! One that sends: the message it sends over and over, with another header each time.

use crate::adapter::Publication;
use crate::fleet::LinkId;
use crate::payload::PayloadHeader;
use crate::verify::Stamp;

/// A connection that sends on one channel.
pub(super) struct Publisher {
    pub(super) link: LinkId,
    pub(super) channel: usize,
    /// Number of the publisher in its channel.
    pub(super) index: u16,
    /// Messages handed to its outbox so far; the number of the next one.
    pub(super) sent: u64,
    /// Probes handed to its outbox so far.
    pub(super) probes: u64,
    pub(super) publication: Publication,
}

impl Publisher {
    /// Returns the length of one message on the wire.
    pub(super) fn message_len(&self) -> usize {
        self.publication.bytes.len()
    }

    /// Appends the next message to `outbox`, with the header that `header` makes of its stamp.
    pub(super) fn publish<M: PayloadHeader>(
        &mut self,
        outbox: &mut Vec<u8>,
        header: impl FnOnce(Stamp) -> M,
    ) {
        self.append(outbox, header(Stamp::new(self.index, self.sent)));
        self.sent += 1;
    }

    /// Appends a message that only asks who hears it.
    pub(super) fn probe(&mut self, outbox: &mut Vec<u8>, header: impl PayloadHeader) {
        self.append(outbox, header);
        self.probes += 1;
    }

    fn append(&self, outbox: &mut Vec<u8>, header: impl PayloadHeader) {
        let payload = outbox.len() + self.publication.payload_at;
        outbox.extend_from_slice(&self.publication.bytes);
        header.write(&mut outbox[payload..]);
    }
}
