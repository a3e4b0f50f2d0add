//! Servers that are linked: ours and the reference's, in every mix.
//!
//! What is known to differ with a reference server:
//!
//! * As a peer it may drop what its members send before its link is up. So nothing is sent from
//!   below it before something has come from above.
//! * As a peer it opens a second link when a second member joins before the first link is up. So
//!   members join it one after the other.
//! * As a peer it tries again after 5 s when it cannot connect. Once it has connected it never
//!   does so again: its runtime waits for a task that does not end. So a resync of its making is
//!   put together here with the reference's types. It keeps the key of the first join; a
//!   reference root without a shared key refuses it, ours goes by the key of the outer header.
//! * As a root it sends a resync to all members of the channel, whatever they have, and stores it
//!   only if the channel is new.

mod chains;
mod clients;
mod groups;
mod restart;

use std::thread;

use crate::support::{Secrets, Server, ServerKind, ServerSpec, Session};

use ServerKind::{Ours, Reference};

const CHANNEL: &str = "peers";

fn join(server: &Server, uid: &str) -> Session {
    Session::join(server.address(), server.secrets(), uid, CHANNEL)
}

/// Servers in a row, from the root down; each is a peer of the one before.
struct Chain(Vec<Server>);

impl Chain {
    fn start(kinds: &[ServerKind], secrets: Secrets) -> Self {
        let mut servers: Vec<Server> = Vec::new();
        for &kind in kinds {
            let mut spec = ServerSpec::new(kind).secrets(secrets);
            if let Some(above) = servers.last() {
                spec = spec.peer(above.address());
            }
            servers.push(spec.start());
        }
        Self(servers)
    }

    fn root(&mut self) -> &mut Server {
        &mut self.0[0]
    }

    /// One member for each server, from the root down. All links are up, and the root's member has
    /// sent `first`, which all others have received.
    fn members(&self, first: &str) -> Vec<Session> {
        let (root, below) = self.0.split_first().unwrap();
        let mut above = join(root, "member 0");
        above.send(first);
        // From the bottom up: the lowest member has all links opened.
        let below = below.iter().enumerate().rev().map(|(at, server)| {
            let mut member = join(server, &format!("member {}", at + 1));
            assert_eq!(member.receive_message().text(), first);
            member
        });
        let mut members: Vec<_> = below.collect();
        members.push(above);
        members.reverse();
        members
    }
}

/// One member sends, all others receive it next.
fn tell_all(members: &mut [Session], from: usize, text: &str) {
    members[from].send(text);
    for (at, member) in members.iter_mut().enumerate() {
        if at != from {
            let received = member.receive_message();
            assert_eq!(received.text(), text, "from member {from} to member {at}");
        }
    }
}

/// What a member gets next, up to the message `last`; join frames without a message left out.
fn messages_until(member: &mut Session, last: &str) -> Vec<String> {
    let mut texts = member.texts_until(last);
    texts.retain(|text| !text.is_empty());
    texts
}

/// Runs a scenario for each case, all at once: those with a reference peer that has to connect
/// again wait most of their time.
fn at_once<T: Copy + Send + std::fmt::Debug>(cases: &[T], scenario: fn(T)) {
    thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|&case| (case, scope.spawn(move || scenario(case))))
            .collect();
        let failed: Vec<_> = running
            .into_iter()
            .filter_map(|(case, thread)| thread.join().is_err().then_some(case))
            .collect();
        assert!(failed.is_empty(), "failed: {failed:?}");
    });
}
