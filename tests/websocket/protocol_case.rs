//! Cases of a protocol test: what a client sends, what comes back, what another member sees.

use mles::Broker;

use crate::common::start;
use crate::common::websocket::{BINARY, CLOSE, Got, PING, PONG, TEXT, Ws, close, frame};

/// The way in which the bytes of a case are cut into writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All at once.
    Not,
    /// Frame by frame.
    Frames,
    /// Into pieces of so many bytes.
    Bytes(usize),
}

/// One case. It is a client of v2 that sends, and another that looks.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    frames: Vec<Vec<u8>>,
    cut: Cut,
    /// The messages that the other member gets.
    seen: Vec<Got>,
    /// The messages that the client itself gets before the end.
    back: Vec<Got>,
    /// The code it is closed with; `None` if it lives.
    end: Option<u16>,
}

/// A case in which nothing is sent yet and the client lives.
pub fn case(name: impl Into<String>) -> Case {
    Case {
        name: name.into(),
        frames: Vec::new(),
        cut: Cut::Not,
        seen: Vec::new(),
        back: Vec::new(),
        end: None,
    }
}

impl Case {
    /// Sends a frame.
    pub fn frame(mut self, first: u8, payload: &[u8]) -> Self {
        self.frames.push(frame(first, payload));
        self
    }

    /// Sends bytes that are no good frame.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.frames.push(bytes.to_vec());
        self
    }

    /// Sends a message in fragments of these bytes.
    pub fn fragments<'a>(mut self, first: u8, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut parts = parts.into_iter().peekable();
        let mut opcode = first & 0xF;
        while let Some(part) = parts.next() {
            let fin = if parts.peek().is_none() { 0x80 } else { 0 };
            self = self.frame(fin | opcode, part);
            opcode = 0;
        }
        self
    }

    /// Sends a message in one frame, which is seen.
    pub fn message(self, first: u8, payload: &[u8]) -> Self {
        self.frame(first, payload).sees(first, payload)
    }

    /// Sends a ping, which is answered.
    pub fn ping(mut self, payload: &[u8]) -> Self {
        self.back.push(Got::Pong(payload.to_vec()));
        self.frame(PING, payload)
    }

    /// The other member sees a message.
    pub fn sees(mut self, first: u8, payload: &[u8]) -> Self {
        self.seen.push(match first {
            TEXT => Got::Text(String::from_utf8(payload.to_vec()).unwrap()),
            BINARY => Got::Binary(payload.to_vec()),
            _ => panic!("{first:#x} begins no message"),
        });
        self
    }

    /// The session is closed with this code.
    pub fn ends(mut self, code: u16) -> Self {
        self.end = Some(code);
        self
    }

    /// Returns the case, cut another way.
    pub fn cut(&self, cut: Cut) -> Self {
        let (mut case, name) = (self.clone(), &self.name);
        case.name = format!("{name}, cut {cut:?}");
        case.cut = cut;
        case
    }

    /// Returns the case, cut in all ways.
    pub fn cut_in_all_ways(&self) -> [Self; 3] {
        [self.clone(), self.cut(Cut::Frames), self.cut(Cut::Bytes(1))]
    }

    fn send(&self, ws: &mut Ws) {
        let all = self.frames.concat();
        match self.cut {
            Cut::Not => ws.raw(&all),
            Cut::Frames => self.frames.iter().for_each(|frame| ws.raw(frame)),
            // It fails when the broker does not wait for all of them.
            Cut::Bytes(n) => all.chunks(n).for_each(|piece| {
                use std::io::Write as _;
                let _ = ws.stream.write_all(piece);
            }),
        }
    }
}

/// Runs cases one after the other on one broker.
pub fn run(settings: mles::Settings, cases: impl IntoIterator<Item = Case>) {
    let broker = start(settings);
    let mut observer = Ws::v2(&broker, "observer", "room");
    let mut marker = Ws::v2(&broker, "marker", "room");
    for (i, case) in cases.into_iter().enumerate() {
        eprintln!("{}", case.name);
        run_one(&broker, &format!("client {i}"), &case, &mut observer);
        // Nothing but what was expected has been seen.
        let mark = format!("mark {i}");
        marker.send(TEXT, mark.as_bytes());
        assert_eq!(observer.next(), Got::Text(mark), "{}", case.name);
    }
}

fn run_one(broker: &Broker, uid: &str, case: &Case, observer: &mut Ws) {
    let mut ws = Ws::v2(broker, uid, "room");
    case.send(&mut ws);
    for back in &case.back {
        assert_eq!(ws.next(), *back, "{}", case.name);
    }
    if let Some(code) = case.end {
        ws.assert_closed(code);
    }
    for seen in &case.seen {
        // Not assert_eq: some are large.
        assert!(observer.next() == *seen, "{}", case.name);
    }
    if case.end.is_none() {
        ws.send(PONG, b"");
        ws.send(PING, b"alive?");
        assert_eq!(ws.next(), Got::Pong(b"alive?".to_vec()), "{}", case.name);
        ws.send(CLOSE, &close(1000, "done"));
        ws.assert_closed(1000);
    }
}
