//! The messages of a run: each tells who has sent it and its number, and is whole or recognised as torn.

use crate::common::Rng;
use crate::wire::uid_of;

/// Names a message: who has sent it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// Index of the actor.
    pub actor: usize,
    pub number: u32,
}

/// The contents of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    Tagged(Tag),
    /// A body that is no message of the protocol: the server passes it on, and not every transport can.
    Junk,
    /// It is none of those that were sent.
    Torn,
}

/// How long messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lengths {
    /// Some bytes, and some are longer than one read of a server.
    Mixed,
    /// Tens of thousands of bytes: what nobody reads soon fills any queue.
    Bulk,
}

impl Lengths {
    /// Returns the message that has this tag. Every third of them is not text.
    pub fn payload(self, tag: Tag) -> Vec<u8> {
        let mut payload = format!("{} {} ", tag.actor, tag.number).into_bytes();
        let seed = (tag.actor as u64) << 32 | u64::from(tag.number);
        let mut rng = Rng(seed);
        let more = match (self, rng.below(40)) {
            (Self::Bulk, _) => 20_000 + rng.below(20_000),
            (Self::Mixed, 0) => 70_000,
            (Self::Mixed, 1..4) => rng.below(5000),
            (Self::Mixed, _) => rng.below(60),
        };
        let filler = if is_binary(tag) { 0xFF } else { b'.' };
        payload.extend(std::iter::repeat_n(filler, more + 1));
        payload
    }

    /// Returns what a message is. Where the uid is known, it has to be that of the actor.
    pub fn body(self, payload: &[u8], uid: Option<&str>) -> Body {
        let is_from = |tag: Tag| uid.is_none_or(|uid| uid == uid_of(tag.actor));
        match tag(payload) {
            Some(tag) if is_from(tag) && self.payload(tag) == payload => Body::Tagged(tag),
            _ => Body::Torn,
        }
    }
}

/// Returns `true` if the message is not text.
pub fn is_binary(tag: Tag) -> bool {
    tag.number % 3 == 2
}

fn tag(payload: &[u8]) -> Option<Tag> {
    let mut words = payload.splitn(3, |&byte| byte == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    Some(Tag {
        actor: word()?.parse().ok()?,
        number: word()?.parse().ok()?,
    })
}
