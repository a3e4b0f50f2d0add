//! The clients that proxies name in `X-Forwarded-For`. Only those in `trusted_proxies` are believed; whoever
//! else names one is a client that makes things up.

use std::net::{IpAddr, SocketAddr};

use crate::settings::ProxySettings;

/// Returns the client that `X-Forwarded-For` names, in a request that came from `peer`: going back from
/// there, the first address that is not a proxy's in `proxies`. `forwarded` are the header's values.
pub(super) fn forwarded_for<'a>(
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    peer: SocketAddr,
    proxies: &ProxySettings,
) -> SocketAddr {
    let mut client = peer;
    let hops = forwarded.rev().flat_map(|value| value.rsplit(','));
    for hop in hops {
        if !proxies.trusts(client.ip()) {
            break;
        }
        // Whatever is behind something unreadable was not said by a proxy that is trusted.
        let Some(address) = address(hop.trim()) else {
            break;
        };
        client = address;
    }
    client
}

/// Parses an address with or without a port, as proxies write it.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(text).parse().ok()?;
    // The port is not known.
    Some((ip, 0).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn trusting(networks: &[&str]) -> ProxySettings {
        ProxySettings {
            trusted: networks.iter().map(|text| text.parse().unwrap()).collect(),
            ..ProxySettings::default()
        }
    }

    #[test]
    fn the_client_is_the_last_that_is_no_proxy_of_ours() {
        let proxies = trusting(&["10.0.0.0/8", "2001:db8::/32"]);
        let peer = "10.0.0.1:999";
        for (values, expected) in [
            (&[] as &[&str], "10.0.0.1:999"),
            (&["192.0.2.1"], "192.0.2.1:0"),
            (&["192.0.2.1, 10.0.0.7"], "192.0.2.1:0"),
            (&["6.6.6.6, 192.0.2.1"], "192.0.2.1:0"),
            (&["6.6.6.6", "192.0.2.1 ,10.0.0.7"], "192.0.2.1:0"),
            (&["192.0.2.1:4711"], "192.0.2.1:4711"),
            (&["[2001:dead::1]:4711"], "[2001:dead::1]:4711"),
            (&["[2001:dead::1]"], "[2001:dead::1]:0"),
            (&["2001:dead::1,2001:db8::7"], "[2001:dead::1]:0"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3:0"),
            (&["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2:0"),
            (&["nonsense"], "10.0.0.1:999"),
            (&[""], "10.0.0.1:999"),
            (&["6.6.6.6,"], "10.0.0.1:999"),
        ] {
            let client = forwarded_for(values.iter().copied(), peer.parse().unwrap(), &proxies);
            assert_eq!(client, expected.parse().unwrap(), "{values:?}");
        }
        // Who is not listed is not believed.
        let client = forwarded_for(
            ["192.0.2.1"].into_iter(),
            "11.0.0.1:9".parse().unwrap(),
            &proxies,
        );
        assert_eq!(client, "11.0.0.1:9".parse().unwrap());
    }

    proptest! {
        #[test]
        fn forwarded_nonsense_does_no_harm(values in vec("[0-9a-f:.\\[\\], ]{0,40}", 0..4)) {
            let peer = "10.0.0.1:1".parse().unwrap();
            forwarded_for(values.iter().map(String::as_str), peer, &trusting(&["0.0.0.0/0"]));
        }
    }
}
