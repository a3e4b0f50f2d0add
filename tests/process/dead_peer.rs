//! A client that vanishes without a word (power cut, cable pulled) frees its seat within seconds.
//!
//! Needs root, `ip`, and network namespaces; elsewhere it says that it was skipped.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use mles::protocol::Keyring;
use mles::{Limits, Settings};

use crate::child::{BrokerProcess, be_the_broker};
use crate::common::{Client, settings, wait_until};

/// From the range for benchmarks (RFC 2544), which nobody routes.
const BROKER: [u8; 4] = [198, 18, 77, 1];
const CLIENT: &str = "198.18.77.2/30";

#[test]
#[ignore = "no test: the broker process that the other starts"]
fn broker_process() {
    be_the_broker(|_| Settings {
        listen: vec![SocketAddr::from((BROKER, 0))],
        keyring: keyring(),
        limits: Limits {
            tcp_timeout: Duration::from_secs(2),
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
}

impl Cable {
    /// `None` where it cannot be had.
    fn lay() -> Option<Self> {
        let id = std::process::id();
        let cable = Self {
            namespace: format!("mles-{id}"),
            link: format!("mles{id}"),
        };
        let (namespace, link) = (&cable.namespace, &cable.link);
        let [a, b, c, d] = BROKER;
        let steps = [
            format!("netns add {namespace}"),
            format!("link add {link} type veth peer name eth0 netns {namespace}"),
            format!("-n {namespace} address add {a}.{b}.{c}.{d}/30 dev eth0"),
            format!("-n {namespace} link set eth0 up"),
            format!("address add {CLIENT} dev {link}"),
            format!("link set {link} up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(cable)
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

#[test]
fn a_client_that_vanishes_frees_its_seat() {
    let Some(cable) = Cable::lay() else {
        return eprintln!("SKIPPED a_client_that_vanishes_frees_its_seat: needs root and veth");
    };
    let inside = format!("exec ip netns exec {} \"$0\" \"$@\"", cable.namespace);
    let mut broker = BrokerProcess::start(module_path!(), "", &inside);
    let mut alice = Client::join_with(&broker, &keyring(), "alice", "room", b"", None);
    let mut bob = Client::join_with(&broker, &keyring(), "bob", "room", b"", None);
    wait_until("both have joined", || broker.stat("joined") == 2);
    alice.send(b"hello");
    assert_eq!(bob.text(), "hello");
    cable.pull();
    wait_until("both are given up", || broker.stat("connections") == 0);
    assert_eq!(broker.stat("left"), 2);
}
