//! Records: keys and values of the tables, each value with a checksum of its own.
//!
//! A value is a version byte, the checksum of the key and all that follows, and the fields, in little-endian order.
//! Keys are big-endian numbers, so that the database keeps a channel together and its runs in order.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use super::batch::{ChannelKey, ChannelState, StoredPublisher, StoredRun};
use super::database::SEPARATED;
use super::secret::PublisherSecret;
use crate::channel::{FrameRun, Origin, PastEpoch, Published, PublisherId};
use crate::protocol::{BodyCheck, Epoch, MAX_BODY_LEN, Stop, scan};

/// Version of the records that are written.
const VERSION: u8 = 1;
/// Length of what comes before the fields.
const PREFIX: usize = 1 + 8;

/// Key of the number of the last commit in [`Table::Store`](super::engine::Table::Store).
pub(super) const COMMIT: &[u8] = b"commit";
/// Key of the secret for names of publishers there.
pub(super) const SECRET: &[u8] = b"secret";

/// A record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum BadRecord {
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its version {0} is not known")]
    Version(u8),
    #[error("its fields are not those of such a record")]
    Fields,
}

/// State of a channel together with what the store counts of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChannelRecord {
    pub(super) state: ChannelState,
    /// Offset of the oldest message that is kept.
    pub(super) first: u64,
    /// Number of runs on disk.
    pub(super) runs: u64,
    /// Bytes of frames in them.
    pub(super) bytes: u64,
    /// When the newest of them was stored.
    pub(super) newest_at: SystemTime,
}

/// Record of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublisherRecord {
    Known(StoredPublisher),
    /// It was forgotten, and runs up to that offset may name it still.
    Forgotten(u64),
}

impl PublisherRecord {
    /// Returns the offset up to which runs add nothing to it.
    pub(super) fn counted(&self) -> u64 {
        match self {
            Self::Known(known) => known.counted,
            Self::Forgotten(counted) => *counted,
        }
    }
}

/// Returns the key of a channel.
pub(super) fn channel_key(channel: ChannelKey) -> Bytes {
    Bytes::copy_from_slice(&channel.0.to_be_bytes())
}

/// Returns the key of a run or a publisher: its channel, and the offset of its last message or its id.
pub(super) fn key_in(channel: ChannelKey, number: u64) -> Bytes {
    [channel.0.to_be_bytes(), number.to_be_bytes()]
        .concat()
        .into()
}

/// Reads the key of a channel.
pub(super) fn read_channel_key(key: &[u8]) -> Option<ChannelKey> {
    let key = key.try_into().ok()?;
    Some(ChannelKey(u64::from_be_bytes(key)))
}

/// Reads the key of a run or a publisher.
pub(super) fn read_key_in(key: &[u8]) -> Option<(ChannelKey, u64)> {
    let (channel, number) = key.split_at_checked(8)?;
    let number = number.try_into().ok()?;
    Some((read_channel_key(channel)?, u64::from_be_bytes(number)))
}

/// Encodes a number.
pub(super) fn encode_number(key: &[u8], number: u64) -> Bytes {
    let mut out = Writer::new(8);
    out.number(number);
    out.finish(key)
}

/// Decodes a number.
pub(super) fn decode_number(key: &[u8], value: Bytes) -> Result<u64, BadRecord> {
    let mut fields = Fields::open(key, value)?;
    let number = fields.number()?;
    fields.end()?;
    Ok(number)
}

/// Encodes the secret for the names of publishers.
pub(super) fn encode_secret(secret: PublisherSecret) -> Bytes {
    let mut out = Writer::new(16);
    out.0.extend(secret.to_bytes());
    out.finish(SECRET)
}

/// Decodes the secret for the names of publishers.
pub(super) fn decode_secret(value: Bytes) -> Result<PublisherSecret, BadRecord> {
    let mut fields = Fields::open(SECRET, value)?;
    let secret = PublisherSecret::from_bytes(fields.take()?);
    fields.end()?;
    Ok(secret)
}

impl ChannelRecord {
    /// Encodes it.
    pub(super) fn encode(&self) -> (Bytes, Bytes) {
        let state = &self.state;
        let mut out = Writer::new(128 + state.name.len());
        out.number(state.epoch.0);
        out.number(state.newest);
        out.number(self.first);
        out.number(self.runs);
        out.number(self.bytes);
        out.time(self.newest_at);
        out.time_or_none(state.idle_since);
        // More are never kept.
        let past = &state.past[state.past.len().saturating_sub(u8::MAX.into())..];
        out.0.push(u8::try_from(past.len()).unwrap_or(u8::MAX));
        for past in past {
            out.number(past.epoch.0);
            out.number(past.end);
        }
        out.0.extend_from_slice(state.name.as_bytes());
        let key = channel_key(state.key);
        let value = out.finish(&key);
        (key, value)
    }

    /// Decodes it.
    pub(super) fn decode(key: &[u8], value: Bytes) -> Result<Self, BadRecord> {
        let channel = read_channel_key(key).ok_or(BadRecord::Fields)?;
        let mut fields = Fields::open(key, value)?;
        let epoch = Epoch(fields.number()?);
        let newest = fields.number()?;
        let first = fields.number()?;
        let runs = fields.number()?;
        let bytes = fields.number()?;
        let newest_at = fields.time()?;
        let idle_since = fields.time_or_none()?;
        let mut past = Vec::new();
        for _ in 0..fields.byte()? {
            let epoch = Epoch(fields.number()?);
            let end = fields.number()?;
            past.push(PastEpoch { epoch, end });
        }
        let name = std::str::from_utf8(&fields.0).map_err(|_| BadRecord::Fields)?;
        Ok(Self {
            state: ChannelState {
                key: channel,
                name: name.into(),
                epoch,
                past,
                newest,
                idle_since,
            },
            first,
            runs,
            bytes,
            newest_at,
        })
    }
}

/// Encodes a run.
pub(super) fn encode_run(channel: ChannelKey, run: &StoredRun) -> (Bytes, Bytes) {
    let frames = run.run.bytes();
    let mut out = Writer::new(64 + frames.len());
    let origin = match run.origin {
        Origin::Member => 0,
        Origin::Upstream(index) => 1 + u16::from(index),
    };
    out.0.extend(origin.to_le_bytes());
    out.time(run.at);
    out.0.extend(run.messages.to_le_bytes());
    out.0.push(u8::from(run.publisher.is_some()));
    out.number(run.publisher.map_or(0, |publisher| publisher.0));
    out.0.extend_from_slice(frames);
    let key = key_in(channel, run.end);
    let value = out.finish(&key);
    (key, value)
}

/// Decodes a run, and checks its frames. What is not much longer than its frames is kept as it is, not copied.
pub(super) fn decode_run(key: &[u8], value: Bytes) -> Result<StoredRun, BadRecord> {
    let (_, end) = read_key_in(key).ok_or(BadRecord::Fields)?;
    let buffer = buffer_of(value.len());
    let mut fields = Fields::open(key, value)?;
    let origin = match u16::from_le_bytes(fields.take()?) {
        0 => Origin::Member,
        index => Origin::Upstream(u8::try_from(index - 1).map_err(|_| BadRecord::Fields)?),
    };
    let at = fields.time()?;
    let messages = u32::from_le_bytes(fields.take()?);
    let has_publisher = fields.byte()? == 1;
    let publisher = PublisherId(fields.number()?);
    let frames = fields.0;
    let scanned = scan(&frames, MAX_BODY_LEN, &BodyCheck::Off);
    if scanned.stop != Stop::End || frames.is_empty() {
        return Err(BadRecord::Fields);
    }
    let count = u32::try_from(scanned.run.frames).map_err(|_| BadRecord::Fields)?;
    let run = FrameRun::slice_of(frames, count, buffer);
    if messages == 0 || run.messages() != messages as usize || end < u64::from(messages) {
        return Err(BadRecord::Fields);
    }
    Ok(StoredRun {
        run,
        end,
        messages,
        at,
        origin,
        publisher: has_publisher.then_some(publisher),
    })
}

/// Returns the most bytes of the buffer that a value of `len` bytes is in.
fn buffer_of(len: usize) -> usize {
    let is_separated = len >= SEPARATED as usize;
    len + if is_separated { VALUE_HEADER } else { BLOCK }
}

/// Bytes that a buffer of its own has besides a value.
const VALUE_HEADER: usize = 64;
/// Bytes that the buffer of a small value may have besides it: the database keeps a whole block in memory with each of them.
const BLOCK: usize = 8 << 10;

impl PublisherRecord {
    /// Encodes it.
    pub(super) fn encode(&self, channel: ChannelKey, publisher: PublisherId) -> (Bytes, Bytes) {
        let mut out = Writer::new(64);
        match self {
            Self::Forgotten(counted) => {
                out.0.push(0);
                out.number(*counted);
            }
            Self::Known(known) => {
                out.0.push(1);
                out.number(known.counted);
                let published = known.published;
                for number in [
                    published.count,
                    published.first,
                    published.first_end,
                    published.since,
                ] {
                    out.number(number);
                }
                out.time_or_none(known.at);
            }
        }
        let key = key_in(channel, publisher.0);
        let value = out.finish(&key);
        (key, value)
    }

    /// Decodes it.
    pub(super) fn decode(key: &[u8], value: Bytes) -> Result<Self, BadRecord> {
        let mut fields = Fields::open(key, value)?;
        let is_known = fields.byte()? == 1;
        let counted = fields.number()?;
        if !is_known {
            fields.end()?;
            return Ok(Self::Forgotten(counted));
        }
        let published = Published {
            count: fields.number()?,
            first: fields.number()?,
            first_end: fields.number()?,
            since: fields.number()?,
        };
        let at = fields.time_or_none()?;
        fields.end()?;
        Ok(Self::Known(StoredPublisher {
            published,
            at,
            counted,
        }))
    }
}

/// Writes the fields of a value.
struct Writer(Vec<u8>);

impl Writer {
    /// Begins a value whose fields take about `len` bytes.
    fn new(len: usize) -> Self {
        let mut value = Vec::with_capacity(PREFIX + len);
        value.push(VERSION);
        value.extend([0; 8]);
        Self(value)
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    /// Appends a time in milliseconds since 1970; what was before that becomes that.
    fn time(&mut self, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        self.number(u64::try_from(millis).unwrap_or(u64::MAX));
    }

    fn time_or_none(&mut self, time: Option<SystemTime>) {
        self.0.push(u8::from(time.is_some()));
        self.time(time.unwrap_or(SystemTime::UNIX_EPOCH));
    }

    /// Puts the checksum in.
    fn finish(mut self, key: &[u8]) -> Bytes {
        let sum = checksum(key, &self.0[PREFIX..]);
        self.0[1..PREFIX].copy_from_slice(&sum.to_le_bytes());
        self.0.into()
    }
}

/// Returns the checksum of a record.
fn checksum(key: &[u8], fields: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&[VERSION]);
    hasher.update(key);
    hasher.update(fields);
    hasher.digest()
}

/// The fields of a value that were not read yet.
struct Fields(Bytes);

impl Fields {
    /// Checks version and checksum.
    fn open(key: &[u8], mut value: Bytes) -> Result<Self, BadRecord> {
        if value.len() < PREFIX {
            return Err(BadRecord::Fields);
        }
        if value[0] != VERSION {
            return Err(BadRecord::Version(value[0]));
        }
        let fields = value.split_off(PREFIX);
        if value[1..] != checksum(key, &fields).to_le_bytes() {
            return Err(BadRecord::Checksum);
        }
        Ok(Self(fields))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadRecord> {
        let (taken, _) = self.0.split_first_chunk().ok_or(BadRecord::Fields)?;
        let taken = *taken;
        let _ = self.0.split_to(N);
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BadRecord> {
        Ok(self.take::<1>()?[0])
    }

    fn number(&mut self) -> Result<u64, BadRecord> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn time(&mut self) -> Result<SystemTime, BadRecord> {
        let since = Duration::from_millis(self.number()?);
        SystemTime::UNIX_EPOCH
            .checked_add(since)
            .ok_or(BadRecord::Fields)
    }

    fn time_or_none(&mut self) -> Result<Option<SystemTime>, BadRecord> {
        let is_some = self.byte()? == 1;
        let time = self.time()?;
        Ok(is_some.then_some(time))
    }

    fn end(self) -> Result<(), BadRecord> {
        self.0.is_empty().then_some(()).ok_or(BadRecord::Fields)
    }
}
