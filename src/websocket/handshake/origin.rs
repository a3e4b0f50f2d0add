//! Which pages may connect: a browser sends a page's requests with the user's address and
//! passwords, wherever the page is from, and says where in `Origin`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The hosts by which pages of ours may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// Any name that leads here.
    Any,
    /// `localhost` and addresses. Other names may be made to lead here by who owns them ("DNS
    /// rebinding"): a page from `http://evil.example:8076` is of the same origin as a server on
    /// 127.0.0.1:8076 as soon as that name is said to have that address.
    Fixed,
}

/// Returns `true` if a request with that `Origin` and `Host` may be upgraded: it is from no browser, from a
/// page of the same host and port, where that is one of `hosts`, or from a page of an origin in
/// `allowed`.
///
/// Origins are compared as scheme, host and port, `null` and others that have no host as they are.
/// `*` in the list allows all.
pub(crate) fn origin_allowed(
    origin: Option<&str>,
    host: &str,
    hosts: Hosts,
    allowed: &[String],
) -> bool {
    let Some(origin) = origin else {
        return true;
    };
    is_same(origin, host, hosts) || allowed.iter().any(|entry| fits(entry, origin))
}

/// Returns `true` if pages may be asked for by this host: it is one of `hosts`, or that of an origin in `allowed`,
/// whatever its port. A request without one is from no browser.
pub(crate) fn host_allowed(host: &str, hosts: Hosts, allowed: &[String]) -> bool {
    if hosts == Hosts::Any || host.is_empty() {
        return true;
    }
    let Some(here) = Web::with_scheme(false, host) else {
        return false;
    };
    let is_listed = |entry: &String| {
        let listed = Web::read(entry);
        entry == "*" || listed.is_some_and(|web| web.host.eq_ignore_ascii_case(here.host))
    };
    here.is_fixed() || allowed.iter().any(is_listed)
}

fn fits(entry: &str, origin: &str) -> bool {
    if entry == "*" || entry.eq_ignore_ascii_case(origin) {
        return true;
    }
    matches!((Web::read(entry), Web::read(origin)), (Some(a), Some(b)) if a.is(&b))
}

/// Returns `true` if a page from `origin` is from the host that it connects to. The scheme of the page may be
/// either: TLS may end before us.
fn is_same(origin: &str, host: &str, hosts: Hosts) -> bool {
    let Some(page) = Web::read(origin) else {
        return false;
    };
    let here = Web::with_scheme(page.is_secure, host);
    here.is_some_and(|here| here.is(&page) && (hosts == Hosts::Any || here.is_fixed()))
}

/// An origin of http or https.
struct Web<'a> {
    is_secure: bool,
    host: &'a str,
    port: u16,
}

impl<'a> Web<'a> {
    fn read(origin: &'a str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        let is_secure = scheme.eq_ignore_ascii_case("https");
        if !is_secure && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        Self::with_scheme(is_secure, authority)
    }

    /// Reads a host that may have a port; an IPv6 address is in brackets.
    fn with_scheme(is_secure: bool, authority: &'a str) -> Option<Self> {
        let in_brackets = authority.find(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[in_brackets..].find(':') {
            Some(at) => {
                let (host, port) = authority.split_at(in_brackets + at);
                (host, decimal(&port[1..])?)
            }
            None => (authority, if is_secure { 443 } else { 80 }),
        };
        let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
        is_host.then_some(Self {
            is_secure,
            host,
            port,
        })
    }

    fn is(&self, other: &Web<'_>) -> bool {
        self.is_secure == other.is_secure
            && self.port == other.port
            && self.host.eq_ignore_ascii_case(other.host)
    }

    /// Returns `true` if nobody can make the host lead elsewhere.
    fn is_fixed(&self) -> bool {
        let in_brackets = self
            .host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'));
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<Ipv4Addr>().is_ok()
            || in_brackets.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
    }
}

/// Returns the number if there are only digits: parsing alone would let a sign through.
fn decimal(port: &str) -> Option<u16> {
    let is_digits = port.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| port.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, host: &str, list: &[&str]) -> bool {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        origin_allowed(Some(origin), host, Hosts::Any, &list)
    }

    #[test]
    fn clients_that_are_no_browsers_send_none() {
        assert!(origin_allowed(None, "example.org", Hosts::Fixed, &[]));
    }

    #[test]
    fn pages_of_the_same_host_and_port_are_allowed() {
        for (origin, host) in [
            ("http://example.org", "example.org"),
            ("http://example.org", "example.org:80"),
            ("https://example.org", "example.org"),
            ("https://example.org", "example.org:443"),
            ("https://example.org:443", "Example.ORG"),
            ("HTTP://EXAMPLE.org:8076", "example.org:8076"),
            ("http://127.0.0.1:8076", "127.0.0.1:8076"),
            ("http://[::1]:8076", "[::1]:8076"),
            ("http://[::1]", "[::1]"),
        ] {
            assert!(allowed(origin, host, &[]), "{origin} at {host}");
        }
    }

    #[test]
    fn of_names_only_localhost_is_fixed() {
        for (host, is_fixed) in [
            ("localhost", true),
            ("LocalHost:8076", true),
            ("127.0.0.1:8076", true),
            ("192.0.2.7", true),
            ("[::1]:8076", true),
            ("example.org", false),
            ("example.org:8076", false),
            ("localhost.example.org", false),
            ("127.0.0.1.example.org", false),
            ("127.1", false),
            ("[::1", false),
            ("::1", false),
        ] {
            let origin = format!("http://{host}");
            let allowed = |list: &[String]| origin_allowed(Some(&origin), host, Hosts::Fixed, list);
            assert_eq!(allowed(&[]), is_fixed, "{host}");
            assert!(allowed(std::slice::from_ref(&origin)), "{host}");
        }
    }

    #[test]
    fn hosts_of_listed_origins_are_allowed_whatever_the_port() {
        let list = ["https://chat.example:8443".to_owned()];
        for (host, is_allowed) in [
            ("", true),
            ("localhost:1", true),
            ("192.0.2.7", true),
            ("[2001:db8::7]:8076", true),
            ("chat.example", true),
            ("CHAT.example:80", true),
            ("other.example", false),
            ("chat.example.evil.example", false),
            ("server.lan:8076", false),
        ] {
            assert_eq!(
                host_allowed(host, Hosts::Fixed, &list),
                is_allowed,
                "{host}"
            );
            assert!(host_allowed(host, Hosts::Any, &[]), "{host}");
            assert!(
                host_allowed(host, Hosts::Fixed, &["*".to_owned()]),
                "{host}"
            );
        }
    }

    #[test]
    fn pages_from_elsewhere_are_not() {
        for (origin, host) in [
            ("http://example.com", "example.org"),
            ("http://example.org.evil.com", "example.org"),
            ("http://evil.com/example.org", "example.org"),
            ("http://evil.com@example.org", "example.org"),
            ("http://example.org:8077", "example.org:8076"),
            ("http://example.org", "example.org:8076"),
            ("http://example.org", "example.org:443"),
            ("https://example.org", "example.org:80"),
            ("http://example.org:+80", "example.org"),
            ("http://example.org:", "example.org"),
            ("http://[::1]:8076", "[::2]:8076"),
            ("ftp://example.org", "example.org"),
            ("example.org", "example.org"),
            ("null", "example.org"),
            ("null", "null"),
            ("http://", ""),
            ("", ""),
            ("", "example.org"),
        ] {
            assert!(!allowed(origin, host, &[]), "{origin} at {host}");
        }
    }

    #[test]
    fn listed_origins_are_allowed() {
        let list = ["https://chat.example.com", "http://[fe80::1]:80"];
        assert!(allowed("https://chat.example.com", "other", &list));
        assert!(allowed("https://CHAT.example.com:443", "other", &list));
        assert!(allowed("http://[FE80::1]", "other", &list));
        assert!(!allowed("http://chat.example.com", "other", &list));
        assert!(!allowed("https://chat.example.com:444", "other", &list));
        assert!(!allowed("https://example.com", "other", &list));
        assert!(!allowed("null", "other", &list));
        assert!(allowed("null", "other", &["null"]));
        assert!(allowed("http://anything", "other", &["*"]));
        assert!(allowed("app://name", "other", &["app://name"]));
    }
}
