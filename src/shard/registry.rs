//! The channels of one shard: those it owns and those it relays.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use super::dirty::{DirtyChannels, LocalMembers};
use super::ids::{ChannelId, Home, ShardId};
use super::limits::ChannelPermit;
use super::message::ChannelName;
use super::pause::Pause;
use super::room::Room;
use super::session::Session;
use crate::channel::{Channel, ChannelSettings, Fanout, History, HistoryMemory, Numbers};
use crate::protocol::Position;

/// A channel that another shard owns and that has members here.
#[derive(Debug)]
pub(super) struct Relay {
    /// Its name among shards, given by the owner.
    pub(super) id: ChannelId,
    /// The name of the channel.
    pub(super) name: ChannelName,
    /// The members on this shard, and what is queued for each.
    pub(super) local: Fanout<Rc<Session>>,
    /// The position of the newest message that has come, once a member here has asked for positions.
    pub(super) position: Option<Position>,
    /// `true` if the next message does not follow the newest.
    has_jumped: bool,
    /// The settings of the channel.
    pub(super) settings: Arc<ChannelSettings>,
    /// Pauses the publishers among the members on this shard.
    pub(super) pause: Rc<Pause>,
    /// `true` while the owner was told that a member here is over its high-water mark.
    pub(super) is_pressed: bool,
    /// `true` while the flusher has it on its list.
    is_listed: bool,
}

impl Relay {
    /// Returns the numbers of the messages in the next run, which has so many; `None` if nobody here wants to know.
    #[inline]
    pub(super) fn count(&mut self, messages: u32) -> Option<Numbers> {
        let position = self.position.as_mut()?;
        position.offset += u64::from(messages);
        Some(Numbers {
            epoch: position.epoch,
            newest: position.offset,
            count: messages,
            jumps: messages > 0 && std::mem::take(&mut self.has_jumped),
        })
    }

    /// Goes on to the offset `before`: the next message comes behind it.
    pub(super) fn jump_to(&mut self, before: u64) {
        if let Some(position) = &mut self.position {
            position.offset = before;
            self.has_jumped = true;
        }
    }

    /// Returns its members.
    pub(super) fn local_members(&mut self) -> LocalMembers<'_> {
        LocalMembers {
            local: &mut self.local,
            settings: &self.settings,
            is_listed: &mut self.is_listed,
        }
    }
}

/// All channels of one shard. Indices stay valid while a channel has members here.
#[derive(Debug)]
pub(super) struct Registry {
    /// The channels that this shard owns.
    rooms: Slab<Room>,
    /// Where in `rooms` a channel is, by name.
    names: HashMap<ChannelName, u32>,
    /// The channels that other shards own and that have members here.
    relays: Slab<Relay>,
    /// Where in `relays` a channel is.
    relay_ids: HashMap<ChannelId, u32>,
    /// The channels of both kinds that the flusher has to write to.
    dirty: DirtyChannels,
    /// Tells rooms apart that have the same place one after the other.
    next_serial: u64,
    /// Newest offset of a message that went with its room. See [`Self::gone_to`].
    gone_to: u64,
    /// The memory that the histories of all rooms share.
    history: HistoryMemory,
}

fn index(key: usize) -> u32 {
    u32::try_from(key).expect("fewer than 2^32 channels")
}

impl Registry {
    /// Creates a registry whose histories may take `history_bytes` of memory in all.
    pub(super) fn new(history_bytes: usize) -> Self {
        Self {
            rooms: Slab::new(),
            names: HashMap::new(),
            relays: Slab::new(),
            relay_ids: HashMap::new(),
            dirty: DirtyChannels::default(),
            next_serial: 0,
            gone_to: 0,
            history: HistoryMemory::new(history_bytes),
        }
    }

    /// Returns the index of the room called `name`.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Returns an empty history that takes its part of the memory that all share.
    pub(super) fn new_history(&self) -> History {
        History::new(self.history.clone())
    }

    /// Opens a room for a channel and returns its index.
    pub(super) fn open(
        &mut self,
        owner: ShardId,
        name: &str,
        channel: Channel<Rc<Session>>,
        permit: ChannelPermit,
    ) -> u32 {
        let entry = self.rooms.vacant_entry();
        let at = index(entry.key());
        let name: ChannelName = name.into();
        self.next_serial += 1;
        let id = ChannelId {
            owner,
            index: at,
            serial: self.next_serial,
        };
        entry.insert(Room::new(name.clone(), id, channel, permit));
        self.names.insert(name, at);
        at
    }

    pub(super) fn room(&mut self, at: u32) -> Option<&mut Room> {
        self.rooms.get_mut(at as usize)
    }

    /// Returns the room that another shard means by `id`, if it still exists.
    pub(super) fn room_of(&mut self, id: ChannelId) -> Option<&mut Room> {
        self.room(id.index).filter(|room| room.id == id)
    }

    /// Returns the room at `at`, and the list on which the flusher finds it.
    pub(super) fn room_and_dirty(&mut self, at: u32) -> Option<(&mut Room, &mut DirtyChannels)> {
        Some((self.rooms.get_mut(at as usize)?, &mut self.dirty))
    }

    /// Closes a room: its history goes, on disk as well, and what it remembers of links.
    pub(super) fn close(&mut self, at: u32) {
        if let Some(mut room) = self.rooms.try_remove(at as usize) {
            room.forget_stored();
            self.gone_to = self.gone_to.max(room.channel.gone_to());
            self.names.remove(&room.name);
        }
    }

    /// Returns the offset up to which messages are gone with rooms that were closed, where the order of channels is decided
    /// elsewhere and a room that is opened anew goes on in it.
    pub(super) fn gone_to(&self) -> u64 {
        self.gone_to
    }

    /// Forgets how far messages are gone with rooms: another order begins.
    pub(super) fn forget_gone(&mut self) {
        self.gone_to = 0;
    }

    /// Returns the number that all indices of relays are below.
    pub(super) fn relays_end(&self) -> u32 {
        index(self.relays.capacity())
    }

    /// Returns the number that all indices of rooms are below.
    pub(super) fn rooms_end(&self) -> u32 {
        index(self.rooms.capacity())
    }

    /// Returns the bytes of memory that histories take, and those that they may take.
    pub(super) fn history_memory(&self) -> (usize, usize) {
        (self.history.used(), self.history.allowed())
    }

    /// Returns `true` while histories take more than three quarters of their memory. Then idle rooms
    /// are freed: a channel in use should not have to forget so that a forgotten one may remember.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.history.used() > self.history.allowed() / 4 * 3
    }

    /// Returns `true` if what is counted as the memory of histories is their sum.
    pub(super) fn is_history_counted(&self) -> bool {
        let channels = self.rooms.iter().map(|(_, room)| &room.channel);
        let costs = channels.map(|channel| {
            let history = channel.history();
            debug_assert_eq!(history.cost(), history.recounted());
            history.cost() + channel.publishers_cost()
        });
        costs.sum::<usize>() == self.history.used()
    }

    /// Returns the index of the relay of `id`, made if there is none.
    pub(super) fn relay_or_new(
        &mut self,
        id: ChannelId,
        name: &str,
        settings: impl FnOnce() -> Arc<ChannelSettings>,
    ) -> u32 {
        *self.relay_ids.entry(id).or_insert_with(|| {
            let settings = settings();
            index(self.relays.insert(Relay {
                id,
                name: name.into(),
                local: Fanout::default(),
                position: None,
                has_jumped: false,
                pause: Rc::new(Pause::new(settings.write_deadline)),
                settings,
                is_pressed: false,
                is_listed: false,
            }))
        })
    }

    pub(super) fn relay_at(&mut self, at: u32) -> Option<&mut Relay> {
        self.relays.get_mut(at as usize)
    }

    /// Returns the relay of `id`, if there is one, its index, and the list on which the flusher finds it.
    pub(super) fn relay_and_dirty(
        &mut self,
        id: ChannelId,
    ) -> Option<(u32, &mut Relay, &mut DirtyChannels)> {
        let at = *self.relay_ids.get(&id)?;
        Some((at, self.relays.get_mut(at as usize)?, &mut self.dirty))
    }

    pub(super) fn relay_of(&self, id: ChannelId) -> Option<u32> {
        self.relay_ids.get(&id).copied()
    }

    /// Forgets a relay, which has no members any more.
    pub(super) fn close_relay(&mut self, at: u32) {
        if let Some(relay) = self.relays.try_remove(at as usize) {
            self.relay_ids.remove(&relay.id);
        }
    }

    /// Returns the members on this shard of the channel at `home`.
    pub(super) fn local_members(&mut self, home: Home) -> Option<LocalMembers<'_>> {
        Some(self.members_and_dirty(home)?.0)
    }

    fn members_and_dirty(&mut self, home: Home) -> Option<(LocalMembers<'_>, &mut DirtyChannels)> {
        let members = match home {
            Home::Owned(at) => self.rooms.get_mut(at as usize)?.local_members(),
            Home::Relayed(at) => self.relays.get_mut(at as usize)?.local_members(),
        };
        Some((members, &mut self.dirty))
    }

    /// Returns the position of the last message of a channel that was delivered here, if they are numbered.
    pub(super) fn newest(&mut self, home: Home) -> Option<Position> {
        match home {
            Home::Owned(at) => self.room(at)?.channel.newest(),
            Home::Relayed(at) => self.relay_at(at)?.position,
        }
    }

    /// Returns the name among shards of a channel.
    pub(super) fn id_of(&mut self, home: Home) -> Option<ChannelId> {
        match home {
            Home::Owned(at) => self.room(at).map(|room| room.id),
            Home::Relayed(at) => self.relay_at(at).map(|relay| relay.id),
        }
    }

    /// Lists the channel for the flusher if it has dirty members and is not listed yet.
    pub(super) fn list_if_dirty(&mut self, home: Home) {
        if let Some((members, dirty)) = self.members_and_dirty(home) {
            dirty.list(home, members);
        }
    }

    /// Returns `true` if the flusher has something to do.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes the next channel with dirty members off the list: see [`DirtyChannels::next`].
    pub(super) fn next_dirty(&mut self, unfinished_first: bool) -> Option<Home> {
        self.dirty.next(unfinished_first)
    }

    /// Lists a channel again that [`Registry::next_dirty`] has taken off, if it has members left.
    pub(super) fn had_its_turn(&mut self, home: Home) {
        if let Some((members, dirty)) = self.members_and_dirty(home) {
            dirty.had_its_turn(home, members);
        }
    }

    /// Returns all channels with a place on this shard.
    pub(super) fn homes(&self) -> Vec<Home> {
        let owned = self.rooms.iter().map(|(at, _)| Home::Owned(index(at)));
        let relayed = self.relays.iter().map(|(at, _)| Home::Relayed(index(at)));
        owned.chain(relayed).collect()
    }

    /// Sets the memory that the histories of all rooms may take, in bytes.
    pub(super) fn set_history_bytes(&self, bytes: usize) {
        self.history.set_allowed(bytes);
    }

    /// Gives a channel the settings that `find` has for its name. Returns `true` if they are new.
    pub(super) fn set_settings(
        &mut self,
        home: Home,
        find: impl FnOnce(&str) -> Arc<ChannelSettings>,
        now: Instant,
    ) -> bool {
        match home {
            Home::Owned(at) => self.room(at).is_some_and(|room| {
                let settings = find(&room.name);
                room.pause.set_limit(settings.write_deadline);
                room.channel.set_settings(settings, now)
            }),
            Home::Relayed(at) => self.relay_at(at).is_some_and(|relay| {
                let settings = find(&relay.name);
                let is_new = relay.settings != settings;
                if is_new {
                    relay.local.policy_changed(&settings);
                    relay.pause.set_limit(settings.write_deadline);
                    relay.settings = settings;
                }
                is_new
            }),
        }
    }

    /// Returns all sessions on this shard that are members of a channel.
    pub(super) fn members(&self) -> Vec<Rc<Session>> {
        let owned = self
            .rooms
            .iter()
            .flat_map(|(_, room)| room.channel.local.iter());
        let relayed = self.relays.iter().flat_map(|(_, relay)| relay.local.iter());
        owned
            .chain(relayed)
            .map(|(_, member)| member.handle.clone())
            .collect()
    }
}
