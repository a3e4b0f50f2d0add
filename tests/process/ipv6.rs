//! All addresses of an IPv6 network of 64 bits are one client: to change from one to the next costs
//! nothing.

use std::io::Write as _;
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use mles::protocol::Keyring;
use mles::{Limits, Settings};
use socket2::{Domain, Socket, Type};

use crate::broker_process::be_the_broker;
use crate::common::{Client, PATIENCE, Server as _, settings, wait_until};
use crate::network_namespace::Cable;

const MANY: u16 = 20;
/// Networks that nobody routes: one whose owner rotates addresses, and another.
const ROTATING: [u16; 4] = [0xfd77, 0, 0, 1];
const OTHER: [u16; 4] = [0xfd77, 0, 0, 2];

#[test]
#[ignore = "no test: the broker process that the other starts"]
fn broker_process() {
    be_the_broker(|_| Settings {
        listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))],
        keyring: keyring(),
        limits: Limits {
            max_joining: MANY.into(),
            join_deadline: Duration::from_secs(3600),
            ..Limits::default()
        },
        ..settings()
    });
}

fn keyring() -> Keyring {
    Keyring::new(Some("secret".into()), None)
}

fn address([a, b, c, d]: [u16; 4], host: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, host)
}

/// Connects to the broker's address in a network, from another address there.
fn connect(network: [u16; 4], from: u16, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    let at = |host, port| SocketAddr::from((address(network, host), port)).into();
    socket.bind(&at(from, 0)).unwrap();
    // The link may not be up yet.
    wait_until("the broker is reached", || {
        socket.connect(&at(1, port)).is_ok()
    });
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn who_changes_addresses_within_a_network_keeps_nobody_out() {
    let here = (2..2 + MANY).map(|host| format!("{}/64", address(ROTATING, host)));
    let here: Vec<_> = here.chain([format!("{}/64", address(OTHER, 2))]).collect();
    let there = [ROTATING, OTHER].map(|network| format!("{}/64", address(network, 1)));
    let there = there.each_ref().map(String::as_str);
    let here: Vec<_> = here.iter().map(String::as_str).collect();
    let test = "who_changes_addresses_within_a_network_keeps_nobody_out";
    let Some(cable) = Cable::lay(test, &there, &here) else {
        return;
    };
    let mut broker = cable.broker(module_path!(), "");
    let port = broker.address().port();
    let slow = connect(OTHER, 2, port);
    let mut slow = Client::on(slow, &keyring(), "slow", "room", None);
    let join = slow.frame(b"");
    slow.stream.write_all(&join[..10]).unwrap();
    let rotating: Vec<_> = (0..5 * MANY)
        .map(|i| connect(ROTATING, 2 + i % MANY, port))
        .collect();
    wait_until("they have come", || {
        broker.stat("accepted") == 1 + rotating.len() as u64
    });
    // It is older than all of them and has been there for longer than anyone is spared, but its
    // network has not more than its share.
    slow.stream.write_all(&join[10..]).unwrap();
    wait_until("it has joined", || broker.stat("joined") == 1);
    let newcomer = connect(OTHER, 2, port);
    let mut newcomer = Client::on(newcomer, &keyring(), "newcomer", "room", None);
    newcomer.send(b"hello");
    assert_eq!(slow.text(), "hello");
    assert_eq!(broker.stat("turned_away"), 0);
}
