//! The HTTP request that a WebSocket connection begins with, and the pages that may connect.

mod origin;
mod request;
mod upgrade;

pub(crate) use origin::{Hosts, host_allowed, origin_allowed};
pub(crate) use request::{BadRequest, HttpRequest, MAX_HEAD, parse};
pub(crate) use upgrade::{Offer, Subprotocol, Upgrade};
