//! Plays what the document says that clients and a server say to each other, with a real server.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};

use mles::protocol::Keyring;
use mles::{Broker, Settings, Stats, TokenKey};

use super::annotate::{SECRET, hex, unhex};
use super::epochs::Epochs;
use super::{http, times};
use crate::common::websocket::{self, BINARY, CLOSE, Got, PING, PONG, TEXT, Ws, address};
use crate::common::{Client, SILENCE, Server as _, is_timeout, reset, start, wait_until};
use crate::docs::documents::Block;

/// The origin whose pages may connect to the server of the examples.
const ORIGIN: &str = "https://chat.example";

/// The server of the examples, and the clients of one section.
pub(super) struct World {
    broker: Broker,
    /// The server that plays the other sections: those about tokens need one that takes them.
    other: Broker,
    takes_tokens: bool,
    epochs: Epochs,
    clients: HashMap<String, Connection>,
    section: String,
}

enum Connection {
    Tcp(std::net::TcpStream),
    WebSocket(Ws),
}

/// A line of an exchange: who, what happens, and with what.
#[derive(Debug)]
struct Step<'a> {
    client: &'a str,
    verb: &'a str,
    rest: String,
}

impl World {
    pub(super) fn new() -> Self {
        let mut settings = Settings {
            keyring: Keyring::new(Some(SECRET.to_owned()), None),
            ..websocket::settings()
        };
        settings.websocket.origins = vec![ORIGIN.to_owned()];
        let mut with_tokens = settings.clone();
        with_tokens.tokens.keys = vec![TokenKey::secret(b"token-secret")];
        Self {
            broker: start(settings),
            other: start(with_tokens),
            takes_tokens: false,
            epochs: Epochs::default(),
            clients: HashMap::new(),
            section: String::new(),
        }
    }

    /// Lets the clients of one section go, and checks that nothing came for them that the document does not show.
    pub(super) fn end_section(&mut self) {
        for (name, client) in self.clients.drain() {
            let section = &self.section;
            let what = match client {
                Connection::Tcp(mut stream) => {
                    stream.set_read_timeout(Some(SILENCE)).unwrap();
                    let mut more = [0; 4096];
                    let more = match stream.read(&mut more) {
                        Ok(n) => hex(&more[..n]),
                        Err(error) if is_timeout(&error) => String::new(),
                        Err(error) => panic!("{section}: {name}: {error}"),
                    };
                    reset(stream);
                    more
                }
                Connection::WebSocket(mut ws) => {
                    let more = match ws.try_next(SILENCE) {
                        Ok(Some(got)) => format!("{got:?}"),
                        Ok(None) => String::new(),
                        Err(error) if is_timeout(&error) => String::new(),
                        Err(error) => panic!("{section}: {name}: {error}"),
                    };
                    reset(ws.stream);
                    more
                }
            };
            assert_eq!(what, "", "{section}: {name} got more than is shown");
        }
        let stats = || self.broker.stats();
        wait_until("all have left", || stats().connections == 0);
    }

    /// Plays one block.
    pub(super) fn play(&mut self, block: &Block) {
        if self.section != block.section {
            self.end_section();
            self.section.clone_from(&block.section);
            if self.section.to_lowercase().contains("token") != self.takes_tokens {
                std::mem::swap(&mut self.broker, &mut self.other);
                self.takes_tokens = !self.takes_tokens;
            }
        }
        match block.language.as_str() {
            "http" => http::play(address(&self.broker), block, &mut self.epochs),
            kind => {
                let steps = steps(&block.text);
                for (index, step) in steps.iter().enumerate() {
                    let next = steps.get(index + 1);
                    let is_answered =
                        next.is_some_and(|next| next.verb == "<" && next.client == step.client);
                    let place = format!("{}: {step:?}", block.place);
                    self.step(kind, step, is_answered, &place);
                }
            }
        }
    }

    fn step(&mut self, kind: &str, step: &Step<'_>, is_answered: bool, place: &str) {
        let before = done(&self.broker.stats());
        match (kind, step.verb) {
            ("websocket", "GET") => return self.open(step, place),
            ("tcp", ">") => self.send_frame(step),
            ("tcp", "<") => return self.receive_frame(step, place),
            ("websocket", ">") if self.send_message(step, place) => {}
            ("websocket", ">") => return,
            ("websocket", "<") => return self.receive_message(step, place),
            (_, "leaves") => {
                let left = self.broker.stats().left;
                match self.clients.remove(step.client).expect(place) {
                    Connection::Tcp(stream) | Connection::WebSocket(Ws { stream, .. }) => {
                        reset(stream)
                    }
                }
                return wait_until(place, || self.broker.stats().left > left);
            }
            _ => panic!("{place}: an unknown step"),
        }
        if !is_answered {
            // What another client does next comes behind it.
            wait_until(place, || done(&self.broker.stats()) > before);
        }
    }

    fn send_frame(&mut self, step: &Step<'_>) {
        let client = self.clients.entry(step.client.to_owned());
        let client =
            client.or_insert_with(|| Connection::Tcp(Client::connect(&self.broker.address())));
        let Connection::Tcp(stream) = client else {
            panic!("{} is no client over TCP", step.client);
        };
        let frame = unhex(&without_spaces(&step.rest)).expect("hex");
        stream.write_all(&self.epochs.as_sent(&frame)).unwrap();
    }

    fn receive_frame(&mut self, step: &Step<'_>, place: &str) {
        let Some(Connection::Tcp(stream)) = self.clients.get_mut(step.client) else {
            panic!("{place}: not connected");
        };
        if step.rest == "end" {
            let mut more = Vec::new();
            // A server that has not read everything resets the connection.
            let _ = stream.read_to_end(&mut more);
            assert_eq!(hex(&more), "", "{place}");
            self.clients.remove(step.client);
            return;
        }
        let expected = unhex(&without_spaces(&step.rest)).expect(place);
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got).expect(place);
        let got = times::as_shown(&expected, &got);
        let got = self.epochs.match_shown(&expected, &got);
        assert_eq!(hex(&got), hex(&expected), "{place}");
    }

    /// Opens a WebSocket connection: `alice GET /path offering a, b: gets b`.
    fn open(&mut self, step: &Step<'_>, place: &str) {
        let (path, protocols) = match step.rest.split_once(" offering ") {
            Some((path, protocols)) => (path, Some(protocols)),
            None => (step.rest.as_str(), None),
        };
        let header = protocols.map(|offered| format!("Sec-WebSocket-Protocol: {offered}\r\n"));
        let request = websocket::request(path, &header.unwrap_or_default());
        let ws = Ws::ask(address(&self.broker), &request).expect(place);
        let name = step.client.to_owned();
        self.clients.insert(name, Connection::WebSocket(ws));
    }

    fn websocket(&mut self, step: &Step<'_>) -> &mut Ws {
        match self.clients.get_mut(step.client) {
            Some(Connection::WebSocket(ws)) => ws,
            _ => panic!("{} has no WebSocket connection", step.client),
        }
    }

    /// Sends a message or a control frame. Returns `true` if the server counts it.
    fn send_message(&mut self, step: &Step<'_>, place: &str) -> bool {
        let (kind, payload) = step.rest.split_once(' ').unwrap_or((&step.rest, ""));
        let (first, payload) = match kind {
            "text" => (TEXT, payload.as_bytes().to_vec()),
            "binary" => (BINARY, unhex(&without_spaces(payload)).expect(place)),
            "ping" => (PING, payload.as_bytes().to_vec()),
            "pong" => (PONG, payload.as_bytes().to_vec()),
            "close" => (CLOSE, websocket::close(payload.parse().expect(place), "")),
            _ => panic!("{place}: an unknown kind of message"),
        };
        let payload = self.epochs.as_sent(&payload);
        self.websocket(step).send(first, &payload);
        first == TEXT || first == BINARY
    }

    fn receive_message(&mut self, step: &Step<'_>, place: &str) {
        let got = self.websocket(step).next();
        let (kind, payload) = step.rest.split_once(' ').unwrap_or((&step.rest, ""));
        let (found, bytes) = match got {
            Got::Text(text) => ("text", text.into_bytes()),
            Got::Binary(bytes) => ("binary", bytes),
            Got::Ping(bytes) => ("ping", bytes),
            Got::Pong(bytes) => ("pong", bytes),
            Got::Close(code, reason) if reason.is_empty() => ("close", code.to_string().into()),
            Got::Close(code, reason) => ("close", format!("{code} {reason}").into()),
        };
        let expected = match kind {
            "binary" => unhex(&without_spaces(payload)).expect(place),
            _ => payload.as_bytes().to_vec(),
        };
        let shown = self
            .epochs
            .match_shown(&expected, &times::as_shown(&expected, &bytes));
        let readable = |bytes: &[u8]| match kind {
            "binary" => hex(bytes),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        };
        let got = format!("{found} {}", readable(&shown));
        assert_eq!(got, format!("{kind} {}", readable(&expected)), "{place}");
    }
}

/// Counts what clients have done that others may notice.
fn done(stats: &Stats) -> u64 {
    stats.joined + stats.refused + stats.frames_in + stats.protocol_errors
}

/// Takes a block apart. A line that begins with a space goes on with what the one before it has.
fn steps(text: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let (true, Some(step)) = (line.starts_with(' '), steps.last_mut()) {
            step.rest.push_str(line.trim());
            continue;
        }
        let (client, rest) = line.split_once(' ').expect("a client and what it does");
        let (verb, rest) = rest.trim_start().split_once(' ').unwrap_or((rest, ""));
        steps.push(Step {
            client,
            verb,
            rest: rest.to_owned(),
        });
    }
    steps
}

fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}
