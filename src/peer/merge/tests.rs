use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{LinkMemory, MAX_DIGESTS, MAX_LINKS, Merge, MergeItem};
use crate::protocol::LinkHello;

/// Where counts begin.
const BASE: u64 = 1000;

/// A channel whose history keeps the newest `limit` frames, and all that was ever stored.
struct Channel {
    memory: LinkMemory,
    stored: Vec<u64>,
    limit: usize,
}

/// A server below: what it has, and what of that did not come from the channel.
#[derive(Default)]
struct Server {
    id: u64,
    history: Vec<MergeItem>,
    sent: u64,
    got: Option<u64>,
    old: u64,
}

impl Channel {
    fn new(limit: usize) -> Self {
        Self {
            memory: LinkMemory::new(0, limit, BASE),
            stored: Vec::new(),
            limit,
        }
    }

    fn history(&self) -> &[u64] {
        &self.stored[self.stored.len().saturating_sub(self.limit)..]
    }

    fn publish(&mut self, frames: &[u64]) {
        self.stored.extend(frames);
        self.memory.stored(frames.iter().copied(), None);
    }

    /// Takes frames that come over a link.
    fn receive(&mut self, link: u64, frames: &[u64]) {
        self.publish(frames);
        self.memory.received(link, frames.len());
    }

    /// Merges a resync; gives what was new and what is replayed.
    fn merge(&mut self, hello: Option<&LinkHello>, items: &[MergeItem]) -> (Vec<u64>, Vec<u64>) {
        let history = self.history().to_vec();
        let Merge { new, replay, .. } = self.memory.merge(hello, history.len(), items);
        let new: Vec<_> = new.iter().map(|&at| items[at].digest).collect();
        self.publish(&new);
        if let Some(hello) = hello {
            self.memory.brought(hello.id, new.len());
        }
        (new, replay.iter().map(|&at| history[at]).collect())
    }

    fn link(&mut self, server: &Server) -> (Vec<u64>, Vec<u64>) {
        self.merge(Some(&server.hello()), &server.history)
    }
}

impl Server {
    fn new(id: u64) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    fn hello(&self) -> LinkHello {
        LinkHello {
            server: 1,
            id: self.id,
            window: 1000,
            sent: self.sent,
            got: self.got,
            old: self.old,
        }
    }

    /// Its own members publish.
    fn publish(&mut self, frames: &[u64]) {
        for &digest in frames {
            self.sent += 1;
            let seq = Some(self.sent);
            self.history.push(MergeItem { digest, seq });
        }
    }

    /// Frames come down from the channel.
    fn receive(&mut self, frames: &[u64]) {
        let came = frames.iter().map(|&digest| MergeItem { digest, seq: None });
        self.history.extend(came);
    }
}

fn plain(frames: &[u64]) -> Vec<MergeItem> {
    let item = |&digest| MergeItem { digest, seq: None };
    frames.iter().map(item).collect()
}

#[test]
fn a_restarted_channel_takes_all_in_order() {
    let mut server = Server::new(7);
    server.publish(&[1, 2]);
    server.receive(&[3]);
    server.publish(&[1]);
    let mut channel = Channel::new(100);
    assert_eq!(channel.link(&server), (vec![1, 2, 3, 1], vec![]));
}

#[test]
fn a_second_server_adds_only_what_the_first_had_not() {
    let mut channel = Channel::new(100);
    let (mut one, mut two) = (Server::new(1), Server::new(2));
    one.publish(&[1, 2, 2, 3]);
    two.publish(&[2, 2, 2, 9]);
    channel.link(&one);
    assert_eq!(channel.link(&two), (vec![2, 9], vec![1, 3]));
    assert_eq!(channel.stored, [1, 2, 2, 3, 2, 9]);
}

#[test]
fn what_the_history_forgot_is_not_taken_again_from_a_known_link() {
    let mut channel = Channel::new(3);
    let mut server = Server::new(7);
    channel.link(&server);
    server.publish(&[1, 2]);
    channel.receive(7, &[1, 2]);
    channel.publish(&[3]);
    server.receive(&[3]);
    // The link breaks; both sides go on.
    channel.publish(&[10, 11, 12, 13]);
    server.publish(&[4, 1]);
    assert_eq!(channel.link(&server), (vec![4, 1], vec![11, 12, 13]));
}

#[test]
fn what_was_on_its_way_when_the_link_broke_is_taken() {
    let mut channel = Channel::new(100);
    let mut server = Server::new(7);
    channel.link(&server);
    server.publish(&[1, 1, 1, 1]);
    channel.receive(7, &[1, 1]);
    assert_eq!(channel.link(&server), (vec![1, 1], vec![]));
    assert_eq!(channel.link(&server), (vec![], vec![]), "and only once");
}

#[test]
fn frames_that_came_another_way_are_not_doubled() {
    let mut channel = Channel::new(100);
    let mut server = Server::new(7);
    channel.link(&server);
    server.publish(&[5]);
    // It reached the channel through another server while the link was down.
    channel.publish(&[5]);
    assert_eq!(channel.link(&server), (vec![], vec![]));
}

#[test]
fn what_came_another_way_long_ago_is_not_doubled_if_the_server_says_that_it_is_old() {
    let mut channel = Channel::new(1);
    let mut server = Server::new(7);
    channel.link(&server);
    channel.publish(&[5, 6, 7]);
    server.publish(&[5, 6]);
    server.old = 2;
    server.publish(&[5]);
    assert_eq!(channel.link(&server).0, [5], "the last one is new");
}

#[test]
fn what_the_history_forgot_is_not_taken_from_a_stranger_either() {
    let mut channel = Channel::new(2);
    assert_eq!(channel.merge(None, &plain(&[1, 2, 3])).0, [1, 2, 3]);
    channel.publish(&[4, 8, 9]);
    assert_eq!(channel.merge(None, &plain(&[1, 2, 3, 4])).0, [0; 0]);
    assert_eq!(channel.merge(None, &plain(&[1, 2, 3, 3])).0, [3]);
    assert_eq!(channel.merge(None, &plain(&[1, 2, 3, 3])).0, [0; 0]);
}

#[test]
fn a_server_is_sent_what_equals_something_older_that_it_has() {
    let mut channel = Channel::new(1);
    let mut server = Server::new(7);
    channel.link(&server);
    channel.publish(&[1]);
    server.receive(&[1]);
    // The link breaks.
    channel.publish(&[1]);
    assert_eq!(channel.link(&server), (vec![], vec![1]));
}

#[test]
fn a_server_is_sent_what_it_lacks_but_never_its_own() {
    let mut channel = Channel::new(100);
    let mut server = Server::new(7);
    channel.publish(&[1]);
    assert_eq!(channel.link(&server).1, [1]);
    server.receive(&[1]);
    server.publish(&[2, 3]);
    channel.receive(7, &[2, 3]);
    channel.publish(&[4]);
    // It has forgotten most of it.
    server.history.drain(..2);
    assert_eq!(channel.link(&server), (vec![], vec![1, 4]));
}

/// All frames are equal, so only counts tell.
#[test]
fn a_server_that_has_counted_is_sent_just_what_it_lacks() {
    let mut channel = Channel::new(4);
    let mut server = Server::new(7);
    channel.publish(&[1; 3]);
    let hello = server.hello();
    let merge = channel.memory.merge(Some(&hello), 3, &[]);
    assert_eq!(
        (merge.counted, merge.given),
        (false, BASE + 3),
        "not known yet"
    );
    channel.receive(7, &[1; 2]);
    channel.publish(&[1; 3]);
    for (got, replayed) in [(6, 0), (5, 1), (4, 2), (3, 3), (0, 3)] {
        server.got = Some(BASE + got);
        let merge = channel.memory.merge(Some(&server.hello()), 4, &[]);
        assert_eq!((merge.counted, merge.given), (true, BASE + 6));
        assert_eq!(
            merge.replay.len(),
            replayed,
            "got {got}; one of the history is its own"
        );
    }
    // What it shows of its own does not make up for what it was given.
    server.publish(&[1, 1]);
    server.got = Some(BASE + 4);
    assert_eq!(channel.link(&server), (vec![], vec![1, 1]));
    server.got = Some(BASE + 7);
    let merge = channel.memory.merge(Some(&server.hello()), 4, &[]);
    assert!(!merge.counted, "more than it was given");
    server.got = Some(5);
    let merge = channel.memory.merge(Some(&server.hello()), 4, &[]);
    assert!(!merge.counted, "counted by another server");
}

/// The channel was restarted, and got its history back from this server, then from another one that
/// has more of the same.
#[test]
fn what_a_server_has_given_back_does_not_stand_for_what_it_lacks() {
    for got in [None, Some(BASE)] {
        let mut channel = Channel::new(100);
        let mut server = Server::new(7);
        server.receive(&[1; 3]);
        assert_eq!(channel.link(&server).0, [1; 3]);
        let mut other = Server::new(8);
        other.publish(&[1; 5]);
        assert_eq!(channel.link(&other).0, [1; 2]);
        server.got = got;
        assert_eq!(channel.link(&server), (vec![], vec![1; 2]));
    }
}

#[test]
fn a_known_server_is_sent_no_more_than_it_can_recognise() {
    let mut channel = Channel::new(100);
    let hello = LinkHello {
        window: 2,
        ..Server::new(7).hello()
    };
    channel.publish(&[1, 2, 3]);
    assert_eq!(
        channel.merge(Some(&hello), &[]).1,
        [1, 2, 3],
        "the first time"
    );
    assert_eq!(channel.merge(Some(&hello), &[]).1, [2, 3]);
}

#[test]
fn late_frames_are_compared_with_what_the_server_below_has_not_seen() {
    let mut channel = Channel::new(100);
    channel.publish(&[1, 2, 3]);
    channel.link(&Server::new(7));
    let mut sent = 0;
    let mut late = |channel: &mut Channel, got: u64, window: u64, digests: &[u64]| {
        let items = digests.iter().map(|&digest| {
            sent += 1;
            let seq = Some(sent);
            MergeItem { digest, seq }
        });
        let items: Vec<_> = items.collect();
        let mut hello = Server::new(7).hello();
        (hello.sent, hello.old, hello.window) = (sent, sent, window);
        hello.got = Some(BASE + got);
        let new = channel.memory.merge_late(&hello, &items);
        let new: Vec<_> = new.into_iter().map(|at| items[at].digest).collect();
        channel.publish(&new);
        channel.memory.brought(7, new.len());
        new
    };
    // It has seen the newest two, and says that what it brings is not among them.
    assert_eq!(late(&mut channel, 3, 2, &[1, 2, 9]), [2, 9]);
    assert_eq!(late(&mut channel, 3, 2, &[1]), [1], "each accounts for one");
    assert_eq!(late(&mut channel, 2, 2, &[3]), [0; 0], "on its way down");
    assert_eq!(channel.memory.received_from(7), Some(5));
    // What came over the link itself accounts for nothing.
    assert_eq!(late(&mut channel, 3, 3, &[9]), [9]);
}

#[test]
fn the_oldest_links_are_forgotten() {
    let mut channel = Channel::new(0);
    let mut server = Server::new(u64::MAX);
    server.publish(&[1]);
    assert_eq!(channel.link(&server).0, [1]);
    for id in 0..MAX_LINKS as u64 - 1 {
        channel.link(&Server::new(id));
    }
    assert_eq!(channel.link(&server).0, [0; 0], "it was here last");
    for id in 0..MAX_LINKS as u64 {
        channel.link(&Server::new(id));
    }
    assert_eq!(channel.memory.links.len(), MAX_LINKS);
    assert_eq!(channel.memory.order.len(), MAX_LINKS);
}

#[test]
fn digests_are_bounded() {
    let mut channel = Channel::new(2);
    channel.publish(&[1, 2]);
    channel.publish(&vec![0; MAX_DIGESTS - 1]);
    assert_eq!(channel.merge(None, &plain(&[1, 2])).0, [1]);
    let mut seeded = LinkMemory::new(3, 2 * MAX_DIGESTS, BASE);
    seeded.prepend(&[2, 3], None);
    seeded.prepend(&[1], None);
    assert_eq!((seeded.end, seeded.limit), (3, 2 * MAX_DIGESTS));
    assert_eq!(seeded.digests, [1, 2, 3]);
    let mut full = LinkMemory::new(MAX_DIGESTS + 2, 0, BASE);
    full.prepend(&vec![7; MAX_DIGESTS - 1], None);
    full.prepend(&[1, 2, 3], None);
    assert_eq!((full.digests.len(), full.digests[0]), (MAX_DIGESTS, 3));
}

fn counts(frames: &[u64]) -> HashMap<u64, usize> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    frames
        .iter()
        .for_each(|&f| *counts.entry(f).or_default() += 1);
    counts
}

proptest! {
    /// Without any memory: as often as the one side has more of a frame, that often it is new
    /// above, and that often it is replayed below.
    #[test]
    fn strangers_end_up_with_the_larger_count_of_each_frame(
        history in vec(0..5_u64, 0..20),
        resync in vec(0..5_u64, 0..20),
    ) {
        let mut channel = Channel::new(100);
        channel.publish(&history);
        let (new, replay) = channel.merge(None, &plain(&resync));
        let (above, below) = (counts(&history), counts(&resync));
        for frame in 0..5 {
            let count = |of: &HashMap<u64, usize>| of.get(&frame).copied().unwrap_or_default();
            let largest = count(&above).max(count(&below));
            prop_assert_eq!(count(&above) + count(&counts(&new)), largest);
            prop_assert_eq!(count(&below) + count(&counts(&replay)), largest);
        }
    }

    /// A link that breaks anywhere: whatever was on its way, both sides end up with every frame as
    /// often as it was published, however little the channel's history holds.
    #[test]
    fn a_link_that_breaks_again_and_again_loses_and_doubles_nothing(
        limit in 0..6_usize,
        rounds in vec((vec(0..4_u64, 0..6), 0..7_usize, vec(10..14_u64, 0..4)), 1..8),
    ) {
        let mut channel = Channel::new(limit);
        let mut server = Server::new(7);
        let (mut below, mut above) = (Vec::<u64>::new(), Vec::<u64>::new());
        for (own, arrived, others) in rounds {
            channel.link(&server);
            server.publish(&own);
            below.extend(&own);
            channel.receive(7, &own[..arrived.min(own.len())]);
            channel.publish(&others);
            server.receive(&others);
            above.extend(&others);
        }
        channel.link(&server);
        below.extend(above);
        prop_assert_eq!(counts(&channel.stored), counts(&below));
    }
}
