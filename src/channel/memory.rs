//! The memory that the histories of a shard share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The memory that the histories of one shard may take together, and what they take, in bytes.
///
/// Each [`History`](super::History) counts here itself whatever it gains or loses, and gives all back when
/// it is dropped, so that the sum is that of the histories whoever changes them.
#[derive(Clone, Debug)]
pub struct HistoryMemory(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    allowed: usize,
    frames: Cell<usize>,
    forms: Cell<usize>,
    /// The histories that have forms.
    formed: RefCell<BTreeSet<u32>>,
}

impl HistoryMemory {
    /// Memory for histories that may take `allowed` bytes.
    #[must_use]
    pub fn new(allowed: usize) -> Self {
        Self(Rc::new(Shared {
            allowed,
            frames: Cell::new(0),
            forms: Cell::new(0),
            formed: RefCell::default(),
        }))
    }

    /// Returns the bytes that all histories may take.
    #[must_use]
    pub fn allowed(&self) -> usize {
        self.0.allowed
    }

    /// Returns the bytes that all histories take, forms included.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.frames.get() + self.0.forms.get()
    }

    /// Returns a history that has to give up its forms, as long as all together take too much. Frames
    /// alone never do: see [`History::push`](super::History::push).
    #[must_use]
    pub fn overdrawn_by(&self) -> Option<u32> {
        let is_over = self.used() > self.0.allowed;
        is_over.then(|| self.0.formed.borrow().first().copied())?
    }
}

/// What one history takes of the memory.
#[derive(Debug)]
pub(super) struct Account {
    memory: HistoryMemory,
    id: u32,
    frames: usize,
    forms: usize,
}

impl Account {
    /// An empty one; `id` tells the history from the others.
    pub(super) fn new(memory: HistoryMemory, id: u32) -> Self {
        Self {
            memory,
            id,
            frames: 0,
            forms: 0,
        }
    }

    /// Returns the bytes that the frames take.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Returns the bytes that the forms take.
    pub(super) fn forms(&self) -> usize {
        self.forms
    }

    /// Returns the bytes that the frames may take beside those of all other histories.
    pub(super) fn allowed(&self) -> usize {
        let others = self.memory.0.frames.get() - self.frames;
        self.memory.0.allowed.saturating_sub(others)
    }

    /// Returns the bytes that nobody takes.
    pub(super) fn left(&self) -> usize {
        self.memory.0.allowed.saturating_sub(self.memory.used())
    }

    /// Counts the frames anew.
    pub(super) fn set_frames(&mut self, frames: usize) {
        let all = &self.memory.0.frames;
        all.set(all.get() - self.frames + frames);
        self.frames = frames;
    }

    /// Counts the forms anew.
    pub(super) fn set_forms(&mut self, forms: usize) {
        let Shared {
            forms: all, formed, ..
        } = &*self.memory.0;
        all.set(all.get() - self.forms + forms);
        if (self.forms > 0) != (forms > 0) {
            let mut formed = formed.borrow_mut();
            if forms > 0 {
                formed.insert(self.id);
            } else {
                formed.remove(&self.id);
            }
        }
        self.forms = forms;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set_frames(0);
        self.set_forms(0);
    }
}
