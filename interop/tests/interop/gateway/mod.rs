//! WebSocket and TLS as clients that are not ours see them: `mles-client` 2.2.0 (Mles v2), the
//! proxy in `mles-client` 1.1.7, the libraries that users write clients with, and the tools that
//! they look at TLS with.
//!
//! The reference server has no WebSocket, so all of this is about our broker.

mod chat_v2;
mod closing;
mod http;
mod libraries;
mod proxy;
mod scan;
mod tls;
mod websocat;

use crate::support::{
    Library, Listener, Secrets, Server, ServerKind, ServerSpec, Session, WsClient,
};

/// Runs each named scenario, a `fn(Library)`, with Python's `websockets` and with Node's `ws`.
macro_rules! with_each_library {
    ($($scenario:ident),+ $(,)?) => {
        mod python {
            $(#[test]
            fn $scenario() {
                $crate::gateway::with(crate::support::Library::Python, super::$scenario);
            })+
        }
        mod node {
            $(#[test]
            fn $scenario() {
                $crate::gateway::with(crate::support::Library::Node, super::$scenario);
            })+
        }
    };
}
use with_each_library;

fn with(library: Library, scenario: fn(Library)) {
    if library.is_installed() {
        scenario(library);
    }
}

/// A broker with a WebSocket listener; clients may take their time to join, since the machine may
/// be busy with all the others.
fn spec() -> ServerSpec {
    ServerSpec::new(ServerKind::Ours)
        .listener(Listener::WebSocket)
        .options(&["--join-deadline", "60s"])
}

fn server_with(secrets: Secrets) -> Server {
    spec().secrets(secrets).start()
}

/// A member over TCP that has joined: frames sent from now on reach it live.
fn member(server: &Server, uid: &str, channel: &str) -> Session {
    Session::join(server.address(), server.secrets(), uid, channel)
}

/// The texts that a client of Mles v2 gets next, up to `last`.
fn texts_until(client: &mut WsClient, last: &str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    while texts.last().is_none_or(|text| text != last) {
        match client.next() {
            crate::support::Event::Text(text) => texts.push(text),
            event => panic!("not a text: {event:?}"),
        }
    }
    texts
}
