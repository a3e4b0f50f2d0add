//! Plays a request over HTTP, and compares the response with that in the document.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::epochs::Epochs;
use crate::common::Client;
use crate::docs::documents::Block;

/// What no two responses have in common: left out of the document.
const DATE: &str = "Date: ";

/// Plays a block: a request, an empty line, and the response.
pub(super) fn play(server: SocketAddr, block: &Block, epochs: &mut Epochs) {
    let place = &block.place;
    let at = block.text.find("\nHTTP/1.1 ").expect("a response") + 1;
    let (request, response) = block.text.split_at(at);
    let mut stream = Client::connect(&server);
    stream
        .write_all(&epochs.as_sent(as_sent(request, place).as_bytes()))
        .unwrap();

    let (head, body) = response.split_once("\n\n").unwrap_or((response, ""));
    let mut received = Response {
        stream,
        pending: Vec::new(),
    };
    let got_head = received.head();
    let got_body = received.body(&got_head, body.len());
    let got_body = epochs.match_shown(body.as_bytes(), &got_body);
    let got_body = String::from_utf8(got_body).unwrap();
    let is_same = got_head.lines().next() == head.lines().next()
        && headers(&got_head) == headers(head)
        && got_body == body;
    assert!(is_same, "{place}: the response is\n{got_head}{got_body}");
}

/// Returns a request as it is sent. What stands between its head and the response is its body, which may end with a
/// line end or not: its length says it.
fn as_sent(request: &str, place: &str) -> String {
    let (head, body) = request.split_once("\n\n").expect("a head");
    let body = body.trim_end_matches('\n');
    let length = header(head, "Content-Length").map_or(0, |length| length.parse().unwrap());
    let head = head.replace('\n', "\r\n");
    let end = match length {
        length if length == body.len() => "",
        length if length == body.len() + 1 => "\n",
        _ => panic!("{place}: the body has {} bytes", body.len()),
    };
    format!("{head}\r\n\r\n{body}{end}")
}

/// Returns the headers in any order, without those that differ each time.
fn headers(head: &str) -> Vec<&str> {
    let lines = head.lines().skip(1);
    let mut lines: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with(DATE))
        .collect();
    lines.sort_unstable();
    lines
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

/// A response that is coming in.
struct Response {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl Response {
    fn head(&mut self) -> String {
        let head = self.take_line(b"\r\n\r\n");
        String::from_utf8(head).unwrap()
    }

    /// Returns the body, or of a stream without an end the first `shown` bytes.
    fn body(&mut self, head: &str, shown: usize) -> Vec<u8> {
        if header(head, "Content-Type") == Some("text/event-stream") {
            return self.take(shown);
        }
        if header(head, "Transfer-Encoding") != Some("chunked") {
            let length = header(head, "Content-Length").unwrap_or("0");
            return self.take(length.parse().unwrap());
        }
        let mut body = Vec::new();
        while body.len() < shown {
            let size = String::from_utf8(self.take_line(b"\r\n")).unwrap();
            match usize::from_str_radix(size.trim(), 16).unwrap() {
                0 => break,
                size => body.extend(self.take(size)),
            }
            self.take_line(b"\r\n");
        }
        body
    }

    /// Takes everything up to `end`, which is included.
    fn take_line(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            let mut found = self.pending.windows(end.len());
            if let Some(at) = found.position(|window| window == end) {
                return self.pending.drain(..at + end.len()).collect();
            }
            self.fill();
        }
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        while self.pending.len() < len {
            self.fill();
        }
        self.pending.drain(..len).collect()
    }

    fn fill(&mut self) {
        let mut chunk = [0; 4096];
        let n = self
            .stream
            .read(&mut chunk)
            .expect("the rest of a response");
        assert!(n > 0, "the connection ends inside of a response");
        self.pending.extend_from_slice(&chunk[..n]);
    }
}
