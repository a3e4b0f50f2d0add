//! A strict reader for the CBOR subset that Mles bodies are made of.
//!
//! Bodies come from anyone, so they are read by this and not by serde_cbor, which nobody maintains.
//! The caller asks for the item that the format has next and gets it or an error. Nothing recurses
//! however deep the input nests, and nothing is allocated. Lengths and integers may be encoded in any
//! of CBOR's widths, but lengths never run past the end of the input.

use super::error::{BodyError, CborType};

/// Reader of one CBOR item after the other.
#[derive(Debug)]
pub(super) struct CborReader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> CborReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// Returns the offset of the next item.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Returns the number of bytes that have not been read.
    pub(super) fn remaining(&self) -> usize {
        self.input.len() - self.at
    }

    /// Reads the head of a map. Returns the number of pairs that follow.
    pub(super) fn map(&mut self) -> Result<u64, BodyError> {
        self.head(CborType::Map)
    }

    /// Reads the head of an array. Returns the number of items that follow.
    pub(super) fn array(&mut self) -> Result<u64, BodyError> {
        self.head(CborType::Array)
    }

    /// Reads an unsigned integer.
    pub(super) fn unsigned(&mut self) -> Result<u64, BodyError> {
        // Its value stands where other items have their length.
        self.head(CborType::Unsigned)
    }

    /// Reads a byte string.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], BodyError> {
        self.string(CborType::Bytes)
    }

    /// Reads a boolean.
    pub(super) fn boolean(&mut self) -> Result<bool, BodyError> {
        let at = self.at;
        match self.head(CborType::Simple)? {
            20 => Ok(false),
            21 => Ok(true),
            _ => Err(BodyError::Malformed { at }),
        }
    }

    /// Reads a text string that need not be UTF-8: for keys, which are compared with known ones anyway.
    pub(super) fn key(&mut self) -> Result<&'a [u8], BodyError> {
        self.string(CborType::Text)
    }

    /// Reads a text string.
    pub(super) fn text(&mut self) -> Result<&'a str, BodyError> {
        let bytes = self.string(CborType::Text)?;
        let start = self.at - bytes.len();
        std::str::from_utf8(bytes).map_err(|error| BodyError::NotUtf8 {
            at: start + error.valid_up_to(),
        })
    }

    /// Skips an item of any type, with all that is in it: the value of a key that is not known.
    pub(super) fn skip(&mut self) -> Result<(), BodyError> {
        // Each item takes a byte at least, so the input ends long before this number.
        let mut items = 1_u64;
        while let Some(rest) = items.checked_sub(1) {
            let at = self.at;
            let (found, n) = self.any_head()?;
            let inner = match found {
                CborType::Bytes | CborType::Text => {
                    let len = usize::try_from(n)
                        .ok()
                        .filter(|&len| len <= self.remaining());
                    self.at += len.ok_or(BodyError::Truncated { at })?;
                    0
                }
                CborType::Array => n,
                CborType::Map => n.saturating_mul(2),
                CborType::Tag => 1,
                CborType::Unsigned | CborType::Negative | CborType::Simple => 0,
            };
            items = rest.saturating_add(inner);
        }
        Ok(())
    }

    /// Checks that everything was read.
    pub(super) fn end(&self) -> Result<(), BodyError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(BodyError::TrailingBytes { at: self.at, count }),
        }
    }

    fn string(&mut self, expected: CborType) -> Result<&'a [u8], BodyError> {
        let item = self.at;
        let len = self.head(expected)?;
        let rest = &self.input[self.at..];
        let string = usize::try_from(len)
            .ok()
            .and_then(|len| rest.get(..len))
            .ok_or(BodyError::Truncated { at: item })?;
        self.at += string.len();
        Ok(string)
    }

    /// Reads the head of an item, whose type must be `expected`. Returns its length, count or value.
    fn head(&mut self, expected: CborType) -> Result<u64, BodyError> {
        let item = self.at;
        let Some(&first) = self.input.get(item) else {
            return Err(BodyError::Truncated { at: item });
        };
        let found = major_type(first);
        if found != expected {
            return Err(BodyError::WrongType {
                at: item,
                expected,
                found,
            });
        }
        self.any_head().map(|(_, n)| n)
    }

    /// Reads the head of an item. Returns its type, and its length, count or value.
    #[inline]
    fn any_head(&mut self) -> Result<(CborType, u64), BodyError> {
        let item = self.at;
        let truncated = BodyError::Truncated { at: item };
        let Some((&first, rest)) = self.input[item..].split_first() else {
            return Err(truncated);
        };
        let found = major_type(first);
        let (len, width) = match first & 0x1F {
            short @ 0..=23 => (Some(u64::from(short)), 0),
            24 => (rest.first().map(|&n| u64::from(n)), 1),
            25 => (rest.first_chunk().map(|&n| u16::from_be_bytes(n).into()), 2),
            26 => (rest.first_chunk().map(|&n| u32::from_be_bytes(n).into()), 4),
            27 => (rest.first_chunk().map(|&n| u64::from_be_bytes(n)), 8),
            31 => {
                return Err(BodyError::Indefinite {
                    at: item,
                    item: found,
                });
            }
            _ => return Err(BodyError::Malformed { at: item }),
        };
        self.at = item + 1 + width;
        Ok((found, len.ok_or(truncated)?))
    }
}

fn major_type(first: u8) -> CborType {
    match first >> 5 {
        0 => CborType::Unsigned,
        1 => CborType::Negative,
        2 => CborType::Bytes,
        3 => CborType::Text,
        4 => CborType::Array,
        5 => CborType::Map,
        6 => CborType::Tag,
        _ => CborType::Simple,
    }
}

/// Returns `slot` for the value of a key, unless the key was there before.
pub(super) fn vacant<'s, T>(
    slot: &'s mut Option<T>,
    key: &'static str,
    at: usize,
) -> Result<&'s mut Option<T>, BodyError> {
    match slot {
        None => Ok(slot),
        Some(_) => Err(BodyError::DuplicateKey { key, at }),
    }
}
