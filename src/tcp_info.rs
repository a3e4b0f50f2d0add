//! Asks the kernel for the state of a TCP connection.
//!
//! Asked over netlink (`sock_diag(7)`), one socket at a time, which takes a few microseconds:
//! `getsockopt(TCP_INFO)` tells the same, but only to unsafe code.

use std::cell::OnceCell;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
/// Type of a request for one socket, and of its answer.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// The attribute with `struct tcp_info`.
const INET_DIAG_INFO: u16 = 2;
const ALL_STATES: u32 = u32::MAX;
const TCP_LISTEN: u8 = 10;
/// Length of `struct nlmsghdr`.
const HEAD: usize = 16;
/// Length of `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// Offset of the length of the send queue in it.
const WQUEUE: usize = 60;
/// Longer than any answer for one socket.
const ROOM: usize = 4096;

/// The state of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "clients ask only whether all is acknowledged")
)]
pub(crate) struct TcpInfo {
    /// Segments that have come, acknowledgements included.
    pub(crate) segments_in: u32,
    /// Segments with data that have come.
    pub(crate) data_segments_in: u32,
    /// Probes and repetitions of data sent since anything was acknowledged.
    pub(crate) unanswered: u32,
    /// Bytes written that the peer has not acknowledged, sent or not.
    pub(crate) unacknowledged: u32,
}

/// Asks the kernel. Nothing is opened before the first question.
#[derive(Debug, Default)]
pub(crate) struct TcpInspector {
    netlink: OnceCell<Option<Socket>>,
}

impl TcpInspector {
    /// Returns the state of the connection with these addresses; `None` if it is over, or the system
    /// does not tell. Costs two system calls.
    pub(crate) fn inspect(&self, local: SocketAddr, peer: SocketAddr) -> Option<TcpInfo> {
        let netlink = self.netlink.get_or_init(open).as_ref()?;
        // The kernel answers within the call that asks.
        netlink.send(&request(local, peer)).ok()?;
        let mut answer = [0; ROOM];
        let n = (&*netlink).read(&mut answer).ok()?;
        parse(&answer[..n])
    }
}

fn open() -> Option<Socket> {
    let open = || -> io::Result<Socket> {
        if !cfg!(target_os = "linux") {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let protocol = Protocol::from(NETLINK_SOCK_DIAG);
        let netlink = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(protocol))?;
        netlink.set_nonblocking(true)?;
        Ok(netlink)
    };
    let opened = open();
    #[cfg(feature = "server")]
    if let Err(error) = &opened {
        tracing::info!(
            %error,
            "cannot query connections over netlink (AF_NETLINK): clients that vanished and \
             come back may be refused until tcp_timeout"
        );
    }
    opened.ok()
}

/// Returns a request for the one socket with these addresses: `struct nlmsghdr`, then `struct
/// inet_diag_req_v2`.
fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let (family, interface) = match local {
        SocketAddr::V4(_) => (AF_INET, 0),
        SocketAddr::V6(local) => (AF_INET6, local.scope_id()),
    };
    let mut request = Vec::with_capacity(72);
    request.extend([0; HEAD]);
    // `1 << (attribute - 1)` asks for an attribute.
    request.extend([family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
    request.extend(ALL_STATES.to_ne_bytes());
    request.extend(local.port().to_be_bytes());
    request.extend(peer.port().to_be_bytes());
    request.extend(address(local.ip()));
    request.extend(address(peer.ip()));
    request.extend(interface.to_ne_bytes());
    // Any cookie: whatever socket has the addresses.
    request.extend([0xFF; 8]);
    let len = u32::try_from(request.len()).unwrap_or_default();
    request[..4].copy_from_slice(&len.to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request
}

fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut padded = [0; 16];
            padded[..4].copy_from_slice(&ip.octets());
            padded
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Reads an answer: `struct nlmsghdr`, `struct inet_diag_msg`, then attributes. `None` if it says that
/// there is no such socket.
fn parse(answer: &[u8]) -> Option<TcpInfo> {
    if u16_at(answer, 4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let message = answer.get(HEAD..)?;
    // Of a connection that is over, the kernel finds the listener.
    if *message.get(1)? == TCP_LISTEN {
        return None;
    }
    let mut attributes = message.get(MESSAGE..)?;
    loop {
        let len = usize::from(u16_at(attributes, 0)?);
        if u16_at(attributes, 2)? == INET_DIAG_INFO {
            let info = attributes.get(4..len)?;
            let (retransmits, probes) = (*info.get(2)?, *info.get(3)?);
            return Some(TcpInfo {
                segments_in: u32_at(info, 140)?,
                data_segments_in: u32_at(info, 152)?,
                unanswered: u32::from(retransmits) + u32::from(probes),
                unacknowledged: u32_at(message, WQUEUE)?,
            });
        }
        attributes = attributes.get(len.max(4).next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::Ipv6Addr;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn inspect(inspector: &TcpInspector, stream: &TcpStream) -> Option<TcpInfo> {
        inspector.inspect(stream.local_addr().ok()?, stream.peer_addr().ok()?)
    }

    async fn pair(address: IpAddr) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((address, 0)).await.expect("loopback");
        let to = (
            IpAddr::from([127, 0, 0, 1]),
            listener.local_addr().expect("bound").port(),
        );
        let connect = TcpStream::connect(to);
        let (near, far) = tokio::join!(listener.accept(), connect);
        (near.expect("accepted").0, far.expect("connected"))
    }

    #[tokio::test]
    async fn what_comes_is_counted_also_on_a_dual_stack_socket() {
        let inspector = TcpInspector::default();
        for address in [[127, 0, 0, 1].into(), Ipv6Addr::UNSPECIFIED.into()] {
            let (near, mut far) = pair(address).await;
            let before = inspect(&inspector, &near).expect("the kernel tells");
            assert_eq!((before.unanswered, before.unacknowledged), (0, 0));
            far.write_all(b"hello").await.expect("there is room");
            near.readable().await.expect("it comes");
            let after = inspect(&inspector, &near).expect("the kernel tells");
            assert_eq!(after.data_segments_in, before.data_segments_in + 1);
            assert!(after.segments_in > before.segments_in);
        }
    }

    #[tokio::test]
    async fn what_nobody_reads_is_not_acknowledged_for_ever() {
        let inspector = TcpInspector::default();
        let (near, _far) = pair([127, 0, 0, 1].into()).await;
        while near.try_write(&[0; 65536]).is_ok() {}
        let info = inspect(&inspector, &near).expect("the kernel tells");
        assert!(info.unacknowledged > 0, "{info:?}");
    }

    #[tokio::test]
    async fn nothing_is_told_of_a_connection_that_was_reset() {
        let inspector = TcpInspector::default();
        let (near, far) = pair([127, 0, 0, 1].into()).await;
        far.set_zero_linger().expect("an open socket");
        drop(far);
        near.ready(tokio::io::Interest::ERROR)
            .await
            .expect("it shows");
        assert_eq!(inspect(&inspector, &near), None);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_no_answer() {
        let mut answer = vec![0; 400];
        answer[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        let at = HEAD + MESSAGE;
        answer[at..at + 2].copy_from_slice(&312_u16.to_ne_bytes());
        answer[at + 2..at + 4].copy_from_slice(&INET_DIAG_INFO.to_ne_bytes());
        assert!(parse(&answer).is_some());
        for len in 0..at + 312 {
            assert_eq!(parse(&answer[..len]), None, "{len}");
        }
        // An attribute of length 0 does not hold it up.
        answer[at..at + 4].fill(0);
        assert_eq!(parse(&answer), None);
    }
}
