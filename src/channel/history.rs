//! The last frames of a channel, kept for members that join later.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::form::Form;
use super::run::FrameRun;
use super::settings::ChannelSettings;
use crate::protocol::frames;

/// Memory in bytes that a stored run costs besides its buffer: its entry here, and the reference
/// count and allocator header of the buffer.
const RUN_OVERHEAD: usize = 96;

/// Where a stored frame came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A member published it here; that member may be a server for which this one is the upstream.
    #[default]
    Member,
    /// It came down from this server's upstream with that index.
    Upstream(u8),
}

#[derive(Debug)]
struct Stored {
    run: FrameRun,
    at: Instant,
    origin: Origin,
    /// The run in other forms, once somebody has joined who takes one: made once for all who do.
    made: Vec<(Form, Bytes)>,
}

impl Stored {
    fn cost(&self) -> usize {
        let made = self
            .made
            .iter()
            .map(|(_, bytes)| bytes.len() + RUN_OVERHEAD);
        self.run.pinned() + RUN_OVERHEAD + made.sum::<usize>()
    }

    fn in_form(&mut self, form: Form) -> Bytes {
        if form == Form::Frames {
            return self.run.bytes().clone();
        }
        if let Some((_, bytes)) = self.made.iter().find(|(made, _)| *made == form) {
            return bytes.clone();
        }
        let (bytes, _) = form.make(self.run.bytes());
        self.made.push((form, bytes.clone()));
        bytes
    }
}

/// A ring of runs, capped by frames, by bytes of memory, and by age.
///
/// What counts against the byte cap is the memory that is kept alive, not the length of the
/// frames: a small slice must not pin a large read buffer.
#[derive(Debug, Default)]
pub struct History {
    runs: VecDeque<Stored>,
    frames: usize,
    cost: usize,
}

impl History {
    /// Stores the newest frames of `run` that the caps allow and lets the oldest go. `available`
    /// is the memory in bytes that this history may have in all, if that is less than its own cap.
    pub fn push(
        &mut self,
        run: &FrameRun,
        origin: Origin,
        now: Instant,
        settings: &ChannelSettings,
        available: usize,
    ) {
        if settings.history_frames == 0 {
            return;
        }
        let mut run = run.clone();
        if run.frames() > settings.history_frames {
            run.drop_front(run.frames() - settings.history_frames);
        } else {
            run.compact();
        }
        self.frames += run.frames();
        let stored = Stored {
            run,
            at: now,
            origin,
            made: Vec::new(),
        };
        self.cost += stored.cost();
        self.runs.push_back(stored);
        self.trim(now, settings);
        self.trim_to(available);
    }

    /// The frames to replay to a member that joins now, oldest first, in the form of its queue. What
    /// is made for that is kept with the frames, and counts as they do.
    pub fn replay(&mut self, now: Instant, settings: &ChannelSettings, form: Form) -> Vec<Bytes> {
        let age = settings.history_age;
        let mut replay = Vec::with_capacity(self.runs.len());
        for stored in &mut self.runs {
            if age.is_some_and(|age| now.duration_since(stored.at) > age) {
                continue;
            }
            self.cost -= stored.cost();
            let bytes = stored.in_form(form);
            self.cost += stored.cost();
            if !bytes.is_empty() {
                replay.push(bytes);
            }
        }
        replay
    }

    /// The same frames one by one, each a slice of its run.
    pub fn entries(
        &self,
        now: Instant,
        settings: &ChannelSettings,
    ) -> impl Iterator<Item = (Bytes, Origin)> + use<'_> {
        self.young(now, settings).flat_map(|stored| {
            let run = stored.run.bytes();
            frames(run).map(|frame| (run.slice_ref(frame), stored.origin))
        })
    }

    /// What is not too old to be replayed.
    fn young(
        &self,
        now: Instant,
        settings: &ChannelSettings,
    ) -> impl Iterator<Item = &Stored> + use<'_> {
        let age = settings.history_age;
        self.runs
            .iter()
            .filter(move |stored| age.is_none_or(|age| now.duration_since(stored.at) <= age))
    }

    /// Frames kept.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Bytes of memory kept alive.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Lets go what is over the caps or too old.
    pub fn trim(&mut self, now: Instant, settings: &ChannelSettings) {
        if let Some(age) = settings.history_age {
            while self
                .runs
                .front()
                .is_some_and(|s| now.duration_since(s.at) > age)
            {
                self.pop_run();
            }
        }
        while self.frames > settings.history_frames {
            let over = self.frames - settings.history_frames;
            self.drop_front(over);
        }
        self.trim_to(settings.history_bytes);
    }

    /// Lets the oldest frames go until at most `bytes` of memory are kept alive.
    fn trim_to(&mut self, bytes: usize) {
        while self.cost > bytes && !self.runs.is_empty() {
            self.drop_front(1);
        }
    }

    /// Drops up to `n` frames of the oldest run.
    fn drop_front(&mut self, n: usize) {
        let Some(first) = self.runs.front_mut() else {
            return;
        };
        if first.run.frames() <= n {
            self.pop_run();
            return;
        }
        self.frames -= n;
        self.cost -= first.cost();
        first.made.clear();
        first.run.drop_front(n);
        self.cost += first.cost();
    }

    fn pop_run(&mut self) {
        if let Some(stored) = self.runs.pop_front() {
            self.frames -= stored.run.frames();
            self.cost -= stored.cost();
        }
    }
}
