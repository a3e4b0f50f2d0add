//! The channel core: members, connection ids, one total order, history, slow-member policies.
//!
//! A [`Channel`] is what the shard that owns it knows of it. Its members on one shard, there or elsewhere,
//! are a [`Fanout`], whose docs say in which order it is used. Each has an [`Outbox`], which holds
//! [`FrameRun`]s in the [`Encoding`] that the member takes.
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
//!
//! It does no I/O, has no runtime, and reads no clock (time is passed in), so that every rule here can be
//! tested against a naive model. It must not know what carries sessions: whoever has members that are
//! sent anything else than frames brings the encoding.
//!
//! The settings are public for users of the library. The rest is public for the benches, and for the tests
//! that need no feature: it may change with any version.

mod announcements;
mod encoding;
mod fanout;
mod form;
mod history;
mod left_out;
mod member;
mod members;
mod memory;
mod merger;
mod numbered;
mod outbox;
mod owner;
mod presence;
mod publishers;
mod resume;
mod run;
mod seated_publishers;
mod settings;
mod stored;

pub use encoding::{Encoding, FRAMES};
#[cfg(feature = "server")]
pub(crate) use encoding::{NoticeEncoding, Unit};
pub use fanout::{Fanout, SlowReason, Verdict};
pub use form::Form;
#[cfg(feature = "server")]
pub(crate) use history::ClearedKeys;
pub use history::{History, HistoryRun, Origin, Page, PageLimit};
pub use member::{Member, SessionId};
pub use members::MemberKey;
pub use memory::HistoryMemory;
pub use merger::Merger;
pub use numbered::{MessagePage, Numbers, Receipt};
pub use outbox::{Dropped, ENTRY_COST, Outbox};
pub use owner::{Channel, CidInUse, Committed, FreedSeat, Joined, Place, Seat};
pub use presence::{Difference, MemberNews, NameLimit, PendingChanges};
pub use publishers::{Published, PublisherId, Publishers};
pub use resume::Resumed;
pub use run::FrameRun;
pub use settings::{ChannelRules, ChannelSettings, HistoryStorage, SlowPolicy};
pub use stored::{PastEpoch, SavedPublisher, SavedState};
