//! The rule by which a client counts.

use mles::protocol::Position;

use crate::notice::{Gap, Receipt, Welcome};

/// Knows the position of each message of a client, by counting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    position: Option<Position>,
}

impl Counter {
    /// Returns the position up to which everything has come or was told to be missing.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// A session begins: what was missed comes first.
    pub fn welcome(&mut self, welcome: &Welcome) {
        let Position { epoch, offset } = welcome.position;
        // A server that is wrong is for the oracle to judge.
        let offset = offset.saturating_sub(welcome.replay);
        let start = welcome.start.unwrap_or(Position { epoch, offset });
        self.position = Some(start);
    }

    /// Returns the position of a message that has come.
    pub fn message(&mut self) -> Option<Position> {
        self.skip(1)
    }

    pub fn receipt(&mut self, receipt: &Receipt) {
        self.position = Some(receipt.position);
    }

    pub fn gap(&mut self, gap: &Gap) {
        self.skip(gap.missed);
    }

    fn skip(&mut self, messages: u64) -> Option<Position> {
        let position = self.position.as_mut()?;
        position.offset += messages;
        Some(*position)
    }
}
