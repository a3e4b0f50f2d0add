//! The channel core: members, connection ids, one total order, history, slow-member policies.
//!
//! Pure: no I/O, no runtime, and no clock (time is passed in), so that every rule here can be
//! tested against a naive model. What moves bytes between sockets and threads lives in `shard`.
//!
//! Invariants:
//!
//! * Everything delivered is a [`FrameRun`]: whole frames, checked before.
//! * A member gets the history at its join, then every run delivered after it, in order, except
//!   its own; never a part of a frame.
//! * What a queue or a history holds is bounded by [`ChannelSettings`], the cost of its entries included:
//!   a history in bytes of memory kept alive, a queue in bytes to be written, as its runs are shared by all
//!   members. With the policy `backpressure` it can grow beyond by what was on its way when the publishers
//!   paused.
//! * The memory of all histories is counted in one place, [`HistoryMemory`], by the histories themselves.

mod announce;
mod encoding;
mod fanout;
mod history;
mod members;
mod memory;
mod outbox;
mod owner;
mod run;
mod settings;

pub use announce::Announcements;
pub use encoding::{Encoding, FRAMES};
pub use fanout::{Fanout, Member, SessionId, SlowReason, Verdict};
pub use history::{History, Origin};
pub use members::MemberKey;
pub use memory::HistoryMemory;
pub use outbox::{Dropped, ENTRY_COST, Merger, Outbox};
pub use owner::{Channel, CidInUse, Joined, Place, Seat, Vacated};
pub use run::FrameRun;
pub use settings::{ChannelRules, ChannelSettings, SlowPolicy};
