//! A client that vanishes without a word (power cut, cable pulled) frees its seat within seconds.
//!
//! Needs root, `ip`, and network namespaces; elsewhere it says that it was skipped.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mles::protocol::{Cid, Keyring};
use mles::{Limits, Settings, WebSocketSettings};

use crate::child::{BrokerProcess, be_the_broker};
use crate::common::websocket::{TEXT, Ws, hello};
use crate::common::{Client, settings, wait_until};

/// From the range for benchmarks (RFC 2544), which nobody routes.
const BROKER: [u8; 4] = [198, 18, 77, 1];
const CLIENT: &str = "198.18.77.2/29";
/// The client after its network has changed.
const MOVED: &str = "198.18.77.3";

#[test]
#[ignore = "no test: the broker process that the other starts"]
fn broker_process() {
    be_the_broker(|role| Settings {
        listen: vec![SocketAddr::from((BROKER, 0))],
        websocket: WebSocketSettings {
            listen: vec![SocketAddr::from((BROKER, 0))],
            trust: true,
            ..WebSocketSettings::default()
        },
        keyring: keyring(),
        allow_anonymous: true,
        spread_threshold: if role == "spread" { 0 } else { 100 },
        limits: Limits {
            tcp_timeout: match role {
                "patient" | "spread" => Duration::from_secs(3600),
                _ => Duration::from_secs(2),
            },
            ..Limits::default()
        },
        ..settings()
    });
}

fn keyring() -> Keyring {
    Keyring::new(Some("secret".into()), None)
}

/// A namespace for the broker, with a cable to this one. Gone when it is dropped.
struct Cable {
    namespace: String,
    link: String,
    /// All cables have the same addresses.
    _alone: MutexGuard<'static, ()>,
}

impl Cable {
    /// `None` where it cannot be had.
    fn lay() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let id = std::process::id();
        let cable = Self {
            namespace: format!("mles-{id}"),
            link: format!("mles{id}"),
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let (namespace, link) = (&cable.namespace, &cable.link);
        let [a, b, c, d] = BROKER;
        let steps = [
            format!("netns add {namespace}"),
            format!("link add {link} type veth peer name eth0 netns {namespace}"),
            format!("-n {namespace} address add {a}.{b}.{c}.{d}/29 dev eth0"),
            format!("-n {namespace} link set eth0 up"),
            format!("address add {CLIENT} dev {link}"),
            format!("link set {link} up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(cable)
    }

    /// The client has another address from now on, and nobody has the one before.
    fn move_client(&self) {
        let link = &self.link;
        assert!(ip(&format!("address del {CLIENT} dev {link}")));
        assert!(ip(&format!("address add {MOVED}/29 dev {link}")));
    }

    /// From now on nothing comes through, and neither side is told.
    fn pull(&self) {
        assert!(ip(&format!("link set {} down", self.link)));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // What was not made cannot be removed.
        ip(&format!("link del {}", self.link));
        ip(&format!("netns del {}", self.namespace));
    }
}

fn ip(arguments: &str) -> bool {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    status.is_ok_and(|status| status.success())
}

/// A broker at the other end of a cable; `None` where that cannot be had, which is said.
fn broker_on_a_cable(test: &str, role: &str) -> Option<(Cable, BrokerProcess)> {
    let Some(cable) = Cable::lay() else {
        eprintln!("SKIPPED {test}: needs root and veth");
        return None;
    };
    let inside = format!("exec ip netns exec {} \"$0\" \"$@\"", cable.namespace);
    let broker = BrokerProcess::start(module_path!(), role, &inside);
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
        cable.move_client();
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
