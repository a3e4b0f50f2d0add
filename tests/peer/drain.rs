//! A server with an upstream stops: what its clients publish until they are let go still goes up.

use std::time::Duration;

use mles::Settings;
use mles::protocol::ResumeRequest;

use crate::common::asker::{Asker, Event};
use crate::common::{LONG, PATIENCE, start};
use crate::linked_servers::{CHANNEL, Recorder, peer_settings, wait_for_link};

const PUBLISHERS: usize = 10;

/// Publishes until it is let go. Returns the messages that have a receipt.
fn publish(mut asker: Asker) -> Vec<String> {
    let mut placed = 0;
    for n in 0.. {
        asker.send(text(&asker, n).as_bytes());
        loop {
            match asker.try_next(PATIENCE) {
                Some(Event::Receipt(count, _)) => {
                    placed += count;
                    break;
                }
                Some(Event::Stopping(_)) | None => {
                    return (0..placed).map(|n| text(&asker, n)).collect();
                }
                Some(_) => {}
            }
        }
    }
    unreachable!("it is let go")
}

fn text(asker: &Asker, n: u64) -> String {
    format!("{} {n}", asker.client.uid)
}

#[test]
fn links_are_the_last_to_go() {
    let root = start(peer_settings(&[]));
    let peer = start(Settings {
        drain_period: Some(Duration::from_millis(500)),
        drain_deadline: LONG,
        ..peer_settings(root.local_addrs())
    });
    let ask = ResumeRequest {
        since: None,
        publisher: None,
        members: None,
    };
    let askers: Vec<_> = (0..PUBLISHERS)
        .map(|i| Asker::join(&peer, &format!("publisher {i}"), CHANNEL, ask))
        .collect();
    wait_for_link(&peer);
    let publishing: Vec<_> = askers
        .into_iter()
        .map(|asker| std::thread::spawn(move || publish(asker)))
        .collect();
    peer.stop().unwrap();
    let placed: Vec<_> = publishing
        .into_iter()
        .flat_map(|publishing| publishing.join().unwrap())
        .collect();
    assert!(placed.len() >= PUBLISHERS);
    let counts = placed.into_iter().map(|text| (text, 1)).collect();
    let above = Recorder::join(&root, "above", 1);
    crate::common::wait_until("all is above", || above.has_all(&counts));
}

/// The upstream refuses a client whose connection id the link has, and clients go there when they are let go.
#[test]
fn the_client_that_the_link_stands_for_goes_last() {
    const CLIENTS: usize = 10;
    let root = start(peer_settings(&[]));
    let peer = start(Settings {
        drain_period: Some(Duration::from_secs(1)),
        drain_deadline: LONG,
        ..peer_settings(root.local_addrs())
    });
    let join = |n| {
        Asker::join(
            &peer,
            &format!("client {n}"),
            CHANNEL,
            ResumeRequest::default(),
        )
    };
    let mut first = join(0);
    wait_for_link(&peer);
    let others: Vec<_> = (1..CLIENTS).map(join).collect();
    let reading = std::thread::spawn(move || {
        while !matches!(first.next(), Event::Stopping(_)) {}
        let others = others.into_iter();
        let late =
            others.filter_map(|mut asker| (!is_told(&mut asker)).then_some(asker.client.uid));
        late.collect::<Vec<_>>()
    });
    peer.stop().unwrap();
    assert_eq!(reading.join().unwrap(), Vec::<String>::new());
}

/// Returns `true` if a client has been told by now that the server stops.
fn is_told(asker: &mut Asker) -> bool {
    asker.client.stream.set_nonblocking(true).unwrap();
    loop {
        match asker.try_next(PATIENCE) {
            Some(Event::Stopping(_)) => return true,
            Some(_) => {}
            None => return false,
        }
    }
}
