//! Rooms whose members are on other shards, with the test in the place of those.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use tokio::sync::oneshot;

use super::relayed::NamedMember;
use super::*;
use crate::channel::{Channel, ChannelSettings, History, HistoryMemory, Place};
use crate::protocol::Cid;
use crate::settings::Limits;
use crate::shard::ids::ChannelId;
use crate::shard::limits::Limiter;

const CHANNEL: ChannelId = ChannelId {
    owner: ShardId(0),
    index: 0,
    serial: 1,
};
const LIMIT: NameLimit = NameLimit {
    names: 10,
    bytes: 1000,
};

fn room() -> Room {
    let limiter = Limiter::new(Limits::default());
    let (permit, _) = limiter.open_channel([127, 0, 0, 1].into()).unwrap();
    let history = History::new(HistoryMemory::new(0));
    let channel = Channel::new(ChannelSettings::default().into(), history, Instant::now());
    Room::new("room".into(), CHANNEL, channel, permit)
}

impl Room {
    /// A session joins that is on another shard.
    fn join_from(&mut self, shard: u16, (cid, session): (u32, u64), uid: &str) {
        let (session, place) = (SessionId(session), Place::Relay(shard));
        let joined = self
            .channel
            .join(Cid(cid), session, None, Instant::now(), |_, _| place);
        if let Some(freed) = joined.unwrap().replaced {
            self.member_left(&freed);
        }
        self.member_joined(session, uid, Some(ShardId(shard)));
    }

    fn ask(&mut self) -> (Vec<ShardId>, oneshot::Receiver<Result<MemberList, Refusal>>) {
        let (reply, answer) = oneshot::channel();
        (self.ask_for_members(LIMIT, reply), answer)
    }

    /// A shard names members of its own: their connection ids, sessions and uids.
    fn names_from(&mut self, shard: u16, members: &[(u32, u64, &str)], is_last: bool) {
        let members = members.iter().map(|&(cid, session, uid)| NamedMember {
            session: SessionId(session),
            cid: Cid(cid),
            uid: uid.into(),
        });
        self.take_names(NamedMembers {
            channel: CHANNEL,
            members: members.collect(),
            is_last_of: is_last.then_some(ShardId(shard)),
        });
    }
}

fn listed(answer: &mut oneshot::Receiver<Result<MemberList, Refusal>>) -> Option<Vec<String>> {
    let list = answer.try_recv().ok()?.unwrap();
    let mut uids: Vec<_> = list.uids.iter().map(|uid| uid.to_string()).collect();
    assert_eq!(list.count, uids.len());
    uids.sort();
    Some(uids)
}

#[test]
fn nobody_is_answered_before_all_shards_have_named_their_members() {
    let mut room = room();
    for (shard, id) in [(1, 1), (1, 2), (2, 3)] {
        room.join_from(shard, (id, id.into()), &format!("{id}"));
    }
    let (to_ask, mut first) = room.ask();
    assert_eq!(to_ask, [ShardId(1), ShardId(2)]);
    room.names_from(1, &[(1, 1, "1")], false);
    // The shards are asked once.
    let (to_ask, mut second) = room.ask();
    assert_eq!(to_ask, []);
    // Whoever comes now is known by the join.
    room.join_from(3, (4, 4), "4");
    room.names_from(2, &[(3, 3, "3")], true);
    assert_eq!(listed(&mut first), None);
    room.names_from(1, &[(2, 2, "2")], true);
    let all: Vec<_> = ["1", "2", "3", "4"].map(str::to_owned).into();
    for answer in [&mut first, &mut second, &mut room.ask().1] {
        assert_eq!(listed(answer), Some(all.clone()));
    }
}

/// The name of a session that has lost its place meanwhile is not taken for that of the one that has it.
#[test]
fn a_name_that_comes_too_late_is_dropped() {
    let mut room = room();
    for id in [1, 2] {
        room.join_from(1, (id, id.into()), "old");
    }
    let (_, mut answer) = room.ask();
    room.channel.half_close(Cid(1), SessionId(1));
    room.join_from(2, (1, 3), "new");
    room.leave(Cid(2), SessionId(2), Instant::now()).unwrap();
    room.names_from(1, &[(1, 1, "old"), (2, 2, "old")], true);
    assert_eq!(listed(&mut answer), Some(vec!["new".to_owned()]));
    room.leave(Cid(1), SessionId(3), Instant::now()).unwrap();
    assert_eq!(listed(&mut room.ask().1), Some(vec![]));
}

#[test]
fn who_waits_is_answered_when_all_have_left() {
    let mut room = room();
    room.join_from(1, (1, 1), "bob");
    let (_, mut answer) = room.ask();
    room.leave(Cid(1), SessionId(1), Instant::now()).unwrap();
    assert_eq!(listed(&mut answer), Some(vec![]));
}

#[test]
fn names_are_let_go_when_nobody_asks_any_more() {
    let mut room = room();
    room.join_from(1, (1, 1), "bob");
    let _waits = room.ask();
    let later = || Instant::now() + KEPT;
    // An answer is still to come.
    room.trim_presence(later());
    room.names_from(1, &[(1, 1, "bob")], true);
    assert!(room.presence.is_some());
    room.trim_presence(Instant::now());
    assert_eq!(room.ask().0, []);
    room.trim_presence(later());
    assert!(room.presence.is_none());
    assert_eq!(room.ask().0, [ShardId(1)]);
}
