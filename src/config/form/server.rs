//! Servers, and how this one is known to them.

use super::{Arity, Form, Given, quoted};
use crate::protocol::{Cid, DEFAULT_PORT};
use crate::server_name::ServerName;

/// Servers to connect to.
pub(crate) struct Servers;

impl Form for Servers {
    type Value = Vec<ServerName>;

    fn read(&self, given: &Given<'_>) -> Option<Vec<ServerName>> {
        let server = |item: &Given<'_>| item.text()?.trim().parse().ok();
        given.items().iter().map(server).collect()
    }

    fn write(&self, value: &Vec<ServerName>) -> String {
        let items: Vec<_> = value.iter().map(quoted).collect();
        format!("[{}]", items.join(", "))
    }

    fn expected(&self) -> String {
        format!(
            "servers as in \"broker.example\", \"10.0.0.1:{DEFAULT_PORT}\", \
             \"[2001:db8::1]:{DEFAULT_PORT}\" or \"tls://broker.example:8443\""
        )
    }

    fn value_name(&self) -> String {
        "[tls://]HOST[:PORT]".to_owned()
    }

    fn arity(&self) -> Arity {
        Arity::Many
    }
}

/// A connection id: hexadecimal with `0x` in front, or decimal.
pub(crate) struct ConnectionId;

impl Form for ConnectionId {
    type Value = Cid;

    fn read(&self, given: &Given<'_>) -> Option<Cid> {
        if let Some(number) = given.integer() {
            return u32::try_from(number).ok().map(Cid);
        }
        let text = given.text()?.trim();
        let digits = text.strip_prefix("0x")?;
        u32::from_str_radix(digits, 16).ok().map(Cid)
    }

    fn write(&self, value: &Cid) -> String {
        quoted(format_args!("{:#010x}", value.0))
    }

    fn expected(&self) -> String {
        "a number of 32 bits, as in \"0x00c0ffee\"".to_owned()
    }

    fn value_name(&self) -> String {
        "CID".to_owned()
    }
}
