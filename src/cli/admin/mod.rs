//! What the commands that ask a running server have in common: its admin listener, the answers, and figures as text.
//!
//! `status`, `top`, `drain` and `reload` are its users. Nothing here prints.

mod answers;
mod arguments;
mod client;
mod error;
mod figures;
mod io;
mod snapshot;

pub(super) use answers::{Channel, LOSSES, Link, Server, Session, Shard};
pub(super) use arguments::AdminArgs;
pub(super) use client::AdminClient;
pub(super) use error::{ADMIN_EXIT_CODES, AdminError, admin_exit_code};
pub(super) use figures::{byte_rate, bytes, count, micros, percent, rate, seconds, short_count};
pub(super) use snapshot::{ChannelOrder, Snapshot};
