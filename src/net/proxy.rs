//! Addresses of clients behind proxies: the PROXY protocol.
//!
//! Only proxies in `trusted_proxies` are asked and believed; anybody else is a client that makes things
//! up.

use std::net::SocketAddr;

use ppp::{v1, v2};
use tokio::net::TcpStream;

use crate::shard::refusal::Refusal;
use crate::shard::stream::is_end;

/// First bytes of a header of version 1.
const TEXT: &[u8] = b"PROXY ";
/// Longest header of version 1, in bytes.
const MAX_TEXT: usize = 107;
/// Longest header of version 2, in bytes: with much more than the addresses.
const MAX_BINARY: usize = 4 << 10;
/// Length in bytes of the part up to the length of the rest.
const BINARY_HEAD: usize = 16;
/// Number of bytes that tell the version. No header is shorter.
const TELLING: usize = 12;

/// Progress of reading a header.
enum Reach {
    /// At most so many bytes more belong to it.
    Wants(usize),
    /// It ends with the next line feed, within so many bytes.
    WantsLine(usize),
    Whole,
}

/// Returns `true` if bytes that a connection begins with look like a header.
pub(crate) fn is_header(first: &[u8]) -> bool {
    first.starts_with(TEXT) || first.starts_with(v2::PROTOCOL_PREFIX)
}

/// Reads the header that a connection begins with, and not a byte more. Returns the client's address;
/// `None` when the proxy speaks for itself, as in health checks, or does not know it.
///
/// # Errors
///
/// The connection does not begin with a header.
pub(crate) async fn read_header(stream: &TcpStream) -> Result<Option<SocketAddr>, Refusal> {
    let mut header = Vec::with_capacity(MAX_TEXT);
    let mut next = [0; 512];
    loop {
        let (most, is_line) = match reach(&header)? {
            Reach::Wants(most) => (most, false),
            Reach::WantsLine(most) => (most, true),
            Reach::Whole => return client(&header),
        };
        let most = most.min(next.len());
        let came = match stream.peek(&mut next[..most]).await {
            Ok(n) => n,
            Err(error) if is_end(&error) => 0,
            Err(error) => return Err(error.into()),
        };
        if came == 0 && header.is_empty() {
            return Err(Refusal::LeftSilently);
        } else if came == 0 {
            return Err(Refusal::LeftInProxyHeader);
        }
        let line_end = next[..came].iter().position(|&byte| byte == b'\n');
        let len = line_end.filter(|_| is_line).map_or(came, |at| at + 1);
        // They are there: they have just been seen.
        let taken = stream.try_read(&mut next[..len])?;
        header.extend_from_slice(&next[..taken]);
    }
}

/// Returns what is to be read behind `header`.
fn reach(header: &[u8]) -> Result<Reach, Refusal> {
    let len = header.len();
    let begins = |with: &[u8]| with.starts_with(&header[..len.min(with.len())]);
    if begins(v2::PROTOCOL_PREFIX) {
        let Some(head) = header.first_chunk::<BINARY_HEAD>() else {
            return Ok(Reach::Wants(if len < TELLING {
                TELLING - len
            } else {
                BINARY_HEAD - len
            }));
        };
        let whole = BINARY_HEAD + usize::from(u16::from_be_bytes([head[14], head[15]]));
        return match whole {
            whole if whole > MAX_BINARY => Err(Refusal::BadProxyHeader),
            whole if whole > len => Ok(Reach::Wants(whole - len)),
            _ => Ok(Reach::Whole),
        };
    }
    if !begins(TEXT) {
        return Err(Refusal::NoProxyHeader);
    }
    if header.ends_with(b"\n") {
        Ok(Reach::Whole)
    } else if len < MAX_TEXT {
        Ok(Reach::WantsLine(MAX_TEXT - len))
    } else {
        Err(Refusal::BadProxyHeader)
    }
}

/// Returns the client that a whole header names.
fn client(header: &[u8]) -> Result<Option<SocketAddr>, Refusal> {
    if header.starts_with(v2::PROTOCOL_PREFIX) {
        let header = v2::Header::try_from(header).map_err(|_| Refusal::BadProxyHeader)?;
        return Ok(match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
                Some((ip.source_address, ip.source_port).into())
            }
            (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
                Some((ip.source_address, ip.source_port).into())
            }
            _ => None,
        });
    }
    let header = v1::Header::try_from(header).map_err(|_| Refusal::BadProxyHeader)?;
    Ok(match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Returns the client that a header names, if it is whole.
    fn whole(header: &[u8]) -> Result<Option<Option<SocketAddr>>, String> {
        match reach(header).map_err(|error| error.to_string())? {
            Reach::Whole => client(header).map(Some).map_err(|error| error.to_string()),
            _ => Ok(None),
        }
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &len, body].concat()
    }

    #[test]
    fn headers_of_both_versions_are_read() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let with_more = [&v4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 9;
        let unix = [0; 216];
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(),
                Some("192.0.2.1:4711"),
            ),
            (b"PROXY TCP6 ::1 ::2 9 80\r\n".to_vec(), Some("[::1]:9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ::1 ::2 9 80\r\n".to_vec(), None),
            (binary(1, 0x11, &v4), Some("192.0.2.1:4711")),
            (binary(1, 0x11, &with_more), Some("192.0.2.1:4711")),
            (binary(1, 0x21, &v6), Some("[::1]:9")),
            (binary(1, 0x31, &unix), None),
            (binary(0, 0x11, &v4), None),
            (binary(0, 0, &[]), None),
        ] {
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(whole(&header), Ok(Some(expected)), "{header:?}");
            for end in 0..header.len() {
                assert_eq!(whole(&header[..end]), Ok(None), "{header:?} to {end}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_told() {
        let no_header = Refusal::NoProxyHeader.to_string();
        for bytes in [
            &b"M"[..],
            b"GET /",
            b"PROXZ",
            b"\x16\x03\x01",
            b"\r\n\r\n\0\r\nQUIX",
        ] {
            assert_eq!(whole(bytes), Err(no_header.clone()), "{bytes:?}");
        }
        let bad = Refusal::BadProxyHeader.to_string();
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 100]].concat();
        for bytes in [
            &b"PROXY \r\n"[..],
            b"PROXY TCP4 1.2.3.4\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            b"PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n",
            b"PROXY TCP4 \xff\xfe\r\n",
            &long,
            &binary(1, 0x11, &[0; 4]),
            &binary(7, 0x11, &[0; 12]),
            &binary(1, 0x11, &[0; 5000])[..16],
        ] {
            assert_eq!(whole(bytes), Err(bad.clone()), "{bytes:?}");
        }
    }

    proptest! {
        /// A header is never longer than what is asked for, and nothing in it does harm.
        #[test]
        fn any_bytes_do_no_harm(start in 0..3_usize, rest in vec(any::<u8>(), 0..300)) {
            let start: &[u8] = [b"", TEXT, v2::PROTOCOL_PREFIX][start];
            let bytes = [start, &rest].concat();
            let mut len = 0;
            while len < bytes.len() {
                len = match reach(&bytes[..len]) {
                    Ok(Reach::Wants(most) | Reach::WantsLine(most)) => {
                        prop_assert!(most > 0 && most <= MAX_BINARY);
                        len + 1
                    }
                    Ok(Reach::Whole) => {
                        // Whether it says anything does not matter here.
                        let _ = client(&bytes[..len]);
                        break;
                    }
                    Err(_) => break,
                };
            }
            let _ = client(&bytes);
        }
    }
}
