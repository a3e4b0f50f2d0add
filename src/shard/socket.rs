//! Socket options of every TCP connection of a broker.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::settings::Settings;

/// The kernel gives up this much later than the broker would: the broker can say why.
#[cfg(target_os = "linux")]
const SLACK: Duration = Duration::from_secs(1);
/// Keepalive probes that may go unanswered before a connection counts as dead.
const PROBES: u32 = 3;
/// The kernel's unit for keepalive probes.
const SECOND: Duration = Duration::from_secs(1);
/// Congestion control for peers on this machine. There is nothing to be congested, and an
/// algorithm that paces its sending (BBR, the default of some systems) pays for it with a timer
/// for every segment: two to four times the CPU per delivery, as measured with 64-byte payloads,
/// one publisher and ten subscribers. Reno is part of every Linux kernel.
#[cfg(target_os = "linux")]
const LOOPBACK_CONGESTION: &[u8] = b"reno";

/// Sets a socket up to send without delay, and to notice a dead peer after `tcp_timeout`: idle connections by keepalive
/// probes, busy ones by unacknowledged data (`TCP_USER_TIMEOUT`). The latter also ends connections
/// whose peer is there but reads nothing, so it leaves them the longest `write_deadline`.
///
/// # Errors
///
/// The system refuses an option; the connection works all the same.
pub(crate) fn configure(
    stream: &TcpStream,
    peer: SocketAddr,
    settings: &Settings,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    set_timeouts(stream, settings)?;
    #[cfg(target_os = "linux")]
    {
        let socket = SockRef::from(stream);
        if let Some(algorithm) = &settings.limits.tcp_congestion {
            socket.set_tcp_congestion(algorithm.as_bytes())?;
        } else if peer.ip().to_canonical().is_loopback() {
            socket.set_tcp_congestion(LOOPBACK_CONGESTION)?;
        }
    }
    Ok(())
}

/// Sets when a peer that does not answer counts as dead.
fn set_timeouts(stream: &TcpStream, settings: &Settings) -> io::Result<()> {
    let timeout = settings.limits.tcp_timeout;
    let keepalive = TcpKeepalive::new()
        .with_time((timeout / 2).max(SECOND))
        .with_interval((timeout / 2 / PROBES).max(SECOND))
        .with_retries(PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        let deadline = settings.channels.longest_write_deadline() + SLACK;
        socket.set_tcp_user_timeout(Some(timeout.max(deadline)))?;
    }
    Ok(())
}

/// A connection whose peer is probed at once instead of when it has been silent for long. What was
/// set before is restored when this is dropped.
#[derive(Debug)]
pub(super) struct Probed<'a> {
    stream: &'a TcpStream,
    settings: &'a Settings,
}

impl<'a> Probed<'a> {
    /// Has the kernel probe the peer every second from now on, or from when it has been silent for
    /// a second, and give the connection up after [`PROBES`] probes without an answer. While data is
    /// on its way the kernel repeats that instead, and gives nothing up.
    pub(super) fn new(stream: &'a TcpStream, settings: &'a Settings) -> Self {
        let keepalive = TcpKeepalive::new()
            .with_time(SECOND)
            .with_interval(SECOND)
            .with_retries(PROBES);
        let socket = SockRef::from(stream);
        // The user timeout would count instead of the probes. A connection that takes no option has
        // failed, and that shows.
        #[cfg(target_os = "linux")]
        let _ = socket.set_tcp_user_timeout(None);
        let _ = socket.set_tcp_keepalive(&keepalive);
        Self { stream, settings }
    }
}

impl Drop for Probed<'_> {
    fn drop(&mut self) {
        // As above.
        let _ = set_timeouts(self.stream, self.settings);
    }
}
