//! The channel core: members, connection ids, one total order, history, slow-member policies.
//!
//! Pure: no I/O, no runtime, and no clock (time is passed in), so that every rule here can be
//! tested against a naive model. What moves bytes lives in `shard`.

mod settings;

pub use settings::{ChannelRules, ChannelSettings, SlowPolicy};
