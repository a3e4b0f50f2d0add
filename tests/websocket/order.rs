//! One order for all: whatever is published by whom, members over WebSocket and over TCP see the same
//! sequence, whole and without a gap, and those that join later see it from the history on.

use std::io::Write as _;

use mles::{Broker, Settings};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::common::websocket::{BINARY, FIN, Got, PING, TEXT, Ws, body, frame, settings};
use crate::common::{Client, start, wait_until};

const CHANNEL: &str = "room";
/// Over TCP, two pairs on one session of v1, and v2.
const SPEAKERS: [&str; 4] = ["tcp", "v1 one", "v1 two", "v2"];

#[derive(Clone, Debug)]
enum Op {
    /// Messages of these sizes, with one write. Over WebSocket in fragments of that size.
    Say {
        speaker: usize,
        sizes: Vec<usize>,
        fragment: usize,
    },
    /// Somebody else joins.
    Join(usize),
    /// A member reads so many messages.
    Read(usize, usize),
    Ping,
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![10 => 0..200_usize, 3 => 0..5000_usize, 1 => 60_000..70_000_usize];
    let fragment = prop_oneof![4 => Just(usize::MAX), 1 => 1..3000_usize];
    let say = (0..SPEAKERS.len(), vec(size, 1..8), fragment);
    prop_oneof![
        8 => say.prop_map(|(speaker, sizes, fragment)| Op::Say { speaker, sizes, fragment }),
        1 => (0..3_usize).prop_map(Op::Join),
        3 => (0..8_usize, 1..10_usize).prop_map(|(member, n)| Op::Read(member, n)),
        1 => Just(Op::Ping),
    ]
}

/// A member that only reads.
enum Reader {
    Tcp(Client),
    V1(Ws),
    V2(Ws),
}

impl Reader {
    fn join(broker: &Broker, kind: usize, uid: &str) -> Self {
        match kind {
            0 => Self::Tcp(Client::join_and_wait(broker, uid, CHANNEL)),
            1 => Self::V1(Ws::v1(broker, uid, CHANNEL)),
            _ => Self::V2(Ws::v2(broker, uid, CHANNEL)),
        }
    }

    fn next(&mut self) -> Vec<u8> {
        match self {
            Self::Tcp(client) => client.receive_message().message,
            Self::V1(ws) => ws.payload(),
            Self::V2(ws) => match ws.next() {
                Got::Text(text) => text.into_bytes(),
                Got::Binary(bytes) => bytes,
                got => panic!("{got:?}"),
            },
        }
    }
}

/// Everybody, what was said, and how far each has read.
struct World {
    broker: Broker,
    tcp: Client,
    v1: Ws,
    v2: Ws,
    readers: Vec<(Reader, Vec<Vec<u8>>)>,
    said: [usize; SPEAKERS.len()],
}

impl World {
    fn new(spread_threshold: usize) -> Self {
        let mut settings = Settings {
            spread_threshold,
            ..settings()
        };
        settings.channels.default.history_frames = 100_000;
        let broker = start(settings);
        let readers = (0..3).map(|kind| {
            let uid = format!("reader {kind}");
            (Reader::join(&broker, kind, &uid), Vec::new())
        });
        let readers = readers.collect();
        let mut v1 = Ws::v1(&broker, SPEAKERS[1], CHANNEL);
        v1.join(&broker, BINARY, &body(SPEAKERS[2], CHANNEL, b""));
        Self {
            tcp: Client::join_and_wait(&broker, SPEAKERS[0], CHANNEL),
            v2: Ws::v2(&broker, SPEAKERS[3], CHANNEL),
            v1,
            readers,
            said: [0; 4],
            broker,
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Say {
                speaker,
                sizes,
                fragment,
            } => self.say(*speaker, sizes, *fragment),
            Op::Join(kind) => {
                let uid = format!("reader {}", self.readers.len());
                let reader = Reader::join(&self.broker, *kind, &uid);
                self.readers.push((reader, Vec::new()));
            }
            Op::Read(member, n) => {
                let said = self.said.iter().sum::<usize>();
                let at = member % self.readers.len();
                let (reader, seen) = &mut self.readers[at];
                for _ in 0..(*n).min(said - seen.len()) {
                    seen.push(reader.next());
                }
            }
            Op::Ping => {
                self.v1.send(PING, b"1");
                self.v2.send(PING, b"2");
            }
        }
    }

    fn say(&mut self, speaker: usize, sizes: &[usize], fragment: usize) {
        let mut all = Vec::new();
        for &size in sizes {
            let mut message = format!("{speaker} {} ", self.said[speaker]).into_bytes();
            message.extend(std::iter::repeat_n(b'.', size));
            self.said[speaker] += 1;
            let (first, message) = match speaker {
                0 => {
                    all.extend(self.tcp.frame(&message));
                    continue;
                }
                3 if size % 2 == 0 => (TEXT, message),
                3 => (BINARY, message),
                _ => (BINARY, body(SPEAKERS[speaker], CHANNEL, &message)),
            };
            let mut opcode = first & !FIN;
            let mut parts = message.chunks(fragment).peekable();
            while let Some(part) = parts.next() {
                let fin = if parts.peek().is_none() { FIN } else { 0 };
                all.extend(frame(fin | opcode, part));
                opcode = 0;
            }
        }
        let stream = match speaker {
            0 => &mut self.tcp.stream,
            3 => &mut self.v2.stream,
            _ => &mut self.v1.stream,
        };
        stream.write_all(&all).unwrap();
    }

    /// Reads everything, and returns what the first member has seen.
    fn finish(mut self) -> Vec<Vec<u8>> {
        let said = self.said.iter().sum::<usize>();
        for (reader, seen) in &mut self.readers {
            while seen.len() < said {
                seen.push(reader.next());
            }
        }
        self.tcp.send(b"the end");
        for (reader, _) in &mut self.readers {
            assert_eq!(reader.next(), b"the end");
        }
        let (_, first) = self.readers.remove(0);
        for (i, (_, seen)) in self.readers.iter().enumerate() {
            assert!(*seen == first, "reader {} has seen something else", i + 1);
        }
        first
    }
}

/// Each speaker's messages, in the order in which they were said.
fn assert_all(seen: &[Vec<u8>], said: [usize; SPEAKERS.len()]) {
    let mut next = [0; SPEAKERS.len()];
    for message in seen {
        let text = std::str::from_utf8(message).unwrap();
        let (speaker, rest) = text.split_once(' ').unwrap();
        let (number, _) = rest.split_once(' ').unwrap();
        let count = &mut next[speaker.parse::<usize>().unwrap()];
        assert_eq!(number.parse(), Ok(*count), "of {speaker}");
        *count += 1;
    }
    assert_eq!(next, said);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_members_see_one_order(ops in vec(op(), 1..60), spreads in any::<bool>()) {
        let mut world = World::new(if spreads { 0 } else { 100 });
        for op in &ops {
            world.run(op);
        }
        let said = world.said;
        assert_all(&world.finish(), said);
    }
}

/// Who joins over WebSocket never costs others a frame of the history.
#[test]
fn the_history_does_not_get_shorter_by_who_joins() {
    const SIZE: usize = 1000;
    let mut settings = settings();
    settings.channels.default.announce_joins = false;
    settings.channels.default.history_bytes = 40 * SIZE;
    let broker = start(settings);
    let mut alice = Client::join_and_wait(&broker, "alice", CHANNEL);
    for n in 1..=50 {
        alice.send(&[b'.'; SIZE]);
        // Each by itself: how many fit depends on how many one read brings.
        wait_until("it is in", || broker.stats().frames_in == n);
    }
    // How many come before a message that is sent after the join.
    let mut replayed = |uid: &str, last: u8| {
        let mut client = Client::join_and_wait(&broker, uid, CHANNEL);
        alice.send(&[last; SIZE]);
        let next = move || Some(client.receive().message).filter(|message| message[0] != last);
        std::iter::from_fn(next).count()
    };
    let before = replayed("plain", b'1');
    assert!(before > 30, "{before}");
    let mut sessions = [
        Ws::v1(&broker, "one", CHANNEL),
        Ws::v2(&broker, "two", CHANNEL),
    ];
    // It is all there for them, too.
    for ws in &mut sessions {
        (0..before).for_each(|_| drop(ws.message()));
    }
    let after = replayed("another", b'2');
    assert!(after + 1 >= before, "{after} of {before}");
}
