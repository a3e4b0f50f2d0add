//! One connection: its socket, what came of a message, and what waits to be sent.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::arrival::Arrival;
use super::stream::Stream;
use super::{FleetError, Scratch};
use crate::adapter::{Adapter, MAX_CARRY, Role, Scanner};
use crate::payload::PayloadHeader;

pub(super) struct Link<M> {
    /// `None` once it was closed by us.
    pub(super) stream: Option<Stream>,
    pub(super) role: Role,
    pub(super) scanner: Scanner<M>,
    pub(super) outbox: Vec<u8>,
    /// Bytes of the outbox that were sent.
    pub(super) written: usize,
}

impl<M: PayloadHeader> Link<M> {
    /// Reads until the socket is empty, or to its end if `has_ended` says that there is one: no other event tells of an
    /// end that has come together with data.
    pub(super) fn receive(
        &mut self,
        adapter: &dyn Adapter,
        payload_len: usize,
        scratch: &mut Scratch,
        has_ended: bool,
        mut deliver: impl FnMut(M),
    ) -> Result<(), FleetError> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let Scratch { bytes, sealed } = scratch;
        loop {
            let (read, is_last) = match stream.read(&mut bytes[MAX_CARRY..], sealed) {
                Ok(Arrival::Bytes { len, is_last }) => (len, is_last),
                Ok(Arrival::End) => return Err(FleetError::Closed(self.role)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(lost(self.role, error)),
            };
            let start = MAX_CARRY - self.scanner.carry().len();
            bytes[start..MAX_CARRY].copy_from_slice(self.scanner.carry());
            let received = &bytes[start..MAX_CARRY + read];
            let pings = self
                .scanner
                .scan(adapter, payload_len, received, &mut deliver)?;
            for _ in 0..pings {
                self.outbox.extend_from_slice(adapter.pong());
            }
            if is_last && !has_ended {
                return Ok(());
            }
        }
    }

    /// Sends what waits and says whether all is out.
    pub(super) fn flush(&mut self) -> Result<bool, FleetError> {
        let Some(stream) = &mut self.stream else {
            return Ok(true);
        };
        loop {
            let written = match self.outbox.get(self.written..) {
                None | Some([]) => stream.flush().map(|()| None),
                Some(rest) => stream.write(rest).map(Some),
            };
            match written {
                Ok(Some(written)) => self.written += written,
                Ok(None) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(self.role, error)),
            }
        }
        self.outbox.clear();
        self.written = 0;
        Ok(true)
    }
}

/// Connects with a receive buffer that is set before the kernel has told the other side of it.
pub(super) fn connect_narrow(broker: &SocketAddr, receive_buffer: usize) -> io::Result<TcpStream> {
    let family = match broker {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    set_socket_recv_buffer_size(&socket, receive_buffer)?;
    rustix::net::connect(&socket, broker)?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Tells a reset, which is a broker's way of closing, from other failures.
fn lost(role: Role, error: io::Error) -> FleetError {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => FleetError::Closed(role),
        _ => FleetError::Io(error),
    }
}
