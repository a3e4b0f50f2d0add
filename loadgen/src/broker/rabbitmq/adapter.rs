//! AMQP 0-9-1, as RabbitMQ speaks it: a fanout exchange for each channel, a queue of its own for each
//! subscriber, nothing durable, nothing acknowledged.
//!
//! The protocol has the client wait for an answer to each step of its handshake. Nothing in the
//! steps depends on the answers once user and limits are fixed, so all of them are sent at once.

use super::frame::{
    BODY, FRAME_HEAD, FRAME_MAX, FRAME_OVERHEAD, Frame, HEADER, HEARTBEAT, METHOD, Method, PIECE,
    array, frame, method, short_string,
};
use crate::adapter::{Adapter, Head, Publication, Session, WireError};

const PROTOCOL: &[u8] = b"AMQP\x00\x00\x09\x01";

/// The number of the connection itself, and of the one channel that is opened on it.
const CONNECTION: u16 = 0;
const CHANNEL: u16 = 1;

const CONNECTION_START: Method = (10, 10);
const CONNECTION_START_OK: Method = (10, 11);
const CONNECTION_TUNE: Method = (10, 30);
const CONNECTION_TUNE_OK: Method = (10, 31);
const CONNECTION_OPEN: Method = (10, 40);
const CONNECTION_OPEN_OK: Method = (10, 41);
const CONNECTION_CLOSE: Method = (10, 50);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const CHANNEL_CLOSE: Method = (20, 40);
const EXCHANGE_DECLARE: Method = (40, 10);
const EXCHANGE_DECLARE_OK: Method = (40, 11);
const QUEUE_DECLARE: Method = (50, 10);
const QUEUE_DECLARE_OK: Method = (50, 11);
const QUEUE_BIND: Method = (50, 20);
const QUEUE_BIND_OK: Method = (50, 21);
const BASIC_CONSUME: Method = (60, 20);
const BASIC_CONSUME_OK: Method = (60, 21);
const BASIC_PUBLISH: Method = (60, 40);
const BASIC_DELIVER: Method = (60, 60);

/// Bits of `exchange.declare` and `queue.declare`; durable, which is not set, is 2.
const EXCLUSIVE: u8 = 4;
const QUEUE_AUTO_DELETE: u8 = 8;
const EXCHANGE_AUTO_DELETE: u8 = 4;
/// The bit of `basic.consume`: deliveries count as acknowledged.
const NO_ACK: u8 = 2;

/// The protocol's reserved fields, absent strings, and empty tables.
const RESERVED: &[u8] = &[0, 0];
const NO_STRING: &[u8] = &[0];
const NO_TABLE: &[u8] = &[0; 4];

/// User `guest`, virtual host `/`, one channel for each connection, no heartbeats.
pub(super) struct AmqpAdapter;

impl Adapter for AmqpAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        let exchange = short_string(session.channel)?;
        let mut bytes = PROTOCOL.to_vec();
        let credentials = b"\0guest\0guest".as_slice();
        let credentials_len = [0, 0, 0, 12];
        let start_ok = [
            NO_TABLE,
            b"\x05PLAIN",
            &credentials_len,
            credentials,
            b"\x05en_US",
        ];
        method(&mut bytes, CONNECTION, CONNECTION_START_OK, &start_ok)?;
        let (channels, no_heartbeat) = (CHANNEL.to_be_bytes(), [0, 0]);
        let tune_ok = [channels.as_slice(), &FRAME_MAX.to_be_bytes(), &no_heartbeat];
        method(&mut bytes, CONNECTION, CONNECTION_TUNE_OK, &tune_ok)?;
        let open = [b"\x01/".as_slice(), RESERVED];
        method(&mut bytes, CONNECTION, CONNECTION_OPEN, &open)?;
        method(&mut bytes, CHANNEL, CHANNEL_OPEN, &[NO_STRING])?;
        let kind = b"\x06fanout".as_slice();
        let declare = [RESERVED, &exchange, kind, &[EXCHANGE_AUTO_DELETE], NO_TABLE];
        method(&mut bytes, CHANNEL, EXCHANGE_DECLARE, &declare)?;
        if session.role.is_receiving() {
            subscription(&mut bytes, &exchange)?;
        }
        Ok(bytes)
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let mut bytes = Vec::new();
        let exchange = short_string(session.channel)?;
        let neither_mandatory_nor_immediate = [0].as_slice();
        let publish = [
            RESERVED,
            &exchange,
            NO_STRING,
            neither_mandatory_nor_immediate,
        ];
        method(&mut bytes, CHANNEL, BASIC_PUBLISH, &publish)?;
        let class = BASIC_PUBLISH.0.to_be_bytes();
        let (weight, no_properties) = ([0, 0], [0, 0]);
        let len = (payload.len() as u64).to_be_bytes();
        let header = [class.as_slice(), &weight, &len, &no_properties];
        frame(&mut bytes, HEADER, CHANNEL, &header)?;
        let payload_at = bytes.len() + FRAME_HEAD;
        for piece in payload.chunks(PIECE) {
            frame(&mut bytes, BODY, CHANNEL, &[piece])?;
        }
        Ok(Publication { bytes, payload_at })
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        let Some(frame) = Frame::at(received, 0)? else {
            return Ok(Head::Partial);
        };
        match frame.kind {
            METHOD => method_head(received, &frame),
            HEARTBEAT => Ok(Head::Control { len: frame.end() }),
            _ => Err(WireError::unexpected(received)),
        }
    }
}

/// Asks for a queue with a name of the server's choice, bound to `exchange`. An empty name means the queue
/// declared last.
fn subscription(bytes: &mut Vec<u8>, exchange: &[u8]) -> Result<(), WireError> {
    let flags = [EXCLUSIVE | QUEUE_AUTO_DELETE];
    let declare = [RESERVED, NO_STRING, &flags, NO_TABLE];
    method(bytes, CHANNEL, QUEUE_DECLARE, &declare)?;
    let (no_key, wait) = (NO_STRING, [0]);
    let bind = [RESERVED, NO_STRING, exchange, no_key, &wait, NO_TABLE];
    method(bytes, CHANNEL, QUEUE_BIND, &bind)?;
    let (tag, flags) = (b"\x01s".as_slice(), [NO_ACK]);
    let consume = [RESERVED, NO_STRING, tag, &flags, NO_TABLE];
    method(bytes, CHANNEL, BASIC_CONSUME, &consume)
}

fn method_head(received: &[u8], frame: &Frame) -> Result<Head, WireError> {
    let (class, number) = (frame.payload_at, frame.payload_at + 2);
    let (Some(class), Some(number)) = (array(received, class), array(received, number)) else {
        return Ok(Head::Partial);
    };
    match (u16::from_be_bytes(class), u16::from_be_bytes(number)) {
        BASIC_DELIVER => delivery(received, frame),
        CONNECTION_START | CONNECTION_TUNE | CONNECTION_OPEN_OK | CHANNEL_OPEN_OK
        | EXCHANGE_DECLARE_OK | QUEUE_DECLARE_OK | QUEUE_BIND_OK | BASIC_CONSUME_OK => {
            Ok(Head::Control { len: frame.end() })
        }
        CONNECTION_CLOSE | CHANNEL_CLOSE => match received.get(frame.payload_at..frame.end()) {
            Some(close) => Err(refusal(close)),
            None => Ok(Head::Partial),
        },
        _ => Err(WireError::unexpected(received)),
    }
}

/// Reads a method frame, a header frame with the length of the whole payload, and frames with pieces of
/// the payload: all but the last are as long as the first. What is between the pieces counts as
/// tail: to those who only skip, it makes no difference where in the message it is.
fn delivery(received: &[u8], method: &Frame) -> Result<Head, WireError> {
    let Some(header) = Frame::at(received, method.end())? else {
        return Ok(Head::Partial);
    };
    let Some(body) = Frame::at(received, header.end())? else {
        return Ok(Head::Partial);
    };
    let payload = array(received, header.payload_at + 4).map(u64::from_be_bytes);
    let payload = payload.and_then(|len| usize::try_from(len).ok());
    match payload {
        Some(payload)
            if (header.kind, body.kind) == (HEADER, BODY)
                && (1..=payload).contains(&body.payload_len) =>
        {
            let more_frames = payload.div_ceil(body.payload_len) - 1;
            Ok(Head::Delivery {
                head: body.payload_at,
                payload,
                tail: more_frames.saturating_mul(FRAME_OVERHEAD) + 1,
            })
        }
        _ => Err(WireError::unexpected(received)),
    }
}

/// Returns the error that a `close` reports: class and number, then a code, then a text with its length before it.
fn refusal(close: &[u8]) -> WireError {
    let code = array(close, 4).map_or(0, u16::from_be_bytes);
    let text = close.get(7..).unwrap_or_default();
    let len = close.get(6).copied().unwrap_or_default();
    let text = text.get(..len.into()).unwrap_or(text);
    WireError::Refused(format!("{code} {}", text.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{Role, assert_scans, payload, session};

    fn sent(kind: u8, payload: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame(&mut bytes, kind, CHANNEL, payload).expect("short");
        bytes
    }

    fn answer(what: Method, arguments: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        method(&mut bytes, CHANNEL, what, arguments).expect("short");
        bytes
    }

    /// Encodes message `sequence` with a payload of 16 bytes in frames of at most `piece`.
    fn deliver(sequence: u64, piece: usize) -> Vec<u8> {
        let tag = sequence.to_be_bytes();
        let mut bytes = answer(BASIC_DELIVER, &[b"\x01s", &tag, &[0], b"\x04lg.0", &[0]]);
        let header: [&[u8]; 4] = [&[0, 60], &[0, 0], &16_u64.to_be_bytes(), &[0, 0]];
        bytes.extend(sent(HEADER, &header));
        for piece in payload(16, sequence).chunks(piece) {
            bytes.extend(sent(BODY, &[piece]));
        }
        bytes
    }

    #[test]
    fn messages_among_answers_at_every_cut() {
        let stream = [
            answer(CONNECTION_START, &[b"\x00\x09", b"some properties"]),
            answer(QUEUE_DECLARE_OK, &[b"\x03amq", &[0; 8]]),
            deliver(0, 16),
            deliver(1, 16),
            sent(HEARTBEAT, &[]),
            deliver(2, 16),
        ];
        assert_scans(&AmqpAdapter, 16, &stream.concat(), 3, 0);
    }

    #[test]
    fn payloads_in_several_frames_at_every_cut() {
        for piece in [8, 9, 15] {
            let stream = [deliver(0, piece), deliver(1, piece), deliver(2, piece)];
            assert_scans(&AmqpAdapter, 16, &stream.concat(), 3, 0);
        }
    }

    #[test]
    fn a_long_payload_goes_out_in_frames_that_the_server_takes() {
        let long = vec![b'x'; PIECE + 1];
        let publication = AmqpAdapter.publication(&session(1), &long);
        let Publication { bytes, payload_at } = publication.expect("fits");
        let first = &bytes[payload_at - FRAME_HEAD..];
        assert_eq!(first[..FRAME_HEAD], [BODY, 0, 1, 0, 1, 0xFF, 0xF8]);
        assert!(bytes.ends_with(&sent(BODY, &[b"x"])));
        assert_eq!(bytes.len() - payload_at, long.len() + FRAME_OVERHEAD + 1);
    }

    #[test]
    fn only_subscribers_consume() {
        let consume = [0, 60, 0, 20];
        for (role, consumes) in [(Role::Publisher, false), (Role::Subscriber, true)] {
            let session = Session { role, ..session(1) };
            let hello = AmqpAdapter.hello(&session).expect("short names");
            let found = hello.windows(4).any(|four| four == consume);
            assert_eq!(found, consumes, "{role:?}");
        }
        let channel = &"x".repeat(256);
        let session = Session {
            channel,
            ..session(1)
        };
        assert_eq!(AmqpAdapter.hello(&session), Err(WireError::TooLong(256)));
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        let close = answer(CHANNEL_CLOSE, &[&[1, 0x94], b"\x09NOT_FOUND", &[0; 4]]);
        let said = Err(WireError::Refused("404 NOT_FOUND".to_owned()));
        assert_eq!(AmqpAdapter.head(&close), said);
        assert!(matches!(
            AmqpAdapter.head(PROTOCOL),
            Err(WireError::Refused(_))
        ));
        let mut no_end = deliver(0, 16);
        let end = no_end.iter().position(|&byte| byte == 0xCE);
        no_end[end.expect("each frame has one")] = 0;
        let empty: [&[u8]; 4] = [&[0, 60], &[0, 0], &[0; 8], &[0, 0]];
        let empty = [
            answer(BASIC_DELIVER, &[]),
            sent(HEADER, &empty),
            sent(BODY, &[]),
        ];
        for bad in [
            b"HTTP/1.1 400\r\n".as_slice(),
            &answer((90, 10), &[]),
            &sent(BODY, &[b"x"]),
            &no_end,
            &empty.concat(),
        ] {
            assert!(
                matches!(AmqpAdapter.head(bad), Err(WireError::Unexpected(_))),
                "{bad:?}"
            );
        }
    }
}
