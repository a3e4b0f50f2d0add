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
    let first = join(0);
    wait_for_link(&peer);
    let others: Vec<_> = (1..CLIENTS).map(join).collect();
    let (told, order) = std::sync::mpsc::channel();
    let waiting: Vec<_> = std::iter::once(first)
        .chain(others)
        .map(|mut asker| {
            let told = told.clone();
            std::thread::spawn(move || {
                while !matches!(asker.next(), Event::Stopping(_)) {}
                told.send(asker.client.uid.clone()).unwrap();
            })
        })
        .collect();
    peer.stop().unwrap();
    for asker in waiting {
        asker.join().unwrap();
    }
    let order: Vec<_> = order.try_iter().collect();
    assert_eq!(order.len(), CLIENTS);
    assert_eq!(order.last().unwrap(), "client 0", "{order:?}");
}
