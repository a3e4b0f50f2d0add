//! The key that clients are counted by.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One client address as limits count it: an IPv4 address, or the /64 network of an IPv6 address,
/// because whoever has one address of a /64 has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum AddressKey {
    /// The address, also if it came mapped into IPv6.
    V4(u32),
    /// The first 64 bits.
    V6(u64),
    /// A client that its proxy has not named yet: there is no limit for it as an address.
    Unnamed,
}

impl AddressKey {
    /// Returns the key of `ip`.
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                let network = [a, b, c, d].into_iter();
                Self::V6(network.fold(0, |bits, segment| bits << 16 | u64::from(segment)))
            }
        }
    }
}

impl FromStr for AddressKey {
    type Err = AddrParseError;

    /// Reads an address, or a /64 network as it is displayed.
    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text.strip_suffix("/64") {
            Some(network) => network.parse().map(|ip: Ipv6Addr| Self::of(ip.into())),
            None => text.parse().map(Self::of),
        }
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(bits) => Ipv4Addr::from_bits(*bits).fmt(f),
            Self::V6(network) => {
                let first = Ipv6Addr::from_bits(u128::from(*network) << 64);
                write!(f, "{first}/64")
            }
            Self::Unnamed => f.write_str("unnamed"),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]
mod tests {
    use super::*;

    fn key(ip: &str) -> AddressKey {
        AddressKey::of(ip.parse().unwrap())
    }

    #[test]
    fn ipv6_counts_by_its_network() {
        assert_eq!(
            key("2001:db8:1:2::1"),
            key("2001:db8:1:2:ffff:ffff:ffff:ffff")
        );
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }

    #[test]
    fn what_is_displayed_is_read_again() {
        for (ip, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(key(ip).to_string(), shown);
            assert_eq!(shown.parse(), Ok(key(ip)));
            assert_eq!(ip.parse(), Ok(key(ip)));
        }
        for text in [
            "",
            "unnamed",
            "192.0.2.0/64",
            "2001:db8::/48",
            "/64",
            "host",
        ] {
            assert!(text.parse::<AddressKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn ipv4_counts_by_its_address_however_it_comes() {
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("::ffff:192.0.2.1"), key("::ffff:192.0.2.2"));
        assert_ne!(key("192.0.2.1"), key("::1"));
    }
}
