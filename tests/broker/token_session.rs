//! Sessions that have joined with a token, over each transport, and may show others.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::{Duration, Instant};

use mles::protocol::{
    Cid, HEADER_LEN, JoinExtensions, Key, Keyring, Message, Notice, ResumeRequest, encode_join,
    encode_token, is_presence,
};
use mles::{DeniedPublish, NamedKey, Settings};
use serde_json::{Value, json};

use crate::common::transports::{AllListeners, Transport};
use crate::common::websocket::{BINARY, Got, TEXT, Ws, request};
use crate::common::{Client, PATIENCE, is_timeout, settings, token, wait_until};

/// A key for those who need no token.
const KEY: &str = "the key of others";

/// A broker that accepts tokens, and a key.
pub struct World {
    server: AllListeners,
}

/// With one shard all members are where their channel is; with two and this threshold, half of them are elsewhere.
pub fn world(shards: usize, on_denied_publish: DeniedPublish) -> World {
    world_with_history(shards, on_denied_publish, 0)
}

/// Like [`world`], where so many messages of each channel are kept.
pub fn world_with_history(
    shards: usize,
    on_denied_publish: DeniedPublish,
    history: usize,
) -> World {
    let mut settings = Settings {
        shards: Some(shards),
        spread_threshold: 1,
        on_denied_publish,
        keys: vec![NamedKey::new("others", KEY.to_owned()).unwrap()],
        tokens: token::settings(),
        ..settings()
    };
    settings.channels.default.history_frames = history;
    World {
        server: AllListeners::start(settings),
    }
}

impl Deref for World {
    type Target = AllListeners;

    fn deref(&self) -> &AllListeners {
        &self.server
    }
}

/// Sets something up with a short lifetime of tokens, and again with a longer one if the machine was so busy that it took
/// half of that.
pub fn within_lifetime<T>(mut set_up: impl FnMut(Duration) -> T) -> T {
    let mut lifetime = Duration::from_secs(3);
    loop {
        let begun = Instant::now();
        let made = set_up(lifetime);
        if begun.elapsed() < lifetime / 2 {
            return made;
        }
        lifetime *= 4;
    }
}

/// A session over one of the transports.
pub struct Member {
    line: Line,
    uid: String,
    channel: String,
}

enum Line {
    Frames(Client),
    V1(Ws),
    V2(Ws),
}

/// What a member has got, hints of presence and receipts aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Message(String),
    Notice(Value),
    /// The end, with code and reason where there are any.
    End(Option<(u16, String)>),
}

impl World {
    /// A member that knows the key, and has all rights.
    pub fn other(&self, uid: &str, channel: &str) -> Client {
        let before = self.broker.stats().joined;
        let keyring = Keyring::new(Some(KEY.to_owned()), None);
        let other = Client::join_with(&self.broker, &keyring, uid, channel, b"", None);
        wait_until("it has joined", || self.broker.stats().joined > before);
        other
    }

    /// Joins with a token, or else with the key. Over v1 it asks for positions, or not.
    pub fn join(
        &self,
        transport: Transport,
        (uid, channel): (&str, &str),
        token: Option<&str>,
        asks: bool,
    ) -> Member {
        let before = self.broker.stats().joined;
        let at = self.at(transport);
        let extensions = JoinExtensions {
            resume: asks.then(ResumeRequest::default),
            token,
        };
        let line = match transport {
            Transport::Tcp | Transport::Tls => {
                let mut client = Client::on(Client::connect(&at), &keyring(), uid, channel, None);
                let join = join_frame(client.cid, client.key, (uid, channel), &extensions);
                std::io::Write::write_all(&mut client.stream, &join).unwrap();
                Line::Frames(client)
            }
            Transport::V1 | Transport::V1OverTls => {
                let mut ws = upgraded(at, (uid, channel), "mles-websocket");
                let join = join_frame(Cid(0), Key(0), (uid, channel), &extensions);
                ws.send(BINARY, &join[HEADER_LEN..]);
                Line::V1(ws)
            }
            Transport::V2 | Transport::V2OverTls => {
                let offer = "mles-websocket.token, mles-websocket.resume, mles-websocket";
                let mut ws = upgraded(at, (uid, channel), offer);
                let greeting = json!({"uid": uid, "channel": channel, "token": token});
                ws.send(TEXT, greeting.to_string().as_bytes());
                Line::V2(ws)
            }
        };
        wait_until("it has joined", || self.broker.stats().joined > before);
        Member {
            line,
            uid: uid.to_owned(),
            channel: channel.to_owned(),
        }
    }

    /// A connection over TCP on which nothing was sent.
    pub fn connect(&self) -> Member {
        let at = self.at(Transport::Tcp);
        let client = Client::on(Client::connect(&at), &keyring(), "", "", None);
        Member {
            line: Line::Frames(client),
            uid: String::new(),
            channel: String::new(),
        }
    }

    /// Joins with a token and asks for positions, and takes what the server says about that.
    pub fn join_by_token(&self, transport: Transport, names: (&str, &str), token: &str) -> Member {
        let mut member = self.join(transport, names, Some(token), true);
        assert!(member.notice("welcome").is_object());
        let told = member.notice("token");
        assert!(told["ttl"].is_u64() && told["refused"].is_null(), "{told}");
        member
    }
}

fn keyring() -> Keyring {
    Keyring::new(Some(KEY.to_owned()), None)
}

fn join_frame(
    cid: Cid,
    key: Key,
    (uid, channel): (&str, &str),
    extensions: &JoinExtensions<'_>,
) -> Vec<u8> {
    let message = Message {
        uid,
        channel,
        message: b"",
    };
    encode_join(cid, key, &message, extensions).unwrap()
}

fn upgraded(at: SocketAddr, (uid, channel): (&str, &str), offer: &str) -> Ws {
    let auth = Key::from_parts([KEY, uid, channel]).0;
    let offer = format!("Sec-WebSocket-Protocol: {offer}\r\n");
    Ws::ask(at, &request(&format!("/?auth={auth:x}"), &offer)).unwrap()
}

impl Member {
    /// Shows a token.
    pub fn show(&mut self, token: &str) {
        let json = json!({ "token": token }).to_string();
        match &mut self.line {
            Line::Frames(client) => {
                let frame = encode_token(token).unwrap();
                std::io::Write::write_all(&mut client.stream, &frame).unwrap();
            }
            Line::V1(ws) => ws.send(TEXT, json.as_bytes()),
            Line::V2(ws) => ws.send(TEXT, format!("!{json}").as_bytes()),
        }
    }

    /// Shows something in the form of a token that is none.
    pub fn show_junk(&mut self) {
        match &mut self.line {
            Line::Frames(client) => {
                let mut frame = encode_token("").unwrap();
                // A text of no bytes where the map begins.
                frame[HEADER_LEN] = 0x60;
                std::io::Write::write_all(&mut client.stream, &frame).unwrap();
            }
            Line::V1(ws) => ws.send(TEXT, b"token"),
            Line::V2(ws) => ws.send(TEXT, b"!{\"tokens\":[]}"),
        }
    }

    pub fn send(&mut self, message: &str) {
        let body = |uid, channel| {
            let message = message.as_bytes();
            crate::common::websocket::body(uid, channel, message)
        };
        match &mut self.line {
            Line::Frames(client) => client.send(message.as_bytes()),
            Line::V1(ws) => ws.send(BINARY, &body(&self.uid, &self.channel)),
            Line::V2(ws) => ws.send(TEXT, format!("={message}").as_bytes()),
        }
    }

    /// The connection, over WebSocket.
    pub fn web(&mut self) -> &mut Ws {
        match &mut self.line {
            Line::V1(ws) | Line::V2(ws) => ws,
            Line::Frames(_) => panic!("not over WebSocket"),
        }
    }

    /// Joins as another pair of the connection, over v1, and asks for positions.
    pub fn join_beside(&mut self, names: (&str, &str), token: &str) {
        let extensions = JoinExtensions {
            resume: Some(ResumeRequest::default()),
            token: Some(token),
        };
        let join = join_frame(Cid(0), Key(0), names, &extensions);
        self.web().send(BINARY, &join[HEADER_LEN..]);
        self.notice("welcome");
        self.ttl();
    }

    /// Publishes as one of the pairs of the connection, over v1.
    pub fn send_as(&mut self, (uid, channel): (&str, &str), message: &str) {
        let body = crate::common::websocket::body(uid, channel, message.as_bytes());
        self.web().send(BINARY, &body);
    }

    /// Sends bytes as they are, over TCP.
    pub fn raw(&mut self, bytes: &[u8]) {
        let Line::Frames(client) = &mut self.line else {
            panic!("not over TCP");
        };
        std::io::Write::write_all(&mut client.stream, bytes).unwrap();
    }

    /// The frame that a message is sent in, over TCP.
    pub fn frame(&self, message: &str) -> Vec<u8> {
        let Line::Frames(client) = &self.line else {
            panic!("not over TCP");
        };
        client.frame(message.as_bytes()).to_vec()
    }

    /// The next event; `None` if nothing comes in time.
    pub fn try_next(&mut self, patience: Duration) -> Option<Event> {
        loop {
            let event = match &mut self.line {
                Line::Frames(client) => frame_event(client.try_receive_raw(patience)),
                Line::V1(ws) => web_event(ws.try_next(patience), v1_event),
                Line::V2(ws) => web_event(ws.try_next(patience), v2_event),
            };
            match event? {
                Some(Event::Notice(notice)) if !notice["receipt"].is_null() => {}
                Some(event) => return Some(event),
                None => {}
            }
        }
    }

    pub fn next(&mut self) -> Event {
        self.try_next(PATIENCE).expect("nothing comes")
    }

    /// What the next notice says, which has that name.
    pub fn notice(&mut self, name: &str) -> Value {
        match self.next() {
            Event::Notice(notice) if !notice[name].is_null() => notice[name].clone(),
            other => panic!("{other:?} instead of {name}"),
        }
    }

    /// The reason for which the server refuses the token that was shown.
    pub fn refusal(&mut self) -> String {
        let told = self.notice("token");
        told["refused"].as_str().expect("a refusal").to_owned()
    }

    /// Waits for the answer to a token that is taken. Returns how long the session may last by that.
    pub fn ttl(&mut self) -> Duration {
        let told = self.notice("token");
        assert!(told["refused"].is_null(), "{told}");
        Duration::from_millis(told["ttl"].as_u64().unwrap())
    }

    pub fn text(&mut self) -> String {
        match self.next() {
            Event::Message(text) => text,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// Waits for the end, whatever comes before it. Returns code and reason where there are any.
    pub fn end(&mut self) -> Option<(u16, String)> {
        loop {
            if let Event::End(why) = self.next() {
                return why;
            }
        }
    }
}

/// Tells what a frame is: nothing for a hint.
fn frame_event(raw: std::io::Result<Option<Vec<u8>>>) -> Option<Option<Event>> {
    let raw = match raw {
        Ok(Some(raw)) => raw,
        Err(error) if is_timeout(&error) => return None,
        Ok(None) | Err(_) => return Some(Some(Event::End(None))),
    };
    if let Some(notice) = Notice::decode(&raw) {
        let notice = serde_json::to_value(notice).unwrap();
        return Some(Some(Event::Notice(notice)));
    }
    if is_presence(&raw) {
        return Some(None);
    }
    let message = Message::decode(&raw[HEADER_LEN..]).unwrap();
    let text = String::from_utf8(message.message.to_vec()).unwrap();
    Some(Some(Event::Message(text)))
}

fn web_event(
    got: std::io::Result<Option<Got>>,
    event: fn(Got) -> Option<Event>,
) -> Option<Option<Event>> {
    match got {
        Ok(Some(Got::Close(code, reason))) => Some(Some(Event::End(Some((code, reason))))),
        Ok(Some(got)) => Some(event(got)),
        Err(error) if is_timeout(&error) => None,
        Ok(None) | Err(_) => Some(Some(Event::End(None))),
    }
}

fn v1_event(got: Got) -> Option<Event> {
    match got {
        Got::Text(notice) => Some(Event::Notice(serde_json::from_str(&notice).unwrap())),
        Got::Binary(body) => {
            let message = Message::decode(&body).unwrap();
            let text = String::from_utf8(message.message.to_vec()).unwrap();
            (!text.is_empty()).then_some(Event::Message(text))
        }
        other => panic!("{other:?}"),
    }
}

fn v2_event(got: Got) -> Option<Event> {
    let Got::Text(text) = got else {
        panic!("{got:?}");
    };
    if let Some(notice) = text.strip_prefix('!') {
        return Some(Event::Notice(serde_json::from_str(notice).unwrap()));
    }
    let payload = text.strip_prefix('=').expect("a mark");
    Some(Event::Message(payload.to_owned()))
}
