//! Addresses to listen on, networks, kinds of listeners, and origins of web pages.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::kind::{Arity, Description, ValueKind, read_list, write_list};
use super::raw::{RawValue, quoted};
use crate::network::Network;
use crate::settings::ListenerKind;

/// The word for an empty list where a list cannot be empty.
const NONE: &str = "none";

/// Addresses to listen on.
pub(crate) struct Addresses {
    /// The port of an address that has none; `None` where there is no custom.
    pub(crate) port: Option<u16>,
}

impl ValueKind for Addresses {
    type Value = Vec<SocketAddr>;

    fn read(&self, raw: &RawValue<'_>) -> Option<Vec<SocketAddr>> {
        read_list_or_none(raw, |item| address(item, self.port))
    }

    fn write(&self, value: &Vec<SocketAddr>) -> String {
        write_list(value)
    }

    fn describe(&self) -> Description {
        let expected = match self.port {
            Some(port) => format!(
                "IP addresses, ports, or both, as in \"127.0.0.1:{port}\", \"[::1]:{port}\", \
                 \"0.0.0.0\" or {port}, or \"{NONE}\""
            ),
            None => format!(
                "IP addresses with ports, or ports, as in \"127.0.0.1:8443\", \"[::]:8443\" or \
                 8443, or \"{NONE}\""
            ),
        };
        Description::new("ADDR:PORT", expected).takes(Arity::Many)
    }
}

fn read_list_or_none<T>(
    raw: &RawValue<'_>,
    read: impl FnMut(&RawValue<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    if raw.text().map(str::trim) == Some(NONE) {
        return Some(Vec::new());
    }
    read_list(raw, read)
}

/// Reads `ADDR:PORT`, or one of them with the default for the other. `localhost` is taken as 127.0.0.1.
fn address(raw: &RawValue<'_>, default_port: Option<u16>) -> Option<SocketAddr> {
    if let Some(port) = raw.integer() {
        return Some((Ipv4Addr::LOCALHOST, u16::try_from(port).ok()?).into());
    }
    let text = raw.text()?.trim();
    if let Some(rest) = text.strip_prefix("localhost") {
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None => default_port.filter(|_| rest.is_empty())?,
        };
        return Some((Ipv4Addr::LOCALHOST, port).into());
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let with_default_port = || {
        let ip: IpAddr = bare.unwrap_or(text).parse().ok()?;
        Some((ip, default_port?).into())
    };
    text.parse().ok().or_else(with_default_port)
}

/// Networks of IP addresses.
pub(crate) struct Networks;

impl ValueKind for Networks {
    type Value = Vec<Network>;

    fn read(&self, raw: &RawValue<'_>) -> Option<Vec<Network>> {
        read_list_or_none(raw, |item| item.text()?.trim().parse().ok())
    }

    fn write(&self, value: &Vec<Network>) -> String {
        write_list(value)
    }

    fn describe(&self) -> Description {
        let expected = format!(
            "IP addresses or networks, as in \"127.0.0.1\", \"10.0.0.0/8\" or \"2001:db8::/32\", or \
             \"{NONE}\""
        );
        Description::new("NETWORK", expected).takes(Arity::Many)
    }
}

/// Kinds of listeners, by the options that make them.
pub(crate) struct ListenerKinds;

impl ListenerKinds {
    const NAMES: [(&str, ListenerKind); 4] = [
        ("listen", ListenerKind::Mles),
        ("tls", ListenerKind::MlesTls),
        ("ws", ListenerKind::WebSocket),
        ("tls_ws", ListenerKind::WebSocketTls),
    ];
    /// The word for all of them.
    const ALL: &str = "all";
}

impl ValueKind for ListenerKinds {
    type Value = Vec<ListenerKind>;

    fn read(&self, raw: &RawValue<'_>) -> Option<Vec<ListenerKind>> {
        if raw.text().map(str::trim) == Some(Self::ALL) {
            return Some(Self::NAMES.map(|(_, kind)| kind).to_vec());
        }
        let kind = |item: &RawValue<'_>| {
            // As the option is written, or the key.
            let name = item.text()?.trim().replace('-', "_");
            let found = Self::NAMES.iter().find(|(known, _)| *known == name)?;
            Some(found.1)
        };
        read_list_or_none(raw, kind)
    }

    fn write(&self, value: &Vec<ListenerKind>) -> String {
        let names = Self::NAMES.iter().filter(|(_, kind)| value.contains(kind));
        write_list(names.map(|(name, _)| name))
    }

    fn describe(&self) -> Description {
        let names = Self::NAMES.map(|(name, _)| name);
        Description::new(
            format!("{}|{}", names.join("|"), Self::ALL),
            format!(
                "some of {}, or \"{}\", or \"{NONE}\"",
                names.map(quoted).join(", "),
                Self::ALL
            ),
        )
        .takes(Arity::Many)
    }
}

/// Origins of web pages, as browsers send them: `SCHEME://HOST[:PORT]`, without a default port.
pub(crate) struct WebOrigins;

impl ValueKind for WebOrigins {
    type Value = Vec<String>;

    fn read(&self, raw: &RawValue<'_>) -> Option<Vec<String>> {
        read_list(raw, |item| web_origin(item.text()?.trim()))
    }

    fn write(&self, value: &Vec<String>) -> String {
        write_list(value)
    }

    fn describe(&self) -> Description {
        Description::new(
            "ORIGIN",
            "origins as in \"https://chat.example\" or \"http://localhost:3000\", or \"*\"",
        )
        .takes(Arity::Many)
    }
}

fn web_origin(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let text = text.to_ascii_lowercase();
    let (scheme, rest) = text.split_once("://")?;
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let host = rest.strip_suffix(default_port).unwrap_or(rest);
    let is_host =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let is_one = !host.is_empty() && host.chars().all(is_host);
    is_one.then(|| format!("{scheme}://{host}"))
}
