//! Members that have asked for positions and stop reading: what they are told of what they did not get.

use mles::Settings;
use mles::channel::{ChannelSettings, SlowPolicy};
use mles::protocol::ResumeRequest;

use crate::common::asker::{Asker, Event};
use crate::common::slow::{MANY, QUEUE, message};
use crate::common::{Client, settings, start};

/// On its owner's shard, and as a relay member where the connection was accepted.
const SPREAD: [usize; 2] = [100, 0];

/// Messages of others, messages of its own, and gaps are all there is, each at its place.
#[test]
fn a_slow_member_knows_the_position_of_each_message_that_it_gets() {
    for spread_threshold in SPREAD {
        let mut settings = Settings {
            spread_threshold,
            ..settings()
        };
        settings.channels.default = ChannelSettings {
            queue_bytes: QUEUE,
            slow_policy: SlowPolicy::DropOldest,
            history_frames: 0,
            ..settings.channels.default
        };
        let broker = start(settings);
        let mut slow = Asker::join(&broker, "slow", "room", ResumeRequest::default());
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut reader = Client::join_and_wait(&broker, "reader", "room");
        // Each is known to have its place before the next is sent.
        let mut log = Vec::new();
        for i in 0..MANY {
            let sent = if i % 10 == 9 {
                let sent = format!("own {i}").into_bytes();
                slow.send(&sent);
                (sent, true)
            } else {
                let sent = message(i);
                alice.send(&sent);
                (sent, false)
            };
            assert_eq!(reader.receive_message().message, sent.0);
            log.push(sent);
        }
        let (mut messages, mut own, mut missed) = (0, 0, 0);
        while slow.position.offset < MANY as u64 {
            match slow.next() {
                Event::Message(position, text) => {
                    let index = usize::try_from(position.offset).unwrap() - 1;
                    assert_eq!((text, false), log[index]);
                    messages += 1;
                }
                Event::Receipt(count, position) => {
                    let index = usize::try_from(position.offset).unwrap() - 1;
                    assert!(log[index].1);
                    own += count;
                }
                Event::Gap { missed: n, members } => {
                    assert!(!members);
                    missed += n;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(missed > 0);
        assert_eq!(own, MANY as u64 / 10);
        assert_eq!(messages + own + missed, MANY as u64);
        assert_eq!(broker.stats().dropped_frames, missed);
        assert_eq!(broker.stats().slow_disconnects, 0);
        // It is a member like any other again.
        alice.send(b"hello");
        assert_eq!(slow.message(), (MANY as u64 + 1, "hello".into()));
    }
}
