//! The HTTP request that a connection begins with, and what is answered.
//!
//! One request per connection: either it is upgraded, or it gets one answer and the connection
//! closes. So there is no body, no pipelining and no keep-alive, and nothing of a request goes into
//! an answer.

mod origin;
mod request;
mod response;
mod upgrade;

pub(crate) use origin::{Hosts, host_allowed, origin_allowed};
pub(crate) use request::{BadRequest, HttpRequest, MAX_HEAD, Method, parse};
pub(crate) use response::{Response, Status, no_content, switching};
pub(crate) use upgrade::{Offer, PROTOCOL};
