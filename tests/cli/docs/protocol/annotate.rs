//! Frames and bodies in hex, each item with what it means, as the document shows them.

use std::fmt::Write as _;

use mles::protocol::{
    HEADER_LEN, Key, MAX_BODY_LEN, Message, ResyncLimits, is_resync, resync_join, take_extensions,
};

/// The secret of the server that the document's examples are from.
pub(super) const SECRET: &str = "secret";
/// Column that comments begin behind.
const COMMENTS: usize = 44;
/// Longest line of hex in characters.
const WIDTH: usize = 72;

/// Returns the bytes that lines of hex stand for, comments left out.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let code = text.lines().map(|line| line.split('#').next().unwrap());
    let digits: String = code.flat_map(str::split_whitespace).collect();
    unhex(&digits).unwrap_or_else(|| panic!("not hex: {text}"))
}

pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs
        .map(|pair| byte(pair).filter(|_| pair.len() == 2))
        .collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// Returns a frame as the document has to show it.
pub(super) fn frame(frame: &[u8]) -> String {
    let mut notes = Notes::default();
    notes.frame(frame, 0);
    notes.text
}

/// Returns a body as the document has to show it.
pub(super) fn body(body: &[u8]) -> String {
    let mut notes = Notes::default();
    notes.item(&mut Cbor::new(body), 0, "", Vec::new());
    notes.text
}

/// The text as far as it is written.
#[derive(Default)]
struct Notes {
    text: String,
}

impl Notes {
    fn frame(&mut self, frame: &[u8], indent: usize) {
        let (header, body) = frame.split_at(HEADER_LEN);
        let len = body.len();
        assert_eq!(
            header[1..4],
            u32::try_from(len).unwrap().to_be_bytes()[1..],
            "length"
        );
        let key = u64::from_be_bytes(*header.last_chunk().unwrap());
        let none = if header[4..8] == [0; 4] { ": 0" } else { "" };
        let magic = format!("'{}'", char::from(header[0]));
        self.line(indent, vec![hex(&header[..1])], &magic);
        let length = format!("length of the body: {len}");
        self.line(indent, vec![hex(&header[1..4])], &length);
        let cid = format!("connection id{none}");
        self.line(indent, vec![hex(&header[4..8])], &cid);
        self.line(indent, vec![hex(&header[8..])], &key_note(Key(key), body));
        self.item(&mut Cbor::new(body), indent, "", Vec::new());
    }

    /// Writes the next item, behind the key of its pair.
    fn item(&mut self, from: &mut Cbor<'_>, indent: usize, name: &str, key: Vec<String>) {
        let head = from.head();
        let mut hexes = key;
        hexes.push(hex(head.bytes));
        let label = if name.is_empty() {
            String::new()
        } else {
            format!("\"{name}\": ")
        };
        match head.major {
            0 if head.value >> 32 == 0 => {
                self.line(indent, hexes, &format!("{label}{}", head.value));
            }
            0 => self.line(indent, hexes, &format!("{label}0x{:016x}", head.value)),
            2 => self.byte_string(from, indent, &head, name, &label, hexes),
            3 => {
                let text = from.take(head.value);
                hexes.push(hex(text));
                let text = std::str::from_utf8(text).unwrap();
                self.line(indent, hexes, &format!("{label}\"{text}\""));
            }
            4 => {
                let count = head.value;
                self.line(indent, hexes, &format!("{label}array of {count}"));
                (0..count).for_each(|_| self.item(from, indent + 1, "", Vec::new()));
            }
            5 => {
                let count = head.value;
                self.line(indent, hexes, &format!("{label}map of {count}"));
                for _ in 0..count {
                    let head = from.head();
                    let name = from.take(head.value);
                    let key = vec![hex(head.bytes), hex(name)];
                    self.item(from, indent + 1, std::str::from_utf8(name).unwrap(), key);
                }
            }
            7 => self.line(indent, hexes, &format!("{label}{}", head.value == 21)),
            other => panic!("an item of major type {other}"),
        }
    }

    fn byte_string(
        &mut self,
        from: &mut Cbor<'_>,
        indent: usize,
        head: &Head<'_>,
        name: &str,
        label: &str,
        mut hexes: Vec<String>,
    ) {
        let string = from.take(head.value);
        if name == "encoded_msg" {
            self.line(indent, hexes, &format!("{label}a frame"));
            return self.frame(string, indent + 1);
        }
        if is_resync(string) {
            self.line(indent, hexes, &format!("{label}a resync body"));
            return self.item(&mut Cbor::new(string), indent + 1, "", Vec::new());
        }
        hexes.push(hex(string));
        let mark = if head.is_shortest() {
            String::new()
        } else {
            format!(", length in {} bytes", head.bytes.len() - 1)
        };
        self.line(
            indent,
            hexes,
            &format!("{label}{}{mark}", diagnostic(string)),
        );
    }

    /// Writes a line, or as many as the hex takes, with a comment behind the last.
    fn line(&mut self, indent: usize, hexes: Vec<String>, note: &str) {
        let margin = "  ".repeat(indent);
        let room = WIDTH - margin.len();
        let mut line = String::new();
        for mut word in hexes {
            while !word.is_empty() {
                let space = usize::from(!line.is_empty());
                if word.len() <= room.saturating_sub(line.len() + space) {
                    line.push_str(&" ".repeat(space));
                    line.push_str(&std::mem::take(&mut word));
                } else if line.is_empty() {
                    let rest = word.split_off(room / 2 * 2);
                    writeln!(self.text, "{margin}{word}").unwrap();
                    word = rest;
                } else {
                    writeln!(self.text, "{margin}{line}").unwrap();
                    line.clear();
                }
            }
        }
        let line = format!("{margin}{line}");
        writeln!(self.text, "{line:<COMMENTS$}  # {note}").unwrap();
    }
}

/// Returns what a header's key is, if it is not that of the example server's secret.
fn key_note(key: Key, body: &[u8]) -> String {
    let join = resync_join(
        body,
        ResyncLimits {
            max_frames: usize::MAX,
            max_body: MAX_BODY_LEN,
        },
    );
    let body = join.map_or(body, |join| &join[HEADER_LEN..]);
    let body = take_extensions(body).map(|(body, _)| body);
    let message = body.as_deref().ok().and_then(|b| Message::decode(b).ok());
    let of_secret = message.filter(|m| Key::from_parts([SECRET, m.uid, m.channel]) == key);
    match of_secret {
        Some(Message { uid, channel, .. }) => {
            format!("key: SipHash of \"{SECRET}\", \"{uid}\", \"{channel}\"")
        }
        None if key == Key(0) => "key: 0".to_owned(),
        None => "key: the id of the link".to_owned(),
    }
}

/// Returns a byte string in diagnostic notation: as text where that is possible.
fn diagnostic(string: &[u8]) -> String {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\'';
    if string.iter().all(is_plain) {
        format!("'{}'", std::str::from_utf8(string).unwrap())
    } else {
        format!("h'{}'", hex(string))
    }
}

/// The head of an item.
pub(super) struct Head<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) major: u8,
    pub(super) value: u64,
}

impl Head<'_> {
    pub(super) fn is_shortest(&self) -> bool {
        let len = match self.value {
            0..=23 => 1,
            24..=0xFF => 2,
            0x100..=0xFFFF => 3,
            0x1_0000..=0xFFFF_FFFF => 5,
            _ => 9,
        };
        len == self.bytes.len()
    }
}

/// Reads CBOR of any kind, which the library's reader, made for what is expected, does not.
pub(super) struct Cbor<'a> {
    rest: &'a [u8],
}

impl<'a> Cbor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, len: u64) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(usize::try_from(len).unwrap());
        self.rest = rest;
        taken
    }

    pub(super) fn head(&mut self) -> Head<'a> {
        let (major, short) = (self.rest[0] >> 5, self.rest[0] & 0x1F);
        let width = match short {
            0..=23 => 0,
            24..=27 => 1 << (short - 24),
            other => panic!("a length of the form {other}"),
        };
        let bytes = self.take(1 + width);
        let long = bytes[1..]
            .iter()
            .fold(0, |n, byte| n << 8 | u64::from(*byte));
        let value = if width == 0 { short.into() } else { long };
        Head {
            bytes,
            major,
            value,
        }
    }
}
