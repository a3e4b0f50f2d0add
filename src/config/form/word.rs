//! Everything that is not a number.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{Arity, Form, Given, quoted};
use crate::channel::SlowPolicy;
use crate::config::{DEFAULT_PORT, LogFormat, Secret};
use crate::settings::NameCheck;

/// Yes or no.
pub(crate) struct Switch;

impl Form for Switch {
    type Value = bool;

    fn read(&self, given: &Given<'_>) -> Option<bool> {
        given.boolean()
    }

    fn write(&self, value: &bool) -> String {
        value.to_string()
    }

    fn expected(&self) -> String {
        "true or false".to_owned()
    }

    fn value_name(&self) -> String {
        "true|false".to_owned()
    }

    fn arity(&self) -> Arity {
        Arity::Switch
    }
}

/// One of a few names.
pub(crate) struct OneOf<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl OneOf<SlowPolicy> {
    pub(crate) const SLOW_POLICY: Self = Self(&[
        ("disconnect", SlowPolicy::Disconnect),
        ("drop-oldest", SlowPolicy::DropOldest),
        ("backpressure", SlowPolicy::Backpressure),
    ]);
}

impl OneOf<NameCheck> {
    pub(crate) const NAME_CHECK: Self = Self(&[
        ("off", NameCheck::Off),
        ("channel", NameCheck::Channel),
        ("sender", NameCheck::Sender),
    ]);
}

impl OneOf<LogFormat> {
    pub(crate) const LOG_FORMAT: Self =
        Self(&[("human", LogFormat::Human), ("json", LogFormat::Json)]);
}

impl<T> OneOf<T> {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }
}

impl<T: Copy + PartialEq + Sync> Form for OneOf<T> {
    type Value = T;

    fn read(&self, given: &Given<'_>) -> Option<T> {
        let text = given.text()?;
        let found = self.0.iter().find(|(name, _)| *name == text)?;
        Some(found.1)
    }

    fn write(&self, value: &T) -> String {
        let found = self.0.iter().find(|(_, named)| named == value);
        quoted(found.map_or("", |(name, _)| name))
    }

    fn expected(&self) -> String {
        let names: Vec<_> = self.names().map(quoted).collect();
        format!("one of {}", names.join(", "))
    }

    fn value_name(&self) -> String {
        self.names().collect::<Vec<_>>().join("|")
    }
}

/// Addresses to listen on.
pub(crate) struct Addresses;

impl Form for Addresses {
    type Value = Vec<SocketAddr>;

    fn read(&self, given: &Given<'_>) -> Option<Vec<SocketAddr>> {
        let addresses: Vec<_> = given.items().iter().map(address).collect::<Option<_>>()?;
        (!addresses.is_empty()).then_some(addresses)
    }

    fn write(&self, value: &Vec<SocketAddr>) -> String {
        let items: Vec<_> = value.iter().map(quoted).collect();
        format!("[{}]", items.join(", "))
    }

    fn expected(&self) -> String {
        format!(
            "IP addresses, ports, or both, as in \"127.0.0.1:{DEFAULT_PORT}\", \
             \"[::1]:{DEFAULT_PORT}\", \"0.0.0.0\" or {DEFAULT_PORT}"
        )
    }

    fn value_name(&self) -> String {
        "ADDR:PORT".to_owned()
    }

    fn arity(&self) -> Arity {
        Arity::Many
    }
}

/// `ADDR:PORT`, or one of them with the default for the other. `localhost` is taken as 127.0.0.1.
fn address(given: &Given<'_>) -> Option<SocketAddr> {
    if let Some(port) = given.integer() {
        return Some((Ipv4Addr::LOCALHOST, u16::try_from(port).ok()?).into());
    }
    let text = given.text()?.trim();
    if let Some(rest) = text.strip_prefix("localhost") {
        return match rest.strip_prefix(':') {
            Some(port) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
            None => rest
                .is_empty()
                .then(|| (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()),
        };
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let with_default_port = || {
        let ip: IpAddr = bare.unwrap_or(text).parse().ok()?;
        Some((ip, DEFAULT_PORT).into())
    };
    text.parse().ok().or_else(with_default_port)
}

/// A secret.
pub(crate) struct Hidden;

impl Form for Hidden {
    type Value = Secret;

    fn read(&self, given: &Given<'_>) -> Option<Secret> {
        let text = given.text().filter(|text| !text.is_empty())?;
        Some(Secret(text.to_owned()))
    }

    fn write(&self, _: &Secret) -> String {
        quoted("<set>")
    }

    fn expected(&self) -> String {
        "a string that is not empty".to_owned()
    }

    fn value_name(&self) -> String {
        "SECRET".to_owned()
    }

    fn is_secret(&self) -> bool {
        true
    }
}

/// The path of a file.
pub(crate) struct File;

impl Form for File {
    type Value = PathBuf;

    fn read(&self, given: &Given<'_>) -> Option<PathBuf> {
        let text = given.text().filter(|text| !text.is_empty())?;
        Some(text.into())
    }

    fn write(&self, value: &PathBuf) -> String {
        quoted(value.display())
    }

    fn expected(&self) -> String {
        "the path of a file".to_owned()
    }

    fn value_name(&self) -> String {
        "FILE".to_owned()
    }
}

/// A level, or levels by module.
pub(crate) struct Filter;

impl Form for Filter {
    type Value = String;

    fn read(&self, given: &Given<'_>) -> Option<String> {
        let text = given.text().filter(|text| !text.is_empty())?;
        // `Targets` takes a misspelt level for the name of a module.
        let is_directive = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
        let is_known = text.split(',').all(is_directive) && text.parse::<Targets>().is_ok();
        is_known.then(|| text.to_owned())
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }

    fn expected(&self) -> String {
        "error, warn, info, debug, trace or off, or levels by module as in \
         \"warn,mles::shard=debug\""
            .to_owned()
    }

    fn value_name(&self) -> String {
        "LEVEL".to_owned()
    }
}
