//! Compares frames that servers below bring with those that their channel remembers: a resync in the call that gives
//! its server a seat, and late frames in the middle of a session.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::{Downlinks, Linked};
use crate::channel::FrameRun;
use crate::peer::known::Digester;
use crate::peer::merge::{LinkMemory, Merge, MergeItem};
use crate::protocol::{
    FrameHeader, Key, LinkHello, LinkNotice, ResyncError, ResyncLimits, decode_late, frames,
};
use crate::shard::ended::Ended;
use crate::shard::ids::Home;
use crate::shard::labels::Transport;
use crate::shard::links::SeatedServer;
use crate::shard::links::received_resync::{ReceivedResync, Runs};
use crate::shard::room::Room;
use crate::shard::seat::Newcomer;
use crate::shard::sequence::{Proposed, Source};
use crate::shard::session::Session;
use crate::shard::{Shard, turn};

/// Most late frames that may come at once.
pub(in crate::shard) const MAX_LATE: usize = 1024;

impl Shard {
    /// Finds out what is new of what a server has brought, and sends it what it lacks. What is published
    /// from now on follows.
    pub(in crate::shard) fn compare(
        self: &Rc<Self>,
        at: u32,
        newcomer: Newcomer,
        mut brought: ReceivedResync,
        now: Instant,
    ) -> Option<SeatedServer> {
        let (session, hello) = (newcomer.session.clone(), brought.link);
        if let Some(hello) = hello {
            self.end_older(at, hello.id);
        }
        let items = std::mem::take(&mut brought.items);
        turn::spend_each(items.len());
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at)?;
        let received = hello.and_then(|hello| room.received_from(&hello));
        let (merge, replay) = room.merge(hello.as_ref(), &items, &self.common.digester, now);
        turn::spend_each(replay.len());
        let welcome = hello.map(|hello| {
            let notice = LinkNotice::Welcome {
                replay: merge.replay.len() as u64,
                counted: merge.counted,
                given: merge.given,
                path: self.path_of(room),
            };
            notice.encode(hello.id, session.cid)
        });
        if let Some(key) = session.key.get() {
            let replay = welcome.into_iter().chain(replay);
            room.channel.local.replay(key, replay);
        }
        let is_late = |item: &MergeItem| match (received, hello) {
            (Some(_), Some(hello)) => item.seq <= Some(hello.old),
            _ => true,
        };
        let late = merge.new.iter().map(|&index| &items[index]);
        let compared = room.links.suspect(late.filter(|item| is_late(item)));
        if let (Some(hello), Some(downlinks)) = (hello, room.links.downlinks_mut()) {
            let session = session.clone();
            downlinks.linked.push(Linked {
                session,
                link: hello.id,
            });
        }
        let channel = room.id;
        self.flush_soon(registry, Home::Owned(at));
        let stats = self.stats();
        stats.resyncs.add(1);
        stats.resync_frames.add(merge.new.len() as u64);
        stats
            .resync_known
            .add((items.len() - merge.new.len()) as u64);
        Some(SeatedServer {
            newcomer,
            channel,
            link: hello.map(|hello| hello.id),
            news: brought.into_news(&items, merge.new, is_late),
            compared,
        })
    }

    /// Digests some of the history of a channel that gets its first server below. Returns `true` once all
    /// of it is done, or there is no such channel.
    pub(in crate::shard) fn remember_history(&self, name: &str) -> bool {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.find(name).and_then(|at| registry.room(at)) else {
            return true;
        };
        room.remember_history(&self.common.digester)
    }

    /// Publishes what a server below has sent. Late frames in it are compared first.
    pub(in crate::shard) fn publish_from_below(
        self: &Rc<Self>,
        at: u32,
        session: &Rc<Session>,
        run: FrameRun,
    ) {
        let now = Instant::now();
        let link = self.registry.borrow_mut().room(at).and_then(|room| {
            let downlinks = room.links.downlinks()?;
            downlinks.link_of(session.id)
        });
        let Some(link) = link else {
            return self.publish_in(at, session, run, now);
        };
        let publish = |run: Option<FrameRun>| {
            if let Some(run) = run {
                self.publish_in(at, session, run, now);
            }
        };
        let (mut start, mut end, mut kept) = (0, 0, 0);
        for frame in frames(run.bytes()) {
            let next = end + frame.len();
            if key_of(frame) == Some(Key(link)) {
                publish(run.part(start..end, kept));
                (start, kept) = (next, 0);
                let late = run.bytes().slice(end..next);
                if let Err(error) = self.take_late(at, session, link, &late, now) {
                    let why = format!("late frames of a link: {error}");
                    return self.end(session, Ended::Fault(why.into()));
                }
            } else {
                kept += 1;
            }
            end = next;
        }
        publish(run.part(start..end, kept));
    }

    /// Compares late frames of a link with all that is remembered, publishes what is new, and says so.
    fn take_late(
        self: &Rc<Self>,
        at: u32,
        session: &Rc<Session>,
        link: u64,
        frame: &Bytes,
        now: Instant,
    ) -> Result<(), ResyncError> {
        let limits = ResyncLimits {
            max_frames: 1 + MAX_LATE,
            max_body: self.max_body(),
        };
        let late = decode_late(frame, link, limits)?;
        let digester = &self.common.digester;
        let items = late.frames.iter().map(|nested| MergeItem {
            digest: digester.digest(&nested.frame),
            seq: nested.seq,
        });
        let items: Vec<_> = items.collect();
        turn::spend_each(4 * items.len());
        let mut registry = self.registry.borrow_mut();
        let (Some(hello), Some(room)) = (late.link, registry.room(at)) else {
            return Ok(());
        };
        let downlinks = room.links.downlinks_mut();
        let new = downlinks.map(|downlinks| downlinks.memory.merge_late(&hello, &items));
        let new = new.unwrap_or_default();
        let answer = LinkNotice::Compared(hello.sent).encode(link, session.cid);
        if let Some(key) = session.key.get() {
            room.channel.local.queue(key, answer);
        }
        let compared = room.links.suspect(new.iter().map(|&index| &items[index]));
        self.flush_soon(registry, Home::Owned(at));
        let stats = self.stats();
        stats.resync_frames.add(new.len() as u64);
        stats.resync_known.add((items.len() - new.len()) as u64);
        let mut runs = Runs::default();
        new.iter()
            .for_each(|&index| runs.push(&late.frames[index].frame));
        let (from, link) = (session.id, Some(link));
        let source = Source::Late { link, compared };
        for run in runs.finish() {
            self.count_received(Transport::Link, &run);
            self.propose(at, Proposed { run, from, source }, now);
        }
        Ok(())
    }
}

impl Room {
    /// Finds out which of what was brought is new, and what of the history the server lacks.
    fn merge(
        &mut self,
        hello: Option<&LinkHello>,
        items: &[MergeItem],
        digester: &Digester,
        now: Instant,
    ) -> (Merge, Vec<Bytes>) {
        while !self.remember_history(digester) {}
        let (history, settings) = (self.channel.history(), self.channel.settings());
        let count = history.young_frames(now, settings);
        let merge = match self.links.downlinks_mut() {
            Some(downlinks) => downlinks.memory.merge(hello, count, items),
            None => Merge::default(),
        };
        let replay = history.parts(now, settings, merge.replay.iter().copied());
        (merge, replay)
    }

    /// Begins to remember what is stored, and digests some of what was stored before. Returns `true` once
    /// all of it is done.
    fn remember_history(&mut self, digester: &Digester) -> bool {
        let (history, settings) = (self.channel.history(), self.channel.settings());
        let pair = self.links.0.get_or_insert_default();
        let downlinks = pair.down.get_or_insert_with(|| {
            let runs = history.runs(Instant::now(), settings);
            let backlog: Vec<_> = runs
                .map(|(run, origin)| (run.bytes().clone(), origin))
                .collect();
            // 48 bits, so that 65,536 times as many frames can be counted.
            let base = rand::random::<u64>() >> 16;
            Box::new(Downlinks {
                memory: LinkMemory::new(history.frames(), settings.history_frames, base),
                linked: Vec::new(),
                backlog,
                digester: digester.clone(),
            })
        });
        while let Some((run, origin)) = downlinks.backlog.pop() {
            let digests = frames(&run).map(|frame| digester.digest(frame));
            let digests: Vec<_> = digests.collect();
            turn::spend_bytes(run.len());
            turn::spend_each(2 * digests.len());
            downlinks.memory.prepend(&digests, origin.upstream());
            if turn::is_expensive() {
                break;
            }
        }
        downlinks.backlog.is_empty()
    }
}

fn key_of(frame: &[u8]) -> Option<Key> {
    let header = FrameHeader::decode(frame).ok().flatten();
    header.map(|header| header.key)
}
