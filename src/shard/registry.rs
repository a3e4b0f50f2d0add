//! The channels of one shard: those it owns and those it relays.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use super::ids::{ChannelId, Home, ShardId};
use super::limits::{ChannelPermit, Unneeded};
use super::links::Links;
use super::message::ChannelName;
use super::pause::Pause;
use super::session::Session;
use crate::channel::{
    Channel, ChannelSettings, Fanout, FrameRun, History, HistoryMemory, Origin, SessionId,
};
use crate::protocol::Cid;

/// A channel that this shard owns.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: ChannelName,
    pub(super) id: ChannelId,
    pub(super) channel: Channel<Rc<Session>>,
    pub(super) pause: Rc<Pause>,
    /// Other shards with a member over its high-water mark.
    pub(super) pressed: Vec<ShardId>,
    /// The links of the channel with other servers.
    pub(super) links: Links,
    /// The uids of sessions that are the only ones of theirs, if there was one.
    soles: Option<Box<Soles>>,
    /// Whether new members stay on the shard that accepted them.
    pub(super) is_spreading: bool,
    /// Whether a task is going to deliver the announcements collected.
    pub(super) is_announcing: bool,
    is_listed: bool,
    /// Keeps the channel counted.
    permit: ChannelPermit,
}

/// Sessions of which there may be only one for each uid.
#[derive(Debug, Default)]
struct Soles {
    uids: HashMap<Rc<str>, Cid>,
    sessions: HashMap<SessionId, Rc<str>>,
}

impl Room {
    /// Records that `session` is the only session of that kind with `uid`. Returns whether it is.
    pub(super) fn claim(&mut self, uid: &str, cid: Cid, session: SessionId) -> bool {
        let soles = self.soles.get_or_insert_default();
        if soles.uids.contains_key(uid) {
            return false;
        }
        let uid: Rc<str> = uid.into();
        soles.uids.insert(uid.clone(), cid);
        soles.sessions.insert(session, uid);
        true
    }

    /// The connection id of the only session of that kind with `uid`.
    pub(super) fn sole(&self, uid: &str) -> Option<Cid> {
        self.soles.as_ref()?.uids.get(uid).copied()
    }

    /// Records whether anybody needs the channel: to be called when a member has come, has closed its
    /// sending side, or has left.
    pub(super) fn note_need(&mut self) {
        let why = self.unneeded();
        self.permit.set_unneeded(self.id, why);
    }

    /// Returns why nobody needs the channel; `None` while somebody does: a member, or a link, which
    /// may have something to bring up.
    pub(super) fn unneeded(&self) -> Option<Unneeded> {
        if !self.links.is_idle() {
            None
        } else if self.channel.is_empty() {
            // A link that is being closed is a member without a seat.
            self.channel.local.is_empty().then_some(Unneeded::Idle)
        } else {
            self.channel.is_deserted().then_some(Unneeded::Deserted)
        }
    }

    /// Forgets what `session` has claimed, if it has.
    pub(super) fn unclaim(&mut self, session: SessionId) {
        let Some(soles) = &mut self.soles else {
            return;
        };
        if let Some(uid) = soles.sessions.remove(&session) {
            soles.uids.remove(&uid);
        }
    }
}

/// A channel that another shard owns and that has members here.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) id: ChannelId,
    pub(super) name: ChannelName,
    pub(super) local: Fanout<Rc<Session>>,
    pub(super) settings: Arc<ChannelSettings>,
    pub(super) pause: Rc<Pause>,
    /// Whether the owner was told that a member here is over its high-water mark.
    pub(super) is_pressed: bool,
    is_listed: bool,
}

/// What fan-out needs of a channel, owned or relayed.
pub(super) struct LocalMembers<'a> {
    pub(super) local: &'a mut Fanout<Rc<Session>>,
    pub(super) settings: &'a Arc<ChannelSettings>,
    is_listed: &'a mut bool,
}

/// All channels of one shard. Indices stay valid while a channel has members here.
#[derive(Debug)]
pub(super) struct Registry {
    rooms: Slab<Room>,
    names: HashMap<ChannelName, u32>,
    relays: Slab<Relay>,
    relay_ids: HashMap<ChannelId, u32>,
    /// Channels with dirty members whose turn with the flusher is still to come.
    dirty: VecDeque<Home>,
    /// Those that have had a turn, and have members left.
    unfinished: VecDeque<Home>,
    next_serial: u64,
    history: HistoryMemory,
}

fn index(key: usize) -> u32 {
    u32::try_from(key).expect("fewer than 2^32 channels")
}

impl Registry {
    /// A registry whose histories may take `history_bytes` of memory in all.
    pub(super) fn new(history_bytes: usize) -> Self {
        Self {
            rooms: Slab::new(),
            names: HashMap::new(),
            relays: Slab::new(),
            relay_ids: HashMap::new(),
            dirty: VecDeque::new(),
            unfinished: VecDeque::new(),
            next_serial: 0,
            history: HistoryMemory::new(history_bytes),
        }
    }

    /// The room of that name.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Opens a room.
    pub(super) fn open(
        &mut self,
        owner: ShardId,
        name: &str,
        settings: Arc<ChannelSettings>,
        permit: ChannelPermit,
        now: Instant,
    ) -> u32 {
        let entry = self.rooms.vacant_entry();
        let at = index(entry.key());
        let name: ChannelName = name.into();
        self.next_serial += 1;
        entry.insert(Room {
            name: name.clone(),
            id: ChannelId {
                owner,
                index: at,
                serial: self.next_serial,
            },
            channel: Channel::new(settings, History::new(self.history.clone()), now),
            pause: Rc::default(),
            pressed: Vec::new(),
            links: Links::default(),
            soles: None,
            is_spreading: false,
            is_announcing: false,
            is_listed: false,
            permit,
        });
        self.names.insert(name, at);
        at
    }

    pub(super) fn room(&mut self, at: u32) -> Option<&mut Room> {
        self.rooms.get_mut(at as usize)
    }

    /// The room that another shard means by `id`, if it still exists.
    pub(super) fn room_of(&mut self, id: ChannelId) -> Option<&mut Room> {
        self.room(id.index).filter(|room| room.id == id)
    }

    /// Frees a room.
    pub(super) fn close(&mut self, at: u32) {
        if let Some(room) = self.rooms.try_remove(at as usize) {
            self.names.remove(&room.name);
        }
    }

    /// Stores `run` in a room's history. When the memory for all histories is used up, the room's oldest
    /// frames go.
    pub(super) fn remember(&mut self, at: u32, run: &FrameRun, origin: Origin, now: Instant) {
        if let Some(room) = self.rooms.get_mut(at as usize) {
            room.channel.remember(run, origin, now);
        }
    }

    /// Looks at the room at `at`: lets go what is too old of its history, frees it if it has expired, and
    /// returns since when it has been idle, if it is.
    pub(super) fn sweep(&mut self, at: u32, now: Instant) -> Option<Instant> {
        let channel = &mut self.rooms.get_mut(at as usize)?.channel;
        channel.trim(now);
        if channel.is_expired(now) {
            self.close(at);
            return None;
        }
        channel.idle_since()
    }

    /// Returns the number that all indices of rooms are below.
    pub(super) fn rooms_end(&self) -> u32 {
        index(self.rooms.capacity())
    }

    /// Returns `true` while histories take more than three quarters of their memory. AfterJoin idle rooms
    /// are freed: a channel in use should not have to forget so that a forgotten one may remember.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.history.used() > self.history.allowed() / 4 * 3
    }

    /// Returns `true` if what is counted as the memory of histories is their sum.
    pub(super) fn is_history_counted(&self) -> bool {
        let histories = self.rooms.iter().map(|(_, room)| room.channel.history());
        let costs = histories.map(|history| {
            debug_assert_eq!(history.cost(), history.recounted());
            history.cost()
        });
        costs.sum::<usize>() == self.history.used()
    }

    /// The relay of `id`, made if there is none.
    pub(super) fn relay_or_new(
        &mut self,
        id: ChannelId,
        name: &str,
        settings: impl FnOnce() -> Arc<ChannelSettings>,
    ) -> u32 {
        *self.relay_ids.entry(id).or_insert_with(|| {
            index(self.relays.insert(Relay {
                id,
                name: name.into(),
                local: Fanout::default(),
                settings: settings(),
                pause: Rc::default(),
                is_pressed: false,
                is_listed: false,
            }))
        })
    }

    pub(super) fn relay_at(&mut self, at: u32) -> Option<&mut Relay> {
        self.relays.get_mut(at as usize)
    }

    pub(super) fn relay_of(&self, id: ChannelId) -> Option<u32> {
        self.relay_ids.get(&id).copied()
    }

    /// Forgets a relay without members.
    pub(super) fn close_relay(&mut self, at: u32) {
        if let Some(relay) = self.relays.try_remove(at as usize) {
            self.relay_ids.remove(&relay.id);
        }
    }

    /// What fan-out needs of the channel at `home`.
    pub(super) fn target(&mut self, home: Home) -> Option<LocalMembers<'_>> {
        match home {
            Home::Owned(at) => {
                let room = self.rooms.get_mut(at as usize)?;
                let (local, settings) = room.channel.local_and_settings();
                Some(LocalMembers {
                    local,
                    settings,
                    is_listed: &mut room.is_listed,
                })
            }
            Home::Relayed(at) => {
                let relay = self.relays.get_mut(at as usize)?;
                Some(LocalMembers {
                    local: &mut relay.local,
                    settings: &relay.settings,
                    is_listed: &mut relay.is_listed,
                })
            }
        }
    }

    /// Lists the channel for the flusher if it has dirty members and is not listed yet.
    pub(super) fn list_if_dirty(&mut self, home: Home) {
        let Some(target) = self.target(home) else {
            return;
        };
        if target.local.is_dirty() && !std::mem::replace(target.is_listed, true) {
            self.dirty.push_back(home);
        }
    }

    /// Returns `true` if the flusher has something to do.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.unfinished.is_empty()
    }

    /// Takes the next channel with dirty members off the list: one that has not had its turn, or with
    /// `unfinished_first` one that has. So a channel with many members is not in front of all others,
    /// and not behind them for ever.
    pub(super) fn next_dirty(&mut self, unfinished_first: bool) -> Option<Home> {
        let (first, second) = if unfinished_first {
            (&mut self.unfinished, &mut self.dirty)
        } else {
            (&mut self.dirty, &mut self.unfinished)
        };
        first.pop_front().or_else(|| second.pop_front())
    }

    /// Lists a channel again that [`Registry::next_dirty`] has taken off, if it has members left.
    pub(super) fn had_its_turn(&mut self, home: Home) {
        let Some(target) = self.target(home) else {
            return;
        };
        *target.is_listed = target.local.is_dirty();
        if *target.is_listed {
            self.unfinished.push_back(home);
        }
    }

    /// All sessions on this shard that are members of a channel.
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
