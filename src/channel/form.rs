//! The form of one member's queue.

use std::rc::Rc;

use bytes::Bytes;

use super::encoding::{Encoding, NoticeEncoding};
use super::numbered::Numbers;
use super::resume::Resumed;
use crate::protocol::{Epoch, MessageCounter, Notice, Position, frames};

/// The form of one member's queue: its encoding, and what has to be known where the member has asked for positions.
#[derive(Debug)]
pub struct Form {
    pub(super) encoding: &'static Encoding,
    /// Set if the member has asked for positions.
    pub(super) tracking: Option<Box<Tracking>>,
}

/// What is known of a member that has asked for positions. The client counts, so there is no position of it here.
#[derive(Debug)]
pub(super) struct Tracking {
    pub(super) notices: &'static NoticeEncoding,
    /// The order in which offsets count.
    epoch: Epoch,
    /// `true` if offsets need not follow one another, so that nobody can tell by them how many messages there were.
    jumps: bool,
    /// Name of the channel.
    channel: Rc<str>,
    /// How it wants to know who is there.
    pub(super) watching: Watching,
    /// Offset of the last message of its history that is encoded; of a member that is sent notices only, that of the last
    /// message that it was told of.
    encoded: u64,
}

/// How a member wants to know who is in the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watching {
    /// Not at all.
    No,
    /// It waits for the list, with so many names at most.
    Waits { names: usize },
    /// It has the list, and is told what changes.
    Follows { names: usize },
    /// It was too slow for some of that, and needs the list anew.
    Lost { names: usize },
}

impl From<&'static Encoding> for Form {
    fn from(encoding: &'static Encoding) -> Self {
        Self {
            encoding,
            tracking: None,
        }
    }
}

impl Form {
    /// Makes it that of a member that has asked for positions, and returns what that is told first; `None` if the
    /// encoding has no notices.
    pub(super) fn track(&mut self, channel: &Rc<str>, resumed: &Resumed) -> Option<Bytes> {
        let notices = self.encoding.notices()?;
        let (welcome, names) = (resumed.welcome, resumed.members);
        let waits = |names| Watching::Waits {
            names: usize::try_from(names).unwrap_or(usize::MAX),
        };
        let tracking = self.tracking.insert(Box::new(Tracking {
            notices,
            epoch: welcome.position.epoch,
            jumps: welcome.start.is_some(),
            channel: channel.clone(),
            watching: names.map_or(Watching::No, waits),
            encoded: welcome.begins_at().offset,
        }));
        Some(tracking.encode(&Notice::Welcome(welcome)))
    }

    /// Records that notices about members were left out.
    pub(super) fn lose_members(&mut self) {
        if let Some(tracking) = &mut self.tracking
            && let Watching::Follows { names } = tracking.watching
        {
            tracking.watching = Watching::Lost { names };
        }
    }

    /// Encodes the next frames of the member's history, or the notice in front of some that says where they begin.
    pub(super) fn encode_history(&mut self, run: &Bytes) -> Bytes {
        if let (Some(notice), Some(tracking)) = (Notice::decode(run), &mut self.tracking) {
            if let Notice::Receipt { position, .. } = notice {
                tracking.encoded = position.offset;
            }
            return tracking.encode(&notice);
        }
        let first = self.tracking.as_mut().map(|tracking| {
            let offset = tracking.encoded + 1;
            tracking.encoded += messages(run);
            Position {
                epoch: tracking.epoch,
                offset,
            }
        });
        self.encoding.encode(run, first).0
    }
}

impl Tracking {
    /// Returns what a member that is sent notices only is told in front of a receipt for messages with these numbers: how
    /// many of others there were since the last. `None` if there were none.
    pub(super) fn gap_before(&mut self, numbers: Numbers) -> Option<Bytes> {
        let told = std::mem::replace(&mut self.encoded, numbers.newest);
        if self.jumps {
            // The receipt says where that is.
            return None;
        }
        let missed = (numbers.newest - u64::from(numbers.count)).saturating_sub(told);
        let members = false;
        (missed > 0).then(|| self.encode(&Notice::Gap { missed, members }))
    }

    /// Records that the member of which messages of others are kept back is told of all up to `newest`. Returns the notice
    /// that tells it; `None` if it knows.
    #[cfg(feature = "server")]
    pub(super) fn tell_up_to(&mut self, newest: Position) -> Option<Bytes> {
        let told = std::mem::replace(&mut self.encoded, newest.offset);
        let missed = newest
            .offset
            .checked_sub(told)
            .filter(|missed| *missed > 0)?;
        let notice = if self.jumps {
            Notice::jump_to(newest)
        } else {
            let members = false;
            Notice::Gap { missed, members }
        };
        Some(self.encode(&notice))
    }

    pub(super) fn encode(&self, notice: &Notice) -> Bytes {
        (self.notices.encode)(notice, &self.channel)
    }
}

/// Returns the number of messages among whole frames.
pub(super) fn messages(run: &[u8]) -> u64 {
    let mut counter = MessageCounter::default();
    frames(run)
        .filter(|frame| counter.is_message(frame))
        .count() as u64
}
