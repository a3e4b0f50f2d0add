//! State of the broker's end of a connection, from the kernel's table of sockets on this machine.
//!
//! Who does not read its end of a connection does not learn either that the other side has closed: that
//! waits behind the bytes. The table tells at once.

use std::fs;
use std::net::SocketAddr;

/// The state of an open connection in the table.
const ESTABLISHED: &str = "01";

/// The end that a broker on this machine has of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerEnd {
    /// The broker's port, and ours.
    ports: (u16, u16),
}

impl PeerEnd {
    /// Returns the end at `broker` of a connection whose end here is `own`.
    pub(crate) fn of(broker: SocketAddr, own: SocketAddr) -> Self {
        Self {
            ports: (broker.port(), own.port()),
        }
    }

    /// Returns `true` if the end is open, and `None` if the table has no such end, or never had it.
    pub(crate) fn is_open(self) -> Option<bool> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        tables
            .into_iter()
            .find_map(|path| self.is_open_in(&text(path)))
    }

    /// Lines are `number: local remote state …`, an address is `hex:port` with a port of four hex
    /// digits.
    fn is_open_in(self, table: &str) -> Option<bool> {
        let port = |address: &str| {
            let (_, port) = address.rsplit_once(':')?;
            u16::from_str_radix(port, 16).ok()
        };
        table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let ports = (port(fields.next()?)?, port(fields.next()?)?);
            let state = fields.next()?;
            (ports == self.ports).then_some(state == ESTABLISHED)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_line_of_both_ports_says_whether_it_is_open() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr\n\
            0: 0100007F:1F8D 00000000:0000 0A 00000000:00000000 00:00000000\n\
            1: 0100007F:1F8D 0100007F:C001 01 00000000:00000000 00:00000000\n\
            2: 0100007F:1F8D 0100007F:C002 04 00000000:00000000 00:00000000\n";
        let is_open = |own| PeerEnd { ports: (8077, own) }.is_open_in(table);
        assert_eq!(is_open(0xC001), Some(true));
        assert_eq!(is_open(0xC002), Some(false), "it has closed its side");
        assert_eq!(is_open(0xC003), None);
    }

    #[test]
    fn an_end_that_closes_is_seen_without_reading() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let broker = listener.local_addr().expect("it is bound");
        let own = TcpStream::connect(broker).expect("it listens");
        let end = PeerEnd::of(broker, own.local_addr().expect("it is connected"));
        let (theirs, _) = listener.accept().expect("somebody is there");
        assert_eq!(end.is_open(), Some(true));
        drop(theirs);
        assert_ne!(end.is_open(), Some(true));
    }
}
