//! The WebSocket proxy in `mles-client` 1.1.7 in front of our broker: clients behind it and clients of
//! our own gateway are members of the same channels.
//!
//! It always listens on port 8076 of all addresses, so each test has a network of its own. It passes
//! the payloads of pings on as messages, so its clients send none; and it finds the subprotocol in
//! a list only if there are no spaces in it.

use super::{spec, texts_until, with_each_library};
use crate::support::{
    ChatClient, Event, Library, Namespace, Secrets, Server, Visit, WsClient, WsProxy,
};

with_each_library!(
    behind_it_and_beside_it_all_see_one_order,
    it_proves_the_key_for_its_clients,
    a_late_one_behind_it_gets_the_history,
);

const CHANNEL: &str = "room";

struct World {
    namespace: Namespace,
    server: Server,
    proxy: WsProxy,
}

impl World {
    /// `None` if the running test is skipped.
    fn new(secrets: Secrets) -> Option<Self> {
        if !ChatClient::is_installed() {
            return None;
        }
        let namespace = Namespace::new()?;
        let mut spec = spec()
            .secrets(secrets)
            .standard_port()
            .namespace(&namespace);
        if secrets.shared.is_none() && secrets.address.is_some() {
            // Our own gateway has no use for an address key, and does not start without a word.
            spec = spec.options(&["--ws-trust"]);
        }
        let server = spec.start();
        let proxy = WsProxy::start(&server, &namespace);
        Some(Self {
            namespace,
            server,
            proxy,
        })
    }

    fn visit(&self) -> Visit<'_> {
        Visit {
            namespace: Some(&self.namespace),
            ..Visit::default()
        }
    }

    /// A member of Mles v1 behind the proxy.
    fn behind(&self, library: Library, uid: &str) -> WsClient {
        let mut client = WsClient::open(library, &self.proxy.url(), self.visit());
        client.body(uid, CHANNEL, b"");
        client
    }

    /// A member of Mles v2 on our own gateway.
    fn beside(&self, library: Library, uid: &str) -> WsClient {
        let mut client = WsClient::open(library, &self.server.ws_url(), self.visit());
        client.greet(self.server.secrets().shared, uid, CHANNEL);
        client
    }
}

/// The messages that a client of Mles v1 gets next, up to `last`.
fn bodies_until(client: &mut WsClient, last: &str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    while texts.last().is_none_or(|text| text != last) {
        let (_, message) = client.next_body();
        texts.push(String::from_utf8(message).unwrap());
    }
    texts
}

fn behind_it_and_beside_it_all_see_one_order(library: Library) {
    // Less than the history, so it does not matter who joins when.
    const EACH: usize = 30;
    let Some(world) = World::new(Secrets::NONE) else {
        return;
    };
    let mut reader_behind = world.behind(library, "reader behind");
    let mut reader_beside = world.beside(library, "reader beside");
    let mut behind = world.behind(library, "behind");
    let mut beside = world.beside(library, "beside");
    for n in 0..EACH {
        behind.body("behind", CHANNEL, format!("behind {n}").as_bytes());
        beside.text(&format!("beside {n}"));
    }
    // Each has the last of the other before it says that it is done.
    let last = EACH - 1;
    bodies_until(&mut behind, &format!("beside {last}"));
    texts_until(&mut beside, &format!("behind {last}"));
    beside.text("end");
    let order = texts_until(&mut reader_beside, "end");
    assert_eq!(order.len(), 2 * EACH + 1);
    assert_eq!(bodies_until(&mut reader_behind, "end"), order);
    for name in ["behind ", "beside "] {
        let of_one = order.iter().filter_map(|text| text.strip_prefix(name));
        assert!(of_one.eq((0..EACH).map(|n| n.to_string())), "{name}");
    }
}

fn it_proves_the_key_for_its_clients(library: Library) {
    for secrets in [Secrets::SHARED, Secrets::ADDRESS] {
        let Some(world) = World::new(secrets) else {
            return;
        };
        let mut anna = world.behind(library, "anna");
        let mut bert = world.behind(library, "bert");
        anna.body("anna", CHANNEL, b"hello");
        bert.expect_body("anna", "hello");
        bert.body("bert", CHANNEL, b"hei");
        anna.expect_body("bert", "hei");
        if secrets.shared.is_some() {
            let mut carl = world.beside(library, "carl");
            carl.expect_text("hello");
            carl.expect_text("hei");
        }
    }
}

fn a_late_one_behind_it_gets_the_history(library: Library) {
    let Some(world) = World::new(Secrets::NONE) else {
        return;
    };
    let mut anna = world.beside(library, "anna");
    anna.text("one");
    anna.binary(b"two");
    anna.sync();
    let mut late = world.behind(library, "late");
    late.expect_body("anna", "one");
    late.expect_body("anna", "two");
    late.body("late", CHANNEL, b"thanks");
    anna.expect_text("thanks");
    // It leaves, and its uid is free.
    late.close(1000, "");
    assert!(matches!(late.next(), Event::Closed(..)));
    anna.text("three");
    let mut again = world.behind(library, "late");
    let texts = bodies_until(&mut again, "three");
    assert_eq!(texts, ["one", "two", "thanks", "three"]);
}
