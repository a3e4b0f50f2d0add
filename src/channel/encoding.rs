//! Encodings of queues.

use bytes::Bytes;

use super::form::Tracking;
use super::numbered::Numbers;
use super::run::FrameRun;
use crate::protocol::{NOTICE_MAGIC, Notice, Position, frame_len, frames, is_presence};

/// The encoding of a queue: the units that it is made of, none of which may be torn apart, and how frames
/// become such units.
///
/// The core itself knows [`FRAMES`]. Who adds members that are sent anything else brings a `static` for
/// it. Two encodings are equal if they are the same `static`.
#[derive(Debug)]
pub struct Encoding {
    /// The encoding for members that are sent notices only. Without it such members are sent nothing.
    #[cfg_attr(
        not(feature = "server"),
        allow(
            dead_code,
            reason = "only servers have members without the right to subscribe"
        )
    )]
    silent: Option<&'static Self>,
    /// `true` if frames become no units.
    is_silent: bool,
    unit_len: fn(&[u8]) -> Option<usize>,
    encode: fn(&Bytes, Option<Position>) -> (Bytes, u32),
    notices: Option<NoticeEncoding>,
}

/// How a queue holds the notices for a member that has asked for positions.
#[derive(Debug)]
pub(crate) struct NoticeEncoding {
    /// Makes the unit of a notice about the channel of that name.
    pub(crate) encode: fn(&Notice, &str) -> Bytes,
    /// Tells what a whole unit is that is left out.
    pub(crate) read: fn(&[u8]) -> Unit,
}

/// A unit of a queue, as far as it matters to who counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A message, which has an offset.
    Message,
    /// A hint of presence, which has none.
    Hint,
    /// A notice.
    Notice(Notice),
}

/// Frames, unchanged.
pub static FRAMES: Encoding = PLAIN.with_silent(&SILENT_FRAMES);

static SILENT_FRAMES: Encoding = PLAIN.silenced();

const PLAIN: Encoding = Encoding::new(frame_len, |run, _| {
    let count = u32::try_from(frames(run).count());
    (run.clone(), count.unwrap_or(u32::MAX))
})
.with_notices(NoticeEncoding {
    encode: |notice, _| notice.encode(),
    read: read_frame,
});

fn read_frame(frame: &[u8]) -> Unit {
    if frame.first() == Some(&NOTICE_MAGIC) {
        return Notice::decode(frame).map_or(Unit::Hint, Unit::Notice);
    }
    if is_presence(frame) {
        Unit::Hint
    } else {
        Unit::Message
    }
}

/// No units, whatever the frames: for a member that takes nothing any more.
#[cfg(feature = "server")]
pub(super) static NOTHING: Encoding = Encoding::new(frame_len, nothing).silenced();

fn nothing(_: &Bytes, _: Option<Position>) -> (Bytes, u32) {
    (Bytes::new(), 0)
}

impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Encoding {}

impl Encoding {
    /// Creates an encoding.
    ///
    /// `unit_len` returns the length of the unit at the start of a slice, `None` if its head is cut.
    /// `encode` makes units of whole frames, and returns how many units there are. It is told the position of the
    /// first message among them, if the channel is numbered.
    pub(crate) const fn new(
        unit_len: fn(&[u8]) -> Option<usize>,
        encode: fn(&Bytes, Option<Position>) -> (Bytes, u32),
    ) -> Self {
        Self {
            silent: None,
            is_silent: false,
            unit_len,
            encode,
            notices: None,
        }
    }

    /// Makes no units of frames, so that only notices are left.
    pub(crate) const fn silenced(self) -> Self {
        Self {
            is_silent: true,
            encode: nothing,
            ..self
        }
    }

    /// Adds what it is for members that are not sent what others publish: itself, [silenced](Self::silenced).
    pub(crate) const fn with_silent(self, silent: &'static Self) -> Self {
        Self {
            silent: Some(silent),
            ..self
        }
    }

    /// Returns the encoding for members that are not sent what others publish. Those that ask for positions get notices
    /// all the same.
    #[cfg(feature = "server")]
    pub(crate) fn silent(&'static self) -> &'static Self {
        self.silent.unwrap_or(&NOTHING)
    }

    /// Adds the form of notices: members whose queues are in this encoding may ask for positions.
    pub(crate) const fn with_notices(self, notices: NoticeEncoding) -> Self {
        Self {
            notices: Some(notices),
            ..self
        }
    }

    /// Returns `true` if frames become no units.
    pub(super) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Returns the length of the unit at the start of `bytes`; `None` if its head is cut.
    pub(super) fn unit_len(&self, bytes: &[u8]) -> Option<usize> {
        (self.unit_len)(bytes)
    }

    /// Encodes whole frames, the first message of which has the position `first`. Returns the units, and how many
    /// there are.
    pub(super) fn encode(&self, frames: &Bytes, first: Option<Position>) -> (Bytes, u32) {
        (self.encode)(frames, first)
    }

    /// Returns the form of its notices; `None` if its members cannot ask for positions.
    pub(super) fn notices(&'static self) -> Option<&'static NoticeEncoding> {
        self.notices.as_ref()
    }
}

/// A run in every encoding that was asked for, each made once however many members take it.
pub(super) struct EncodedRun<'a> {
    run: &'a FrameRun,
    numbers: Option<Numbers>,
    /// The first encoding besides [`FRAMES`]. Most channels have no other.
    first: Option<Encoded>,
    /// Any others.
    more: Vec<Encoded>,
}

/// A run in one encoding.
struct Encoded {
    encoding: &'static Encoding,
    /// The units, and how many there are.
    units: (Bytes, u32),
}

impl<'a> EncodedRun<'a> {
    pub(super) const fn new(run: &'a FrameRun, numbers: Option<Numbers>) -> Self {
        Self {
            run,
            numbers,
            first: None,
            more: Vec::new(),
        }
    }

    /// Returns the run in `encoding`, and how many units that is.
    #[inline]
    pub(super) fn get(&mut self, encoding: &'static Encoding) -> (Bytes, u32) {
        if encoding == &FRAMES {
            return (self.run.bytes().clone(), self.run.frame_count());
        }
        match &self.first {
            Some(first) if first.encoding == encoding => first.units.clone(),
            _ => self.get_other(encoding),
        }
    }

    /// Returns the run in an encoding that is not the first, unless there is no first.
    fn get_other(&mut self, encoding: &'static Encoding) -> (Bytes, u32) {
        if encoding.is_silent {
            return (Bytes::new(), 0);
        }
        let mut others = self.more.iter();
        if let Some(known) = others.find(|encoded| encoded.encoding == encoding) {
            return known.units.clone();
        }
        let units = self.encode(self.run.bytes(), encoding);
        let encoded = Encoded {
            encoding,
            units: units.clone(),
        };
        match self.first {
            None => self.first = Some(encoded),
            Some(_) => self.more.push(encoded),
        }
        units
    }

    /// Like [`EncodedRun::get`], without the first `skip` bytes of the run, in which there is no message. It is
    /// encoded for each caller.
    pub(super) fn get_behind(&self, skip: usize, encoding: &Encoding) -> (Bytes, u32) {
        if skip >= self.run.bytes().len() {
            return (Bytes::new(), 0);
        }
        self.encode(&self.run.bytes().slice(skip..), encoding)
    }

    fn encode(&self, frames: &Bytes, encoding: &Encoding) -> (Bytes, u32) {
        encoding.encode(frames, self.numbers.map(|numbers| numbers.first()))
    }
}

/// A notice about one channel in each form that was asked for last.
pub(super) struct EncodedNotice<'a> {
    notice: &'a Notice,
    last: Option<(&'static NoticeEncoding, Bytes)>,
}

impl<'a> EncodedNotice<'a> {
    pub(super) const fn new(notice: &'a Notice) -> Self {
        Self { notice, last: None }
    }

    /// Returns the notice in the form of a member.
    pub(super) fn get(&mut self, tracking: &Tracking) -> Bytes {
        match &self.last {
            Some((notices, bytes)) if std::ptr::eq(*notices, tracking.notices) => bytes.clone(),
            _ => {
                let bytes = tracking.encode(self.notice);
                self.last = Some((tracking.notices, bytes.clone()));
                bytes
            }
        }
    }
}
