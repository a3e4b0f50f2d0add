//! The examples of the document for programs.

use std::hash::Hasher as _;

use mles::protocol::{HEADER_LEN, is_resync};
use serde_json::{Value, json};
use siphasher::sip::SipHasher24;

use super::annotate::{Cbor, bytes, hex};
use super::blocks_of;

/// A line with a hash: its bytes in hex, the hash, and the strings that the bytes are.
pub(super) struct Hash {
    strings: Vec<String>,
    /// Set if a byte 0xFF stands behind each string.
    is_divided: bool,
}

impl Hash {
    /// Reads the strings of a line, and whether they are divided: everything else in it follows from that.
    pub(super) fn read(line: &str) -> Self {
        let (hashed, strings) = line.split_once(" # ").expect("a comment with the strings");
        let strings = strings.split('"').skip(1).step_by(2);
        Self {
            strings: strings.map(str::to_owned).collect(),
            is_divided: hashed.contains("ff "),
        }
    }

    fn parts(&self) -> Vec<Vec<u8>> {
        let end: &[u8] = if self.is_divided { &[0xFF] } else { &[] };
        let strings = self.strings.iter();
        strings
            .map(|string| [string.as_bytes(), end].concat())
            .collect()
    }

    fn hash(&self) -> String {
        let mut hasher = SipHasher24::new();
        hasher.write(&self.parts().concat());
        format!("{:016x}", hasher.finish())
    }

    /// Returns the line as the document has to show it.
    pub(super) fn shown(&self) -> String {
        let parts: Vec<_> = self.parts().iter().map(|part| hex(part)).collect();
        let strings: Vec<_> = self.strings.iter().map(|s| format!("\"{s}\"")).collect();
        let (parts, strings) = (parts.join(" "), strings.join(", "));
        format!("{parts} -> {} # {strings}", self.hash())
    }
}

/// Returns all vectors of the document.
pub(super) fn of_document() -> Value {
    let frames = blocks_of("frame").into_iter();
    let frames = frames.map(|block| {
        let frame = bytes(&block.text);
        let (header, body) = frame.split_at(HEADER_LEN);
        json!({
            "section": block.section,
            "magic": char::from(header[0]).to_string(),
            "cid": hex(&header[4..8]),
            "key": hex(&header[8..]),
            "body": value(&mut Cbor::new(body)),
            "frame_hex": hex(&frame),
        })
    });
    let bodies = blocks_of("body").into_iter();
    let bodies = bodies.map(|block| {
        let body = bytes(&block.text);
        json!({
            "section": block.section,
            "body": value(&mut Cbor::new(&body)),
            "body_hex": hex(&body),
        })
    });
    let lines = blocks_of("siphash").into_iter();
    let lines = lines.flat_map(|block| block.text.lines().map(Hash::read).collect::<Vec<_>>());
    let hashes = lines.map(|line| {
        json!({
            "strings": line.strings,
            "input_hex": hex(&line.parts().concat()),
            "siphash": line.hash(),
        })
    });
    let notices = blocks_of("json").into_iter();
    let notices = notices.map(|block| block.text.trim_end().to_owned());
    json!({
        "comment": "Made from docs/PROTOCOL.md. A byte string is {\"hex\"}, with \"width\", the length in bytes of \
                    its length, where that is not the shortest; one that is a resync body is {\"resync\"}. An integer \
                    of more than 32 bits is {\"uint\"} in hex.",
        "frames": frames.collect::<Vec<_>>(),
        "bodies": bodies.collect::<Vec<_>>(),
        "siphash": hashes.collect::<Vec<_>>(),
        "notices_json": notices.collect::<Vec<_>>(),
    })
}

/// Returns an item of CBOR as JSON.
fn value(from: &mut Cbor<'_>) -> Value {
    let head = from.head();
    match head.major {
        0 if head.value >> 32 == 0 => json!(head.value),
        0 => json!({ "uint": format!("{:016x}", head.value) }),
        2 => {
            let string = from.take(head.value);
            if is_resync(string) {
                return json!({ "resync": value(&mut Cbor::new(string)) });
            }
            if head.is_shortest() {
                json!({ "hex": hex(string) })
            } else {
                json!({ "hex": hex(string), "width": head.bytes.len() - 1 })
            }
        }
        3 => json!(std::str::from_utf8(from.take(head.value)).unwrap()),
        4 => (0..head.value).map(|_| value(from)).collect(),
        5 => {
            let pairs = (0..head.value).map(|_| {
                let key = value(from);
                (key.as_str().unwrap().to_owned(), value(from))
            });
            Value::Object(pairs.collect())
        }
        _ => json!(head.value == 21),
    }
}
