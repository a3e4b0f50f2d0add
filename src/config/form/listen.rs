//! Where to listen, and whose pages may connect.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Arity, Form, Given, quoted};
use crate::network::Network;
use crate::settings::ListenerKind;

/// Stands for no address where a list cannot be empty.
const NONE: &str = "none";

/// Addresses to listen on.
pub(crate) struct Addresses {
    /// The port of an address that has none; `None` where there is no custom.
    pub(crate) port: Option<u16>,
}

impl Form for Addresses {
    type Value = Vec<SocketAddr>;

    fn read(&self, given: &Given<'_>) -> Option<Vec<SocketAddr>> {
        if given.text().map(str::trim) == Some(NONE) {
            return Some(Vec::new());
        }
        let address = |item| address(item, self.port);
        given.items().iter().map(address).collect()
    }

    fn write(&self, value: &Vec<SocketAddr>) -> String {
        let items: Vec<_> = value.iter().map(quoted).collect();
        format!("[{}]", items.join(", "))
    }

    fn expected(&self) -> String {
        match self.port {
            Some(port) => format!(
                "IP addresses, ports, or both, as in \"127.0.0.1:{port}\", \"[::1]:{port}\", \
                 \"0.0.0.0\" or {port}, or \"{NONE}\""
            ),
            None => format!(
                "IP addresses with ports, or ports, as in \"127.0.0.1:8443\", \"[::]:8443\" or \
                 8443, or \"{NONE}\""
            ),
        }
    }

    fn value_name(&self) -> String {
        "ADDR:PORT".to_owned()
    }

    fn arity(&self) -> Arity {
        Arity::Many
    }
}

/// `ADDR:PORT`, or one of them with the default for the other. `localhost` is taken as 127.0.0.1.
fn address(given: &Given<'_>, default_port: Option<u16>) -> Option<SocketAddr> {
    if let Some(port) = given.integer() {
        return Some((Ipv4Addr::LOCALHOST, u16::try_from(port).ok()?).into());
    }
    let text = given.text()?.trim();
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

impl Form for Networks {
    type Value = Vec<Network>;

    fn read(&self, given: &Given<'_>) -> Option<Vec<Network>> {
        if given.text().map(str::trim) == Some(NONE) {
            return Some(Vec::new());
        }
        let network = |item: &Given<'_>| item.text()?.trim().parse().ok();
        given.items().iter().map(network).collect()
    }

    fn write(&self, value: &Vec<Network>) -> String {
        let items: Vec<_> = value.iter().map(quoted).collect();
        format!("[{}]", items.join(", "))
    }

    fn expected(&self) -> String {
        format!(
            "IP addresses or networks, as in \"127.0.0.1\", \"10.0.0.0/8\" or \"2001:db8::/32\", or \
             \"{NONE}\""
        )
    }

    fn value_name(&self) -> String {
        "NETWORK".to_owned()
    }

    fn arity(&self) -> Arity {
        Arity::Many
    }
}

/// Kinds of listeners, by the options that make them.
pub(crate) struct Kinds;

impl Kinds {
    const NAMES: [(&str, ListenerKind); 4] = [
        ("listen", ListenerKind::Mles),
        ("tls", ListenerKind::MlesTls),
        ("ws", ListenerKind::WebSocket),
        ("tls_ws", ListenerKind::WebSocketTls),
    ];
    /// Stands for all of them.
    const ALL: &str = "all";
}

impl Form for Kinds {
    type Value = Vec<ListenerKind>;

    fn read(&self, given: &Given<'_>) -> Option<Vec<ListenerKind>> {
        match given.text().map(str::trim) {
            Some(NONE) => return Some(Vec::new()),
            Some(Self::ALL) => return Some(Self::NAMES.map(|(_, kind)| kind).to_vec()),
            _ => {}
        }
        let kind = |item: &Given<'_>| {
            // As the option is written, or the key.
            let name = item.text()?.trim().replace('-', "_");
            let found = Self::NAMES.iter().find(|(known, _)| *known == name)?;
            Some(found.1)
        };
        given.items().iter().map(kind).collect()
    }

    fn write(&self, value: &Vec<ListenerKind>) -> String {
        let names = Self::NAMES.iter().filter(|(_, kind)| value.contains(kind));
        let names: Vec<_> = names.map(|(name, _)| quoted(name)).collect();
        format!("[{}]", names.join(", "))
    }

    fn expected(&self) -> String {
        let names = Self::NAMES.map(|(name, _)| quoted(name)).join(", ");
        format!("some of {names}, or \"{}\", or \"{NONE}\"", Self::ALL)
    }

    fn value_name(&self) -> String {
        let names = Self::NAMES.map(|(name, _)| name).join("|");
        format!("{names}|{}", Self::ALL)
    }

    fn arity(&self) -> Arity {
        Arity::Many
    }
}

/// Origins of web pages, as browsers send them: `SCHEME://HOST[:PORT]`, without a default port.
pub(crate) struct WebOrigins;

impl Form for WebOrigins {
    type Value = Vec<String>;

    fn read(&self, given: &Given<'_>) -> Option<Vec<String>> {
        let origin = |item: &Given<'_>| web_origin(item.text()?.trim());
        given.items().iter().map(origin).collect()
    }

    fn write(&self, value: &Vec<String>) -> String {
        let items: Vec<_> = value.iter().map(quoted).collect();
        format!("[{}]", items.join(", "))
    }

    fn expected(&self) -> String {
        "origins as in \"https://chat.example\" or \"http://localhost:3000\", or \"*\"".to_owned()
    }

    fn value_name(&self) -> String {
        "ORIGIN".to_owned()
    }

    fn arity(&self) -> Arity {
        Arity::Many
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
