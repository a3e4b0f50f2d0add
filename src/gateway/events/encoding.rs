//! Messages and notices as events of a `text/event-stream`.
//!
//! A message is an event of no name with its position as `id`, which a client shows when it comes back; a notice is an
//! event with the notice's name. An event ends with its only empty line.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::channel::{Encoding, NoticeEncoding, Unit};
use crate::gateway::decimal::Decimal;
use crate::gateway::encoded_message::encoded_messages;
use crate::protocol::{Notice, Position};
use crate::shard::ended::Ended;
use crate::shard::farewell::for_end;
use crate::shard::framing::Framing;
use crate::shard::labels::Transport;

/// Event streams. A client answers nothing, so there are no pings.
pub(in crate::gateway) static EVENTS: Framing = Framing {
    transport: Transport::Events,
    encoding: &ENCODING,
    ping: None,
    close,
};

static ENCODING: Encoding = Encoding::new(event_len, encode_run).with_notices(NoticeEncoding {
    encode: |notice, _| encode_notice(notice),
    read: read_event,
});

/// A comment, which clients ignore.
pub(super) const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Notice of a message that is left out, which follows its id.
const LEFT_OUT: &[u8] = b"\nevent: gap\ndata: {\"missed\":1}\n\n";

/// Returns the length of the event at the start; `None` if its end is cut off.
fn event_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    Some(end + 2)
}

/// Encodes the messages of a run. In the place of a body that is no message there is a gap.
fn encode_run(run: &Bytes, first: Option<Position>) -> (Bytes, u32) {
    // Only who asks for positions has a stream, so messages have offsets.
    let Some(first) = first else {
        return (Bytes::new(), 0);
    };
    let id = format!("id: {}:", first.epoch);
    let mut out = Vec::with_capacity(2 * run.len());
    let mut count = 0;
    for (offset, message) in encoded_messages(first.offset, run) {
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(Decimal::new(offset).as_bytes());
        match message {
            Some(message) => {
                out.extend_from_slice(b"\ndata: ");
                message.append_to(&mut out);
                out.extend_from_slice(b"\n\n");
            }
            None => out.extend_from_slice(LEFT_OUT),
        }
        count += 1;
    }
    // Queues count lengths, so no run may keep much more alive than it holds.
    if out.capacity() > 2 * out.len() {
        out.shrink_to_fit();
    }
    (out.into(), count)
}

/// Encodes a notice. A welcome has the position before the first message that follows, so that a client that comes back
/// before it has got one misses none. That the server is stopping sets the time after which the client comes back.
fn encode_notice(notice: &Notice) -> Bytes {
    let mut out = String::new();
    if let Notice::Receipt { count: 0, .. } = notice {
        // Each message says where it is.
        return Bytes::new();
    }
    if let Notice::Welcome(welcome) = notice {
        let _ = writeln!(out, "id: {}", welcome.begins_at());
    }
    if let Notice::Stopping { retry } = notice {
        let _ = writeln!(out, "retry: {retry}");
    }
    // An object with one key: the name of the notice.
    let json = serde_json::to_string(notice).unwrap_or_default();
    let pair = json
        .strip_prefix("{\"")
        .and_then(|json| json.strip_suffix('}'));
    if let Some((name, value)) = pair.and_then(|pair| pair.split_once("\":")) {
        let _ = write!(out, "event: {name}\ndata: {value}\n\n");
    }
    out.into()
}

/// Tells what an event is.
fn read_event(event: &[u8]) -> Unit {
    let read = || {
        let text = std::str::from_utf8(event).ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let json = format!("{{\"{}\":{}}}", field("event: ")?, field("data: ")?);
        serde_json::from_str(&json).ok()
    };
    read().map_or(Unit::Message, Unit::Notice)
}

/// Tells a client why its stream ends. It comes back by itself.
fn close(ended: &Ended) -> Option<Bytes> {
    let (_, reason) = for_end(ended)?;
    let event = format!("event: close\ndata: {{\"reason\":\"{reason}\"}}\n\n");
    Some(event.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::channel::SlowReason;
    use crate::protocol::{Cid, Epoch, FrameHeader, Key, Message, Welcome, encode_frame};

    const FIRST: Position = Position {
        epoch: Epoch(0xAB),
        offset: 7,
    };

    fn frame(message: &[u8]) -> Bytes {
        let message = Message {
            uid: "a\nb",
            channel: "c",
            message,
        };
        encode_frame(Cid(1), Key(2), &message).unwrap()
    }

    /// The events, each by its length.
    fn events(mut bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (event, rest) = bytes.split_at(event_len(bytes).unwrap());
            events.push(String::from_utf8(event.to_vec()).unwrap());
            bytes = rest;
        }
        events
    }

    #[test]
    fn each_message_is_an_event_with_its_position() {
        let header = FrameHeader {
            body_len: 4,
            cid: Cid(1),
            key: Key(2),
        };
        let junk = [&header.encode()[..], b"junk"].concat();
        let run = [
            frame(b"one\n\ntwo"),
            frame(b""),
            junk.into(),
            frame(&[0, 255]),
        ]
        .concat();
        let (units, count) = encode_run(&run.into(), Some(FIRST));
        let expected = [
            "id: 00000000000000ab:7\ndata: {\"offset\":7,\"uid\":\"a\\nb\",\"text\":\"one\\n\\ntwo\"}\n\n",
            "id: 00000000000000ab:8\nevent: gap\ndata: {\"missed\":1}\n\n",
            "id: 00000000000000ab:9\ndata: {\"offset\":9,\"uid\":\"a\\nb\",\"base64\":\"AP8=\"}\n\n",
        ];
        assert_eq!(events(&units), expected);
        assert_eq!(count, 3);
        let gap = Notice::Gap {
            missed: 1,
            members: false,
        };
        let read = expected.map(|event| read_event(event.as_bytes()));
        assert_eq!(read, [Unit::Message, Unit::Notice(gap), Unit::Message]);
    }

    #[test]
    fn notices_are_events_with_a_name_and_are_read_again() {
        let welcome = Welcome {
            position: FIRST,
            start: None,
            replay: 2,
            recovered: true,
            missed: Some(0),
            published: None,
        };
        let names = vec!["a\n\nb".into(), "\":".into()];
        for (notice, expected) in [
            (
                Notice::Welcome(welcome),
                "id: 00000000000000ab:5\nevent: welcome\ndata: {\"position\":\"00000000000000ab:7\",\
                 \"replay\":2,\"recovered\":true,\"missed\":0}\n\n",
            ),
            (
                Notice::Members {
                    count: 2,
                    uids: names,
                },
                "event: members\ndata: {\"count\":2,\"uids\":[\"a\\n\\nb\",\"\\\":\"]}\n\n",
            ),
            (
                Notice::Stopping { retry: 2310 },
                "retry: 2310\nevent: stopping\ndata: {\"retry\":2310}\n\n",
            ),
        ] {
            let event = encode_notice(&notice);
            assert_eq!(event, expected);
            assert_eq!(event_len(&event), Some(event.len()));
            assert_eq!(read_event(&event), Unit::Notice(notice));
        }
    }

    #[test]
    fn what_is_no_end_of_an_event_is_none() {
        assert_eq!(event_len(b"id: 1\ndata: x\n"), None);
        assert_eq!(event_len(b""), None);
        assert_eq!(event_len(&COMMENT), Some(COMMENT.len()));
    }

    #[test]
    fn who_is_closed_is_told_why() {
        let stopping = close(&Ended::Stopping).unwrap();
        let expected = "event: close\ndata: {\"reason\":\"the server is stopping\"}\n\n";
        assert_eq!(stopping, expected);
        let slow = close(&Ended::Slow(SlowReason::QueueFull)).unwrap();
        let expected =
            "event: close\ndata: {\"reason\":\"slow member, more than queue_bytes queued\"}\n\n";
        assert_eq!(slow, expected);
        assert_eq!(close(&Ended::Overdue), None);
    }
}
