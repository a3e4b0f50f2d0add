//! The history that a server below brings: read in steps, and made ready to be merged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::channel::FrameRun;
use crate::peer::merge::MergeItem;
use crate::protocol::{
    LinkHello, Message, ResyncDecoder, ResyncError, ResyncLimits, frames as frames_of,
};
use crate::shard::allowance::Overdrawn;
use crate::shard::{Shard, turn};

/// Frames are copied out of a resync into runs of about this size.
const RUN_BYTES: usize = 32 << 10;
/// Units of a turn for checking and hashing a frame, besides its bytes.
const FRAME: u32 = 4;
/// Memory in bytes for all resyncs that are being read or merged, if two of the largest do not need
/// more.
const MEMORY: usize = 64 << 20;
/// Memory is counted in units of this size.
const UNIT: usize = 1 << 10;

/// A resync, checked. Hints of presence are left out.
#[derive(Debug)]
pub(crate) struct ReceivedResync {
    /// The server's account of itself, if it is one of this project.
    pub(in crate::shard) link: Option<LinkHello>,
    /// Its frames, back to back.
    runs: Vec<FrameRun>,
    /// Digests of these frames, in their order, by which they are compared.
    pub(in crate::shard) items: Vec<MergeItem>,
    memory: Option<OwnedSemaphorePermit>,
}

/// The memory for all resyncs of a broker that are being read or merged.
#[derive(Debug)]
pub(in crate::shard) struct ResyncMemory {
    units: Arc<Semaphore>,
    /// Number of units, taken or not.
    total: AtomicUsize,
}

impl ResyncMemory {
    /// Creates the memory of a broker with frames of up to `max_frame` bytes.
    pub(in crate::shard) fn new(max_frame: usize) -> Self {
        let total = Self::units(max_frame);
        Self {
            units: Arc::new(Semaphore::new(total)),
            total: AtomicUsize::new(total),
        }
    }

    fn units(max_frame: usize) -> usize {
        MEMORY.max(4 * max_frame).div_ceil(UNIT)
    }

    /// Makes it large enough for frames of up to `max_frame` bytes. It is never made smaller.
    pub(in crate::shard) fn make_room(&self, max_frame: usize) {
        let needed = Self::units(max_frame);
        let before = self.total.fetch_max(needed, Ordering::Relaxed);
        self.units.add_permits(needed.saturating_sub(before));
    }
}

impl Shard {
    /// Reads and checks a resync body; `check` may refuse any of its frames. Cancel safe.
    ///
    /// While others are being merged it waits for memory. What has come is charged to the memory of those
    /// who have not joined until then.
    ///
    /// # Errors
    ///
    /// The fault of the first frame that is bad, or of what is around the frames; or there is no
    /// memory to wait in.
    pub(crate) async fn read_resync<E: From<ResyncError> + From<Overdrawn>>(
        &self,
        body: &Bytes,
        limits: ResyncLimits,
        check: impl Fn(&Message<'_>) -> Result<(), E>,
    ) -> Result<Box<ReceivedResync>, E> {
        // What has come, and what is made of it.
        let units = u32::try_from((2 * body.len()).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let resyncs = &self.common.resyncs.units;
        let memory = match resyncs.clone().try_acquire_many_owned(units) {
            Ok(memory) => Some(memory),
            Err(_) => {
                let _charged = ChargedMemory::new(self, body.len())?;
                // It is never closed.
                resyncs.clone().acquire_many_owned(units).await.ok()
            }
        };
        let mut decoder = ResyncDecoder::new(body, limits)?;
        let (mut runs, mut items) = (Runs::default(), Vec::new());
        while let Some(nested) = decoder.next_frame()? {
            check(&nested.message)?;
            turn::spend(FRAME);
            turn::spend_bytes(nested.frame.len());
            if !nested.is_presence {
                runs.push(nested.frame);
                items.push(MergeItem {
                    digest: self.common.digester.digest(nested.frame),
                    seq: nested.seq,
                });
            }
            if turn::is_expensive() {
                self.yield_turn().await;
            }
        }
        Ok(Box::new(ReceivedResync {
            link: decoder.finish()?,
            runs: runs.finish(),
            items,
            memory,
        }))
    }
}

impl ReceivedResync {
    /// Returns the bytes of memory that it keeps alive.
    pub(in crate::shard) fn weight(&self) -> usize {
        self.runs.iter().map(FrameRun::pinned).sum()
    }

    /// Lets others have their turn: it has to wait, and is counted in another way until then.
    pub(in crate::shard) fn let_go_of_memory(&mut self) {
        self.memory = None;
    }

    /// Returns its new frames, by their indices in `items`; `is_late` says which may be old.
    pub(in crate::shard) fn into_news(
        self,
        items: &[MergeItem],
        new: Vec<usize>,
        is_late: impl Fn(&MergeItem) -> bool,
    ) -> NewFrames {
        let new = new.into_iter().map(|index| (index, is_late(&items[index])));
        NewFrames {
            new: new.collect::<Vec<_>>().into_iter().peekable(),
            first: 0,
            runs: self.runs.into_iter(),
            part: None,
            _memory: self.memory,
        }
    }
}

/// The memory of connections that have not joined which a waiting resync uses.
struct ChargedMemory<'a> {
    shard: &'a Shard,
    bytes: usize,
}

impl<'a> ChargedMemory<'a> {
    fn new(shard: &'a Shard, bytes: usize) -> Result<Self, Overdrawn> {
        let mut scratch = shard.join_scratch.borrow_mut();
        scratch.allowance.reserve(bytes)?;
        drop(scratch);
        Ok(Self { shard, bytes })
    }
}

impl Drop for ChargedMemory<'_> {
    fn drop(&mut self) {
        let mut scratch = self.shard.join_scratch.borrow_mut();
        scratch.allowance.refund(self.bytes);
    }
}

/// The new frames of a resync, run by run.
#[derive(Debug)]
pub(in crate::shard) struct NewFrames {
    /// By index among all frames, and whether each is a late one.
    new: std::iter::Peekable<std::vec::IntoIter<(usize, bool)>>,
    runs: std::vec::IntoIter<FrameRun>,
    /// The index of the first frame of the next run.
    first: usize,
    /// The rest of a run, of which some frames are late and some are not.
    part: Option<(FrameRun, usize)>,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Iterator for NewFrames {
    /// New frames that follow each other, and whether they are late ones.
    type Item = (FrameRun, bool);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let &(next, is_late) = self.new.peek()?;
            let (run, first) = match self.part.take() {
                Some(part) => part,
                None => {
                    let run = self.runs.next()?;
                    let first = self.first;
                    self.first += run.frames();
                    (run, first)
                }
            };
            let end = first + run.frames();
            if next >= end {
                continue;
            }
            let mut taken = Vec::new();
            let is_same = |&(at, late): &(usize, bool)| at < end && late == is_late;
            while let Some((at, _)) = self.new.next_if(is_same) {
                taken.push(at - first);
            }
            let news = if taken.len() == run.frames() {
                run.clone()
            } else {
                pick(&run, &taken)
            };
            if self.new.peek().is_some_and(|&(at, _)| at < end) {
                self.part = Some((run, first));
            }
            return Some((news, is_late));
        }
    }
}

/// Copies frames of a run into one of their own.
fn pick(run: &FrameRun, chosen: &[usize]) -> FrameRun {
    let mut chosen = chosen.iter().peekable();
    let (mut bytes, mut count) = (BytesMut::new(), 0);
    for (at, frame) in frames_of(run.bytes()).enumerate() {
        if chosen.next_if(|&&chosen| chosen == at).is_some() {
            bytes.extend_from_slice(frame);
            count += 1;
        }
    }
    FrameRun::exact(bytes.freeze(), count)
}

/// Copies frames into runs.
#[derive(Debug, Default)]
pub(in crate::shard) struct Runs {
    done: Vec<FrameRun>,
    bytes: BytesMut,
    frames: u32,
}

impl Runs {
    pub(in crate::shard) fn push(&mut self, frame: &[u8]) {
        if !self.bytes.is_empty() && self.bytes.len() + frame.len() > RUN_BYTES {
            self.end_run();
        }
        if self.bytes.is_empty() {
            self.bytes.reserve(RUN_BYTES.max(frame.len()));
        }
        self.bytes.extend_from_slice(frame);
        self.frames += 1;
    }

    fn end_run(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let capacity = bytes.capacity();
        let frames = std::mem::take(&mut self.frames);
        self.done
            .push(FrameRun::slice_of(bytes.freeze(), frames, capacity));
    }

    pub(in crate::shard) fn finish(mut self) -> Vec<FrameRun> {
        if self.frames > 0 {
            // The last is short, and may be all there is.
            let bytes = Bytes::copy_from_slice(&self.bytes);
            self.done.push(FrameRun::exact(bytes, self.frames));
        }
        self.done
    }
}
