//! HTTP on the WebSocket listeners: WebSocket sessions, and the page.

mod connection;
mod framing;
mod head;
pub(crate) mod http;
mod page;
mod refusal;
