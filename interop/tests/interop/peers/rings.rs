//! Servers of both kinds whose links form a ring: a message goes round until that is found, and
//! then there is silence.
//!
//! Links keep the connection id of the member they were opened for, so a ring ends where that
//! member is. It does not if all links of a server have one id, or if a reference server opens
//! several links for one channel: then our servers find the ring by what goes round. Until then
//! each round brings as many copies of a copy as there are links, so their number tells nothing.

use std::thread;
use std::time::{Duration, Instant};

use super::{Ours, Reference, at_once, join};
use crate::support::{DEADLINE, Secrets, Server, ServerKind, ServerSpec, Session};

/// How long nothing may come. Our links try again several times meanwhile.
const WINDOW: Duration = Duration::from_secs(3);

#[test]
fn a_ring_is_silent() {
    at_once(&RINGS, |kinds| stays_silent(kinds, None));
}

#[test]
fn a_ring_with_a_static_cid_is_silent() {
    at_once(&RINGS, |kinds| stays_silent(kinds, Some(0x00C0_FFEE)));
}

/// Two servers each. In a longer ring a reference server may open two links for one channel, when a
/// frame comes before the first is registered; these two are a ring of their own, which nobody else
/// can find.
const RINGS: [&[ServerKind]; 2] = [&[Ours, Reference], &[Reference, Ours]];

fn stays_silent(kinds: &[ServerKind], cid: Option<u32>) {
    let servers = ring(kinds, cid);
    let join = |(at, server)| join(server, &format!("member {at}"));
    let mut members: Vec<_> = servers.iter().enumerate().map(join).collect();
    for member in &mut members {
        member.send("once");
    }
    if cid.is_some() {
        let ours = servers.iter().filter(|server| server.kind() == Ours);
        ours.for_each(Server::wait_for_ring);
    }
    let end = Instant::now() + DEADLINE;
    while watch(&mut members).iter().any(|&received| received > 0) {
        assert!(Instant::now() < end, "messages still go round");
    }
}

/// Each server is a peer of the next, and the last of the first. Ours have `cid` for all links.
fn ring(kinds: &[ServerKind], cid: Option<u32>) -> Vec<Server> {
    let spec = |&kind| {
        let spec = ServerSpec::new(kind).secrets(Secrets::SHARED);
        spec.standard_port()
    };
    let specs: Vec<_> = kinds.iter().map(spec).collect();
    let mut above: Vec<_> = specs.iter().map(ServerSpec::address).collect();
    above.rotate_left(1);
    let linked = specs.into_iter().zip(above).map(|(spec, above)| {
        let spec = spec.peer(above);
        match cid {
            Some(cid) if spec.kind() == Ours => spec.peer_cid(cid),
            _ => spec,
        }
    });
    linked.map(ServerSpec::start).collect()
}

/// How many messages each member receives within the window.
fn watch(members: &mut [Session]) -> Vec<usize> {
    let end = Instant::now() + WINDOW;
    let messages = |member: &mut Session| {
        let mut count = 0;
        while member.has_more(end) {
            let frame = member.receive().unwrap();
            count += usize::from(!frame.message.is_empty());
        }
        count
    };
    thread::scope(|scope| {
        let watching = members
            .iter_mut()
            .map(|member| scope.spawn(|| messages(member)));
        let watching: Vec<_> = watching.collect();
        let counts = watching.into_iter().map(|thread| thread.join().unwrap());
        counts.collect()
    })
}
