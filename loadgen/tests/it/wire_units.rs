//! Where messages begin and end on the wire of each broker, as far as a relay in between needs it.
//!
//! Written apart from the adapters on purpose: a mistake there must not be made here again.

use crate::support::PAYLOAD;

/// One thing a broker sends: a message with all that belongs to it, or an answer.
pub struct Unit {
    pub len: usize,
    /// Bytes behind the payload, if it is a message.
    tail: usize,
}

impl Unit {
    /// Returns where the stamp would be.
    pub fn stamp(&self) -> Option<std::ops::Range<usize>> {
        let start = self.len.checked_sub(self.tail + PAYLOAD)?;
        Some(start..start + 8)
    }
}

/// Returns the unit at the start of `bytes`; `None` when it has not come whole.
pub fn unit(broker: &str, bytes: &[u8]) -> Option<Unit> {
    let (len, tail) = match broker {
        "mles" | "mles-resume" | "null" => (mles(bytes)?, 0),
        "mles-ws" | "mles-v2" | "mles-v2-resume" => (websocket(bytes)?, 0),
        "mles-http" => (http(bytes)?, 0),
        "nats" | "nats-2.15" => (nats(bytes)?, 2),
        "redis" | "valkey" => (redis(bytes)?, 2),
        "mosquitto" | "rabbitmq-mqtt" => (mqtt(bytes)?, 0),
        "rabbitmq" => (amqp(bytes)?, 1),
        _ => panic!("no wire format is known for {broker}"),
    };
    (len <= bytes.len()).then_some(Unit { len, tail })
}

fn mles(bytes: &[u8]) -> Option<usize> {
    Some(16 + number(bytes.get(1..4)?))
}

/// Returns the length of a frame, or of the answer to the request before them.
fn websocket(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"HTTP") {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        return Some(head + 4);
    }
    match bytes.get(1)? {
        126 => Some(4 + number(bytes.get(2..4)?)),
        127 => Some(10 + number(bytes.get(2..10)?)),
        len => Some(2 + usize::from(*len)),
    }
}

/// Returns the length of a response with its body, or of a frame.
fn http(bytes: &[u8]) -> Option<usize> {
    let len = websocket(bytes)?;
    if !bytes.starts_with(b"HTTP") {
        return Some(len);
    }
    let head = std::str::from_utf8(&bytes[..len]).ok()?;
    let body = head
        .lines()
        .find_map(|it| it.strip_prefix("Content-Length: "));
    let body: usize = body.map_or(Some(0), |body| body.parse().ok())?;
    Some(len + body)
}

fn nats(bytes: &[u8]) -> Option<usize> {
    let line = line(bytes)?;
    let text = std::str::from_utf8(line).ok()?;
    if !text.starts_with("MSG ") {
        return Some(line.len());
    }
    let payload: usize = text.split_whitespace().next_back()?.parse().ok()?;
    Some(line.len() + payload + 2)
}

/// Returns the length of a line, and behind that of an array of its elements.
fn redis(bytes: &[u8]) -> Option<usize> {
    let line = line(bytes)?;
    let count = || std::str::from_utf8(&line[1..]).ok()?.trim().parse().ok();
    match line[0] {
        b'*' => {
            let mut len = line.len();
            for _ in 0..count()? {
                len += redis(bytes.get(len..)?)?;
            }
            Some(len)
        }
        b'$' => Some(line.len() + count()? + 2),
        _ => Some(line.len()),
    }
}

fn mqtt(bytes: &[u8]) -> Option<usize> {
    let last = bytes.iter().skip(1).position(|byte| byte & 0x80 == 0)?;
    let digits = bytes[1..=1 + last].iter().rev();
    let remaining = digits.fold(0, |sum, digit| (sum << 7) | usize::from(digit & 0x7F));
    Some(2 + last + remaining)
}

/// Returns the length of a frame, and for `basic.deliver` of the header and the one body frame behind it.
fn amqp(bytes: &[u8]) -> Option<usize> {
    let frame = |at: usize| Some(at + 8 + number(bytes.get(at + 3..at + 7)?));
    let first = frame(0)?;
    if bytes.get(7..11)? != [0, 60, 0, 60] {
        return Some(first);
    }
    frame(frame(first)?)
}

fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some(&bytes[..end + 2])
}

fn number(digits: &[u8]) -> usize {
    digits
        .iter()
        .fold(0, |sum, &digit| (sum << 8) | usize::from(digit))
}
