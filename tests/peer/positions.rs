//! Sessions that ask for positions on servers that are linked: each server counts in its own order, whatever comes from
//! the other.

use std::collections::BTreeSet;

use mles::Broker;
use mles::protocol::ResumeRequest;

use crate::common::asker::{Asker, Event};
use crate::common::free_address;
use crate::linked_servers::{CHANNEL, peer_settings, start_at, wait_for_link};

fn join(server: &Broker, uid: &str) -> Asker {
    Asker::join(server, uid, CHANNEL, ResumeRequest::default())
}

/// Reads up to the offset `end`, and adds what has come.
fn read_to(asker: &mut Asker, end: u64, got: &mut BTreeSet<String>) {
    while asker.position.offset < end {
        match asker.next() {
            Event::Message(_, message) => {
                let message = String::from_utf8(message).unwrap();
                assert!(got.insert(message.clone()), "{message} came twice");
            }
            Event::Receipt(..) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asker.position.offset, end);
}

#[test]
fn what_comes_over_a_link_is_counted_like_all_else() {
    let (above, below) = (free_address(), free_address());
    // They are apart at first, so that each brings something when they meet.
    let lower = start_at(below, peer_settings(&[above]));
    let mut low = join(&lower, "low");
    for n in 0..5 {
        low.send(format!("low {n}").as_bytes());
    }
    let mut got_low = BTreeSet::new();
    read_to(&mut low, 5, &mut got_low);
    let upper = start_at(above, peer_settings(&[]));
    let mut high = join(&upper, "high");
    for n in 0..3 {
        high.send(format!("high {n}").as_bytes());
    }
    wait_for_link(&lower);
    let mut got_high = BTreeSet::new();
    read_to(&mut high, 8, &mut got_high);
    read_to(&mut low, 8, &mut got_low);
    // And then live.
    low.send(b"low 5");
    high.send(b"high 3");
    read_to(&mut high, 10, &mut got_high);
    read_to(&mut low, 10, &mut got_low);
    assert_eq!(got_high.len(), 6);
    assert_eq!(got_low.len(), 4);
    assert_ne!(high.position.epoch, low.position.epoch);
    for (server, asker) in [(&upper, high), (&lower, low)] {
        let late = join(server, "late");
        assert_eq!(late.welcome.position, asker.position);
        assert_eq!(late.welcome.replay, 10);
    }
}
