//! Values of options: reading and writing them, and the fields that they set.
//!
//! A value arrives as a [`RawValue`]. A [`ValueKind`] knows how one kind of value is read and written;
//! a [`Field`] binds a kind to a place in the configuration. Kinds hold the allowed range, so whatever
//! has read a value has checked it.
//!
//! This module must not know where a value came from, nor which options there are.

mod field;
mod fleet;
mod kind;
mod network;
mod number;
mod raw;
mod server;
mod store;
mod text;

pub(crate) use field::Field;
pub(super) use field::{Accessor, Always, InvalidValue, Optional};
pub(super) use fleet::{FleetNameText, FleetServers};
pub(crate) use kind::Arity;
pub(super) use network::{Addresses, ListenerKinds, Networks, WebOrigins};
pub(super) use number::{Integer, RateLimit, Size, Time};
pub(crate) use raw::RawValue;
pub(super) use raw::quoted;
pub(super) use server::{ConnectionId, Servers};
pub(super) use store::{DirectoryPath, StoreSyncMode};
pub(super) use text::{FilePath, FilePaths, LogFilter, Name, OneOf, SecretText, Switch, Text};
