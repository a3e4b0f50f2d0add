//! Session keys: which secrets and addresses go into them.

use std::net::SocketAddr;

use mles::protocol::{Key, Keyring};

fn addr(s: &str) -> SocketAddr {
    s.parse().unwrap()
}

fn keyring(shared: &str, addr_key: &str) -> Keyring {
    Keyring::new(Some(shared.to_owned()), Some(addr_key.to_owned()))
}

#[test]
fn shared_key_stands_for_the_address() {
    let keyring = keyring("secret", "addrkey");
    assert!(keyring.is_secret());
    assert!(!keyring.uses_address());
    for client in ["127.0.0.1:1", "[::1]:2"] {
        let key = keyring.session_key(addr(client), "alice", "room");
        assert_eq!(key, Key(0xce57_8200_007d_fe9b));
    }
}

#[test]
fn without_shared_key_the_address_counts() {
    for (addr_key, client, expected) in [
        ("", "127.0.0.1:40000", 0x2c12_72fb_4d96_c1bb),
        ("", "[::1]:40000", 0x5880_8a23_20f2_ffdd),
        ("addrkey", "127.0.0.1:40000", 0xa86b_4c6b_1881_5df4),
    ] {
        let keyring = keyring("", addr_key);
        assert_eq!(keyring.is_secret(), !addr_key.is_empty());
        assert!(keyring.uses_address());
        let key = Key(expected);
        assert_eq!(keyring.session_key(addr(client), "alice", "room"), key);
        assert!(keyring.verify(key, addr(client), "alice", "room"));
        assert!(!keyring.verify(key, addr("127.0.0.1:40001"), "alice", "room"));
        assert!(!keyring.verify(key, addr(client), "alic", "eroom"));
    }
}

#[test]
fn mapped_addresses_hash_as_ipv4() {
    let keyring = keyring("", "addrkey");
    let key = |client| keyring.session_key(addr(client), "alice", "room");
    assert_eq!(key("[::ffff:127.0.0.1]:40000"), key("127.0.0.1:40000"));
    assert_ne!(key("[::127.0.0.1]:40000"), key("127.0.0.1:40000"));
}

#[test]
fn empty_secrets_are_none() {
    assert!(!keyring("", "").is_secret());
    assert!(!Keyring::default().is_secret());
    assert!(Keyring::default().uses_address());
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", keyring("hunter2", "swordfish"));
    assert!(!shown.contains("hunter2") && !shown.contains("swordfish"));
    assert_ne!(shown, format!("{:?}", Keyring::default()));
}
