//! Channels: how many there are, and which of them make room for others.

use std::net::IpAddr;
use std::sync::Arc;

use super::address::AddressKey;
use super::holders::Holders;
use super::{LimitReached, Limiter, share_of};
use crate::shard::ids::ChannelId;

/// Reason for which a channel is not needed. Channels of an earlier kind go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unneeded {
    /// Nobody is in it: it is kept for its history.
    Idle,
    /// All who are in it have closed their sending side.
    Deserted,
}

impl Unneeded {
    const ALL: [Self; 2] = [Self::Idle, Self::Deserted];
}

/// The channels that are counted, and those of them that may be freed for others.
#[derive(Debug, Default)]
pub(super) struct Channels {
    count: usize,
    listed: [Holders<ChannelId>; Unneeded::ALL.len()],
    next_serial: u64,
}

impl Channels {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Takes the channel out of the lists that goes first.
    fn take_first(&mut self, share: usize) -> Option<ChannelId> {
        self.listed.iter_mut().find_map(|listed| {
            let first = listed.first(share)?;
            listed.remove(first.serial).map(|(_, channel)| channel)
        })
    }
}

impl Limiter {
    /// Counts a new channel, opened by somebody from `ip`. If it takes the place of another, that
    /// one is returned: its owner has to free it.
    ///
    /// # Errors
    ///
    /// There are as many as there may be, and all are needed.
    pub(crate) fn open_channel(
        self: &Arc<Self>,
        ip: IpAddr,
    ) -> Result<(ChannelPermit, Option<ChannelId>), LimitReached> {
        let limit = self.limits.load().max_channels;
        let mut channels = self.channels_mut();
        let freed = if channels.count >= limit {
            let first = channels.take_first(share_of(limit));
            Some(first.ok_or(LimitReached::Channels)?)
        } else {
            channels.count += 1;
            None
        };
        let permit = ChannelPermit {
            limiter: self.clone(),
            opener: AddressKey::of(ip),
            listing: Listing::None,
        };
        Ok((permit, freed))
    }
}

impl Limiter {
    /// Counts a channel that is there from the start on. `None` if there are as many as there may be.
    pub(crate) fn restore_channel(self: &Arc<Self>) -> Option<ChannelPermit> {
        let limit = self.limits.load().max_channels;
        let mut channels = self.channels_mut();
        (channels.count < limit).then(|| {
            channels.count += 1;
            ChannelPermit {
                limiter: self.clone(),
                opener: AddressKey::Unnamed,
                listing: Listing::None,
            }
        })
    }
}

/// Counts one channel for as long as it is held, and lists it while it is not needed.
#[derive(Debug)]
pub(crate) struct ChannelPermit {
    limiter: Arc<Limiter>,
    /// The address that opened the channel.
    opener: AddressKey,
    listing: Listing,
}

/// The list that a channel is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// On none: somebody needs it.
    None,
    /// Among those that may be freed.
    As(Unneeded, u64),
    /// Nowhere any more: its place is another's, and it is about to be freed.
    Taken,
}

impl ChannelPermit {
    /// Records whether the channel is needed.
    pub(crate) fn set_unneeded(&mut self, id: ChannelId, why: Option<Unneeded>) {
        let is_known = match self.listing {
            Listing::None => why.is_none(),
            Listing::As(kind, _) => why == Some(kind),
            Listing::Taken => why.is_some(),
        };
        if is_known {
            return;
        }
        let limiter = self.limiter.clone();
        let mut channels = limiter.channels_mut();
        self.unlist(&mut channels);
        match (why, self.listing) {
            (Some(kind), Listing::None) => {
                channels.next_serial += 1;
                let serial = channels.next_serial;
                channels.listed[kind as usize].insert(serial, self.opener, id);
                self.listing = Listing::As(kind, serial);
            }
            // Somebody came before it was freed: one more than there should be, for a while.
            (None, Listing::Taken) => {
                channels.count += 1;
                self.listing = Listing::None;
            }
            _ => {}
        }
    }

    /// Takes it out of its list, if it is in one.
    fn unlist(&mut self, channels: &mut Channels) {
        if let Listing::As(kind, serial) = self.listing {
            let listed = channels.listed[kind as usize].remove(serial);
            self.listing = listed.map_or(Listing::Taken, |_| Listing::None);
        }
    }
}

impl Drop for ChannelPermit {
    fn drop(&mut self) {
        let limiter = self.limiter.clone();
        let mut channels = limiter.channels_mut();
        self.unlist(&mut channels);
        if self.listing == Listing::None {
            channels.count -= 1;
        }
    }
}
