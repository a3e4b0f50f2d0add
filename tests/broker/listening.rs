//! Where a broker listens, and what keeps it from starting.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use mles::protocol::Keyring;
use mles::{Broker, ListenError, Settings, StartError};

use crate::common::settings;

/// Listens on all addresses of both families, on one port.
fn both(change: impl Fn(&mut Settings, [SocketAddr; 2])) -> Broker {
    // Somebody else may take the port meanwhile.
    for _ in 0..10 {
        let probe = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let mut settings = settings();
        settings.keyring = Keyring::new(Some("secret".to_owned()), None);
        let all = [
            (Ipv4Addr::UNSPECIFIED, port).into(),
            (Ipv6Addr::UNSPECIFIED, port).into(),
        ];
        change(&mut settings, all);
        match Broker::start(settings) {
            Ok(broker) => return broker,
            Err(StartError::Listen(error)) => eprintln!("{error}"),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no port is free");
}

fn assert_reached(broker: &Broker) {
    let port = broker.local_addrs()[0].port();
    let before = broker.stats().accepted;
    let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let v6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    crate::common::wait_until("both are accepted", || {
        broker.stats().accepted == before + 2
    });
    drop((v4, v6));
}

#[test]
fn all_addresses_of_both_families_can_be_listened_on_together() {
    let orders: [fn([SocketAddr; 2]) -> Vec<SocketAddr>; 2] =
        [|all| all.to_vec(), |[v4, v6]| vec![v6, v4]];
    for order in orders {
        assert_reached(&both(|settings, all| settings.listen = order(all)));
    }
    // By different kinds as well.
    assert_reached(&both(|settings, [v4, v6]| {
        settings.listen = vec![v4];
        settings.websocket.listen = vec![v6];
    }));
    // Alone, the one for IPv6 takes IPv4 too.
    assert_reached(&both(|settings, [_, v6]| settings.listen = vec![v6]));
}

#[test]
fn an_address_that_is_taken_is_told() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut settings = settings();
    settings.listen = vec![taken.local_addr().unwrap()];
    let error = Broker::start(settings).unwrap_err();
    let StartError::Listen(ListenError { address, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(address, taken.local_addr().unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn a_congestion_control_that_there_is_not_is_told_at_the_start() {
    let mut settings = settings();
    settings.limits.tcp_congestion = Some("carrier-pigeon".to_owned());
    let error = Broker::start(settings).unwrap_err().to_string();
    assert!(
        error.starts_with("the congestion control \"carrier-pigeon\" cannot be used: "),
        "{error}"
    );
    let mut settings = crate::common::settings();
    settings.limits.tcp_congestion = Some("reno".to_owned());
    Broker::start(settings).unwrap();
}
