//! The flusher's work: channels with members for whom something is queued.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::ids::Home;
use super::session::Session;
use crate::channel::{ChannelSettings, Fanout};

/// The members of a channel on this shard, whether it is owned or relayed.
pub(super) struct LocalMembers<'a> {
    /// The members, and what is queued for each.
    pub(super) local: &'a mut Fanout<Rc<Session>>,
    /// The settings of the channel.
    pub(super) settings: &'a Arc<ChannelSettings>,
    /// `true` while the channel is in [`DirtyChannels`].
    pub(super) is_listed: &'a mut bool,
}

/// Channels with dirty members, each listed once.
#[derive(Debug, Default)]
pub(super) struct DirtyChannels {
    /// Those whose turn with the flusher is still to come.
    waiting: VecDeque<Home>,
    /// Those that have had a turn, and have members left.
    unfinished: VecDeque<Home>,
}

impl DirtyChannels {
    /// Returns `true` if the flusher has nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.unfinished.is_empty()
    }

    /// Lists a channel if it has dirty members and is not listed yet.
    #[inline]
    pub(super) fn list(&mut self, home: Home, members: LocalMembers<'_>) {
        if members.local.is_dirty() && !std::mem::replace(members.is_listed, true) {
            self.waiting.push_back(home);
        }
    }

    /// Takes the next channel off the list: one that has not had its turn, or with `unfinished_first` one
    /// that has. So a channel with many members is not in front of all others, and not behind them for ever.
    pub(super) fn next(&mut self, unfinished_first: bool) -> Option<Home> {
        let (first, second) = if unfinished_first {
            (&mut self.unfinished, &mut self.waiting)
        } else {
            (&mut self.waiting, &mut self.unfinished)
        };
        first.pop_front().or_else(|| second.pop_front())
    }

    /// Lists a channel again that [`DirtyChannels::next`] has taken off, if it has dirty members left.
    pub(super) fn had_its_turn(&mut self, home: Home, members: LocalMembers<'_>) {
        *members.is_listed = members.local.is_dirty();
        if *members.is_listed {
            self.unfinished.push_back(home);
        }
    }
}
