//! Records as bytes.
//!
//! A record is a version byte, the checksum of that and of all that follows, the head, a table of sections, and then the frames of all
//! of them, back to back. Numbers are little-endian. Frames are not encoded again, and what is decoded shares the bytes of
//! the record, but for small runs of large records: a run keeps no more than twice its length alive.
//!
//! Every node reads every record, whoever wrote it, so nothing in one is believed before it was checked: neither lengths,
//! nor that frames are frames. A record of a version that is not known cannot be skipped, as other nodes may know it and
//! give its messages their place. One that is damaged is skipped by all alike, as all have the same bytes.

use bytes::Bytes;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    Author, Basis, Content, FleetEpoch, Incarnation, MAX_MESSAGES, NamedPublication, Record,
    RecordBody, RecordHead, Section, SegmentDigest, Sequence,
};
use crate::channel::{FrameRun, PublisherId};
use crate::protocol::{BodyCheck, Epoch, MAX_BODY_LEN, Stop, scan};

/// Version of the records that are written, and the only one that is read.
pub(crate) const VERSION: u8 = 1;
/// Length of the version and the checksum.
const PREFIX: usize = 1 + 8;
/// Length of the head and the kind of body.
const HEAD: usize = 6 * 8 + 1;
/// Length of what comes before the sections.
pub(super) const SECTIONS_AT: usize = PREFIX + HEAD + 4;
/// Shortest entry of the table.
const SHORTEST_ENTRY: usize = 1 + 2 + 8 + 8;

/// A record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadRecord {
    /// A later version of the program has written it.
    #[error("its version {0} is not known")]
    Version(u8),
    /// It is not as it was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// Its checksum is right, and still it is no record.
    #[error("its fields are not those of a record")]
    Fields,
}

/// What a body says, as one byte.
mod body {
    pub(super) const SECTIONS: u8 = 0;
    pub(super) const EPOCH: u8 = 1;
    pub(super) const HEARTBEAT: u8 = 2;
    pub(super) const HEARTBEAT_WITH_DIGEST: u8 = 3;
}

/// What a section is, as one byte.
mod kind {
    pub(super) const RUN: u8 = 0;
    pub(super) const RUN_OF_PUBLISHER: u8 = 1;
    pub(super) const NAMED_RUN: u8 = 2;
    pub(super) const SEAT: u8 = 3;
    pub(super) const SEAT_ANEW: u8 = 4;
    pub(super) const HINTS: u8 = 5;
}

/// Returns the checksum of a record of some version, of which `rest` comes behind the checksum.
fn checksum(version: u8, rest: &[u8]) -> u64 {
    xxh3_64_with_seed(rest, version.into())
}

impl Record {
    /// Encodes the record.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.push(VERSION);
        put(&mut out, 0);
        let RecordHead {
            incarnation,
            batch,
            basis:
                Basis {
                    epoch,
                    sequence,
                    at_ms,
                },
        } = self.head;
        for number in [incarnation.0, batch, epoch.number, epoch.id.0] {
            put(&mut out, number);
        }
        put(&mut out, sequence.0);
        put(&mut out, at_ms);
        match &self.body {
            RecordBody::Sections(sections) => put_sections(&mut out, sections),
            RecordBody::Epoch => out.push(body::EPOCH),
            RecordBody::Heartbeat(None) => out.push(body::HEARTBEAT),
            RecordBody::Heartbeat(Some(digest)) => {
                out.push(body::HEARTBEAT_WITH_DIGEST);
                put(&mut out, digest.segment);
                put(&mut out, digest.digest);
            }
        }
        let sum = checksum(VERSION, &out[PREFIX..]);
        out[1..PREFIX].copy_from_slice(&sum.to_le_bytes());
        out.into()
    }

    fn encoded_len(&self) -> usize {
        match &self.body {
            RecordBody::Sections(sections) => {
                SECTIONS_AT + sections.iter().map(Section::encoded_len).sum::<usize>()
            }
            RecordBody::Epoch | RecordBody::Heartbeat(_) => PREFIX + HEAD + 16,
        }
    }

    /// Decodes a record.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, BadRecord> {
        let mut fields = Fields(bytes);
        let version = fields.byte()?;
        if fields.number()? != checksum(version, fields.0) {
            return Err(BadRecord::Checksum);
        }
        if version != VERSION {
            return Err(BadRecord::Version(version));
        }
        let head = fields.head()?;
        let body = match fields.byte()? {
            body::SECTIONS => return decode_sections(head, fields, bytes),
            body::EPOCH => RecordBody::Epoch,
            body::HEARTBEAT => RecordBody::Heartbeat(None),
            body::HEARTBEAT_WITH_DIGEST => {
                let (segment, digest) = (fields.number()?, fields.number()?);
                RecordBody::Heartbeat(Some(SegmentDigest { segment, digest }))
            }
            _ => return Err(BadRecord::Fields),
        };
        fields.end()?;
        Ok(Self { head, body })
    }
}

/// Decodes any bytes, and encodes the record that they are; `None` if they are none.
#[cfg(feature = "fuzzing")]
pub fn encode_again(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = Record::decode(&Bytes::copy_from_slice(bytes)).ok()?;
    Some(record.encode().to_vec())
}

impl Section {
    /// Returns the number of bytes that it takes in a record.
    pub(super) fn encoded_len(&self) -> usize {
        let content = match &self.content {
            Content::Run { run, by, .. } => {
                let by = match by {
                    Author::Unnamed => 0,
                    Author::Publisher(_) => 8,
                    Author::Publication(_) => 16,
                };
                by + 4 + run.bytes().len()
            }
            Content::Seat { .. } => 8,
            Content::Hints { run } => 4 + run.bytes().len(),
        };
        SHORTEST_ENTRY + self.channel.len() + content
    }

    /// Returns the number of its messages.
    pub(super) fn messages(&self) -> u64 {
        match &self.content {
            Content::Run { messages, .. } => u64::from(*messages),
            Content::Seat { .. } | Content::Hints { .. } => 0,
        }
    }
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend(number.to_le_bytes());
}

/// Puts a length of less than 4 GiB; the packer lets no longer record come about.
fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_sections(out: &mut Vec<u8>, sections: &[Section]) {
    out.push(body::SECTIONS);
    put_len(out, sections.len());
    for section in sections {
        put_entry(out, section);
    }
    for section in sections {
        match &section.content {
            Content::Run { run, .. } | Content::Hints { run } => out.extend_from_slice(run.bytes()),
            Content::Seat { .. } => {}
        }
    }
}

fn put_entry(out: &mut Vec<u8>, section: &Section) {
    let kind = match &section.content {
        Content::Run { by, .. } => match by {
            Author::Unnamed => kind::RUN,
            Author::Publisher(_) => kind::RUN_OF_PUBLISHER,
            Author::Publication(_) => kind::NAMED_RUN,
        },
        Content::Seat { counts_anew, .. } if *counts_anew => kind::SEAT_ANEW,
        Content::Seat { .. } => kind::SEAT,
        Content::Hints { .. } => kind::HINTS,
    };
    out.push(kind);
    let name = section.channel.as_bytes();
    let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
    out.extend(len.to_le_bytes());
    out.extend_from_slice(name);
    put(out, section.session);
    put(out, section.ticket);
    match &section.content {
        Content::Run { run, by, .. } => {
            match by {
                Author::Unnamed => {}
                Author::Publisher(publisher) => put(out, publisher.0),
                Author::Publication(named) => {
                    put(out, named.publisher.0);
                    put(out, named.content);
                }
            }
            put_len(out, run.bytes().len());
        }
        Content::Seat { publisher, .. } => put(out, publisher.0),
        Content::Hints { run } => put_len(out, run.bytes().len()),
    }
}

fn decode_sections(
    head: RecordHead,
    mut fields: Fields<'_>,
    bytes: &Bytes,
) -> Result<Record, BadRecord> {
    let count = fields.len()?;
    // Nothing is allocated for a number that the bytes cannot bear out.
    if count > fields.0.len() / SHORTEST_ENTRY {
        return Err(BadRecord::Fields);
    }
    let entries = (0..count).map(|_| Entry::read(&mut fields));
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let mut frames = bytes.slice_ref(fields.0);
    let mut sections = Vec::with_capacity(count);
    for entry in entries {
        if entry.len > frames.len() {
            return Err(BadRecord::Fields);
        }
        let of_entry = frames.split_to(entry.len);
        sections.push(entry.into_section(of_entry, bytes.len())?);
    }
    if !frames.is_empty() || sections.iter().map(Section::messages).sum::<u64>() > MAX_MESSAGES {
        return Err(BadRecord::Fields);
    }
    let body = RecordBody::Sections(sections);
    Ok(Record { head, body })
}

/// An entry of the table.
struct Entry<'a> {
    kind: u8,
    channel: &'a str,
    session: u64,
    ticket: u64,
    /// Who has made it, for those kinds that say so.
    publisher: PublisherId,
    /// Hash of what it says, where it has a name.
    content: u64,
    /// Length of its frames.
    len: usize,
}

impl<'a> Entry<'a> {
    fn read(fields: &mut Fields<'a>) -> Result<Self, BadRecord> {
        let kind = fields.byte()?;
        let len = u16::from_le_bytes(fields.take()?);
        let channel = fields.bytes(len.into())?;
        let channel = std::str::from_utf8(channel).map_err(|_| BadRecord::Fields)?;
        let mut entry = Self {
            kind,
            channel,
            session: fields.number()?,
            ticket: fields.number()?,
            publisher: PublisherId(0),
            content: 0,
            len: 0,
        };
        match kind {
            kind::RUN | kind::HINTS => entry.len = fields.len()?,
            kind::RUN_OF_PUBLISHER => {
                entry.publisher = PublisherId(fields.number()?);
                entry.len = fields.len()?;
            }
            kind::NAMED_RUN => {
                entry.publisher = PublisherId(fields.number()?);
                entry.content = fields.number()?;
                entry.len = fields.len()?;
            }
            kind::SEAT | kind::SEAT_ANEW => entry.publisher = PublisherId(fields.number()?),
            _ => return Err(BadRecord::Fields),
        }
        Ok(entry)
    }

    /// Returns the section with these frames, which are part of a record of `record_len` bytes.
    fn into_section(self, frames: Bytes, record_len: usize) -> Result<Section, BadRecord> {
        let publisher = self.publisher;
        let by = match self.kind {
            kind::SEAT | kind::SEAT_ANEW => None,
            kind::RUN_OF_PUBLISHER => Some(Author::Publisher(publisher)),
            kind::NAMED_RUN => Some(Author::Publication(NamedPublication {
                publisher,
                content: self.content,
            })),
            _ => Some(Author::Unnamed),
        };
        let content = match by {
            None => Content::Seat {
                publisher,
                counts_anew: self.kind == kind::SEAT_ANEW,
            },
            Some(_) if self.kind == kind::HINTS => Content::Hints {
                run: checked_run(frames, record_len)?,
            },
            Some(by) => {
                let run = checked_run(frames, record_len)?;
                let messages = u32::try_from(run.messages()).map_err(|_| BadRecord::Fields)?;
                Content::Run { run, messages, by }
            }
        };
        Ok(Section {
            channel: self.channel.into(),
            session: self.session,
            ticket: self.ticket,
            content,
        })
    }
}

/// Returns the run of these frames, once the scanner has found nothing else in them.
fn checked_run(frames: Bytes, record_len: usize) -> Result<FrameRun, BadRecord> {
    let scanned = scan(&frames, MAX_BODY_LEN, &BodyCheck::Off);
    if scanned.stop != Stop::End || frames.is_empty() {
        return Err(BadRecord::Fields);
    }
    let count = u32::try_from(scanned.run.frames).map_err(|_| BadRecord::Fields)?;
    Ok(FrameRun::slice_of(frames, count, record_len))
}

/// What is left of a record to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], BadRecord> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(BadRecord::Fields)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadRecord> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(BadRecord::Fields)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> Result<u8, BadRecord> {
        let [byte] = self.take()?;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, BadRecord> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn len(&mut self) -> Result<usize, BadRecord> {
        let len = u32::from_le_bytes(self.take()?);
        usize::try_from(len).map_err(|_| BadRecord::Fields)
    }

    fn head(&mut self) -> Result<RecordHead, BadRecord> {
        let (incarnation, batch) = (Incarnation(self.number()?), self.number()?);
        let (number, id) = (self.number()?, Epoch(self.number()?));
        Ok(RecordHead {
            incarnation,
            batch,
            basis: Basis {
                epoch: FleetEpoch { number, id },
                sequence: Sequence(self.number()?),
                at_ms: self.number()?,
            },
        })
    }

    fn end(&self) -> Result<(), BadRecord> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(BadRecord::Fields)
        }
    }
}
