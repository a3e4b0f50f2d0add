//! One connection of the relay: what has come as a part, and what it has not taken yet.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

/// A connection, in a channel from its first frame on.
pub(super) struct Member {
    stream: TcpStream,
    /// The channel's place in the relay; `None` before the join.
    pub(super) channel: Option<usize>,
    /// `true` if there may be something to read.
    pub(super) readable: bool,
    /// The beginning of a frame.
    pub(super) partial: Vec<u8>,
    outbox: Vec<u8>,
    /// Bytes of the outbox that were sent.
    written: usize,
}

impl Member {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            channel: None,
            readable: false,
            partial: Vec::new(),
            outbox: Vec::new(),
            written: 0,
        }
    }

    /// Reads once; returns `None` when there is nothing, and then `readable` is false, or when the
    /// member is gone.
    pub(super) fn receive<'a>(&mut self, scratch: &'a mut [u8]) -> Option<&'a [u8]> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return None,
                Ok(len) => return Some(&scratch[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.readable = error.kind() != ErrorKind::WouldBlock;
                    return None;
                }
            }
        }
    }

    /// Returns `true` if something waits for the socket to take it.
    pub(super) fn is_blocked(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Sends `bytes`, behind what waits.
    ///
    /// # Errors
    /// The member is gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_blocked() {
            self.outbox.extend_from_slice(bytes);
            return Ok(());
        }
        let taken = write(&mut self.stream, bytes)?;
        self.outbox.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The member is gone.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.written += write(&mut self.stream, &self.outbox[self.written..])?;
        if self.written == self.outbox.len() {
            self.outbox.clear();
            self.written = 0;
        }
        Ok(())
    }
}

/// Writes until the socket takes no more, and says how much it took.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.write(&bytes[taken..]) {
            Ok(len) => taken += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
