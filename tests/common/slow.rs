//! Traffic that fills the queue of a member that stops reading.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use super::{Client, is_timeout};

/// Length of each message in bytes.
pub const SIZE: usize = 50_000;
/// A limit for queues: 20 messages.
pub const QUEUE: usize = 20 * SIZE;
/// Sends that fill any socket buffer and a queue of [`QUEUE`] bytes several times over.
pub const MANY: usize = 600;

/// A message that tells its number and is whole only at its full length.
pub fn message(i: usize) -> Vec<u8> {
    let mut message = format!("{i} ").into_bytes();
    message.resize(SIZE, b'.');
    message
}

/// The number of a message, which must be whole.
pub fn number(message: &[u8]) -> usize {
    assert_eq!(message.len(), SIZE);
    let text = std::str::from_utf8(message).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Sends [`MANY`] messages, each of which `reader` gets before the next is sent.
pub fn send_many(alice: &mut Client, reader: &mut Client) {
    for i in 0..MANY {
        alice.send(&message(i));
        assert_eq!(number(&reader.receive_message().message), i);
    }
}

/// Reads from a member that lets go of old messages up to the last of [`send_many`]; returns how many
/// have come.
pub fn read_to_last(mut next: impl FnMut() -> usize) -> usize {
    let (mut got, mut last) = (0, None);
    while last != Some(MANY - 1) {
        let number = next();
        assert!(last < Some(number), "{last:?} then {number}");
        (got, last) = (got + 1, Some(number));
    }
    assert!(got < MANY);
    got
}

/// Writes what `next` yields until the socket has been full for a while; returns how many that was, and
/// the rest of the last.
pub fn publish_until_held(
    mut stream: &TcpStream,
    next: impl Fn(usize) -> Vec<u8>,
) -> (usize, Vec<u8>) {
    stream.set_nonblocking(true).unwrap();
    let (mut sent, mut rest, mut idle) = (0, Vec::new(), 0);
    while idle < 100 {
        if rest.is_empty() {
            rest = next(sent);
            sent += 1;
        }
        match stream.write(&rest) {
            Ok(n) => {
                rest.drain(..n);
                idle = 0;
            }
            Err(error) => {
                assert!(is_timeout(&error), "{error}");
                std::thread::sleep(Duration::from_millis(5));
                idle += 1;
            }
        }
        assert!(sent < 100 * MANY, "never held back");
    }
    stream.set_nonblocking(false).unwrap();
    (sent, rest)
}
