//! Upstream servers, and the connection id of links to them.

use super::kind::{Arity, Description, ValueKind, read_list, write_list};
use super::raw::{RawValue, quoted};
use crate::protocol::{Cid, DEFAULT_PORT};
use crate::server_name::ServerName;

/// Servers to connect to.
pub(crate) struct Servers;

impl ValueKind for Servers {
    type Value = Vec<ServerName>;

    fn read(&self, raw: &RawValue<'_>) -> Option<Vec<ServerName>> {
        read_list(raw, |item| item.text()?.trim().parse().ok())
    }

    fn write(&self, value: &Vec<ServerName>) -> String {
        write_list(value)
    }

    fn describe(&self) -> Description {
        let expected = format!(
            "servers as in \"broker.example\", \"10.0.0.1:{DEFAULT_PORT}\", \
             \"[2001:db8::1]:{DEFAULT_PORT}\" or \"tls://broker.example:8443\""
        );
        Description::new("[tls://]HOST[:PORT]", expected).takes(Arity::Many)
    }
}

/// A connection id: hexadecimal with `0x` in front, or decimal.
pub(crate) struct ConnectionId;

impl ValueKind for ConnectionId {
    type Value = Cid;

    fn read(&self, raw: &RawValue<'_>) -> Option<Cid> {
        if let Some(number) = raw.integer() {
            return u32::try_from(number).ok().map(Cid);
        }
        let text = raw.text()?.trim();
        let digits = text.strip_prefix("0x")?;
        u32::from_str_radix(digits, 16).ok().map(Cid)
    }

    fn write(&self, value: &Cid) -> String {
        quoted(format_args!("{:#010x}", value.0))
    }

    fn describe(&self) -> Description {
        Description::new("CID", "a number of 32 bits, as in \"0x00c0ffee\"")
    }
}
