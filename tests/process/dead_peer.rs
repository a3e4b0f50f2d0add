//! A client that vanishes without a word (power cut, cable pulled) frees its seat within seconds.
//!
//! Needs root, `ip`, and network namespaces; elsewhere it says that it was skipped.

use std::net::SocketAddr;
use std::time::Duration;

use mles::Settings;
use mles::protocol::{Cid, Keyring};

use crate::broker_process::{BrokerProcess, be_the_broker};
use crate::common::websocket::{TEXT, Ws, hello};
use crate::common::{Client, settings, wait_until};
use crate::network_namespace::Cable;

/// From the range for benchmarks (RFC 2544), which nobody routes.
const BROKER: [u8; 4] = [198, 18, 77, 1];
const CLIENT: &str = "198.18.77.2/29";
/// The client after its network has changed.
const MOVED: &str = "198.18.77.3/29";

#[test]
#[ignore = "no test: the broker process that the other starts"]
fn broker_process() {
    be_the_broker(|role| {
        let mut settings = Settings {
            listen: vec![SocketAddr::from((BROKER, 0))],
            keyring: keyring(),
            allow_anonymous: true,
            spread_threshold: if role == "spread" { 0 } else { 100 },
            ..settings()
        };
        settings.websocket.listen = vec![SocketAddr::from((BROKER, 0))];
        settings.websocket.trust = true;
        if !["patient", "spread"].contains(&role) {
            // The system waits for the longer of the two.
            settings.limits.tcp_timeout = Duration::from_secs(2);
            settings.channels.default.write_deadline = Duration::from_secs(2);
        }
        settings
    });
}

fn keyring() -> Keyring {
    Keyring::new(Some("secret".into()), None)
}

/// A broker at the other end of a cable; `None` where that cannot be had, which is said.
fn broker_on_a_cable(test: &str, role: &str) -> Option<(Cable, BrokerProcess)> {
    let [a, b, c, d] = BROKER;
    let cable = Cable::lay(test, &[&format!("{a}.{b}.{c}.{d}/29")], &[CLIENT])?;
    let broker = cable.broker(module_path!(), role);
    Some((cable, broker))
}

/// Its old connections answer nothing any more, whether something is on its way to them or not.
#[test]
fn a_client_whose_network_has_changed_gets_its_place() {
    for role in ["patient", "spread"] {
        let test = "a_client_whose_network_has_changed_gets_its_place";
        let Some((cable, mut broker)) = broker_on_a_cable(test, role) else {
            return;
        };
        let join = |uid| Client::join_with(&broker, &keyring(), uid, "room", b"", Some(Cid(7)));
        let idle: Vec<_> = (0..4)
            .map(|i| {
                let room = format!("room {i}");
                Client::join_with(&broker, &keyring(), "bob", &room, b"", Some(Cid(7)))
            })
            .collect();
        let busy = join("bob");
        let mut ws = Ws::open(broker.websocket.unwrap());
        ws.send(TEXT, hello("carol", "v2").as_bytes());
        wait_until("all have joined", || broker.stat("joined") == 6);
        cable.change_address(CLIENT, MOVED);
        let mut alice = Client::join_with(&broker, &keyring(), "alice", "room", b"", None);
        alice.send(b"to nobody");
        let mut back = Vec::new();
        for old in idle.iter().chain([&busy]) {
            let (uid, cid) = (&old.uid, Some(old.cid));
            let new = Client::join_with(&broker, &keyring(), uid, &old.channel, b"", cid);
            back.push(new);
        }
        let mut new_ws = Ws::open(broker.websocket.unwrap());
        new_ws.send(TEXT, hello("carol", "v2").as_bytes());
        wait_until("all are back", || broker.stat("joined") == 13);
        assert_eq!((broker.stat("refused"), broker.stat("replaced")), (0, 6));
        assert_eq!(back[4].text(), "to nobody");
    }
}

#[test]
fn a_client_that_vanishes_frees_its_seat() {
    let test = "a_client_that_vanishes_frees_its_seat";
    let Some((cable, mut broker)) = broker_on_a_cable(test, "") else {
        return;
    };
    let mut alice = Client::join_with(&broker, &keyring(), "alice", "room", b"", None);
    let mut bob = Client::join_with(&broker, &keyring(), "bob", "room", b"", None);
    wait_until("both have joined", || broker.stat("joined") == 2);
    alice.send(b"hello");
    assert_eq!(bob.text(), "hello");
    cable.pull();
    wait_until("both are given up", || broker.stat("connections") == 0);
    assert_eq!(broker.stat("left"), 2);
}
