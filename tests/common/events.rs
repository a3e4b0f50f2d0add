//! A client of event streams that speaks raw bytes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::{Client, is_timeout};

/// An event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    /// Its name: `message` if it has none.
    pub name: String,
    pub data: Value,
    /// Milliseconds after which the client is to come back.
    pub retry: Option<u32>,
}

impl Event {
    fn parse(text: &str) -> Self {
        let text = text.trim_end();
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            let value = lines.find(|(found, _)| *found == name);
            value.map(|(_, value)| value.to_owned())
        };
        assert!(text.lines().all(|line| line.contains(": ")), "{text:?}");
        Self {
            id: field("id"),
            name: field("event").unwrap_or_else(|| "message".to_owned()),
            data: serde_json::from_str(&field("data").expect(text)).expect(text),
            retry: field("retry").map(|retry| retry.parse().unwrap()),
        }
    }
}

/// A stream whose head has come.
#[derive(Debug)]
pub struct Events {
    pub stream: TcpStream,
    /// The head in lower case.
    pub head: String,
    pending: Vec<u8>,
    /// Number of comments that have come.
    pub comments: usize,
}

impl Events {
    /// Asks for the stream at `path`, with more headers, each with its line end.
    pub fn open(at: SocketAddr, path: &str, headers: &str) -> Self {
        Self::ask_on(Client::connect(&at), path, headers)
    }

    /// Asks like [`Self::open`], on a connection that there is.
    pub fn ask_on(mut stream: TcpStream, path: &str, headers: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Self::on(stream)
    }

    /// Takes over a connection on which a stream was asked for.
    pub fn on(stream: TcpStream) -> Self {
        let mut events = Self {
            stream,
            head: String::new(),
            pending: Vec::new(),
            comments: 0,
        };
        let head = events.take_to(b"\r\n\r\n").expect("a head");
        events.head = head.to_lowercase();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let content_type = "\r\ncontent-type: text/event-stream\r\n";
        assert!(events.head.contains(content_type), "{head}");
        events
    }

    /// The next event.
    pub fn next(&mut self) -> Event {
        self.try_next().expect("the stream ends")
    }

    /// The next event; `None` at the end of the stream.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            let text = self.take_to(b"\n\n")?;
            if text == ":\n\n" {
                self.comments += 1;
            } else {
                return Some(Event::parse(&text));
            }
        }
    }

    /// The data of the next event, which has that name.
    pub fn data(&mut self, name: &str) -> Value {
        let event = self.next();
        assert_eq!(event.name, name, "{event:?}");
        event.data
    }

    /// The next message, as text.
    pub fn text(&mut self) -> String {
        self.data("message")["text"].as_str().unwrap().to_owned()
    }

    /// Waits for a comment.
    pub fn comment(&mut self) {
        let text = self.take_to(b"\n\n");
        assert_eq!(text.as_deref(), Some(":\n\n"));
    }

    /// Asserts that the stream ends here.
    pub fn assert_end(&mut self) {
        assert_eq!(self.try_next(), None);
    }

    /// The bytes up to the end of `mark`; `None` at the end of the stream.
    fn take_to(&mut self, mark: &[u8]) -> Option<String> {
        let mut from = 0;
        loop {
            let mut found = self.pending[from..].windows(mark.len());
            if let Some(at) = found.position(|window| window == mark) {
                let bytes = self.pending.drain(..from + at + mark.len()).collect();
                return Some(String::from_utf8(bytes).unwrap());
            }
            from = self.pending.len().saturating_sub(mark.len());
            let mut chunk = vec![0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.pending.is_empty(), "the stream ends inside an event");
                    return None;
                }
                Ok(n) => self.pending.extend_from_slice(&chunk[..n]),
                Err(error) if is_timeout(&error) => panic!("nothing comes"),
                Err(error) => panic!("{error}"),
            }
        }
    }
}
