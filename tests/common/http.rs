//! An HTTP client that speaks raw bytes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Client, is_timeout};

/// A response: its status, its head in lower case, and its body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header, whose name is in lower case, and so is the value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

/// A connection on which one request follows the other.
#[derive(Debug)]
pub struct Http {
    pub stream: TcpStream,
    pending: Vec<u8>,
}

impl Http {
    pub fn connect(at: SocketAddr) -> Self {
        Self::on(Client::connect(&at))
    }

    pub fn on(stream: TcpStream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Asks with a request line and more headers, each with its line end, and waits for the response.
    pub fn ask(&mut self, request: &str, headers: &str) -> Answer {
        self.send(format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        ));
        self.answer()
    }

    /// The next response, which says how long it is. One to HEAD has to be asked for with [`Self::head`].
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let len = answer.header("content-length").unwrap_or("0");
        let len: usize = len.parse().unwrap();
        while self.pending.len() < len {
            assert!(
                self.fill(),
                "the body ends after {} bytes",
                self.pending.len()
            );
        }
        answer.body = String::from_utf8(self.pending.drain(..len).collect()).unwrap();
        answer
    }

    /// The next response without a body, whatever its length says.
    pub fn head(&mut self) -> Answer {
        let end = loop {
            let mut found = self.pending.windows(4);
            match found.position(|window| window == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => assert!(self.fill(), "the connection ends instead of a response"),
            }
        };
        let head = String::from_utf8(self.pending.drain(..end).collect()).unwrap();
        Answer {
            status: head["HTTP/1.1 ".len()..][..3].parse().unwrap(),
            head: head.to_lowercase(),
            body: String::new(),
        }
    }

    /// `true` if the next response has begun to come within `patience`.
    pub fn begins_within(&mut self, patience: Duration) -> bool {
        let before = self.stream.read_timeout().unwrap();
        self.stream.set_read_timeout(Some(patience)).unwrap();
        let begins = !self.pending.is_empty() || self.stream.peek(&mut [0]).is_ok();
        self.stream.set_read_timeout(before).unwrap();
        begins
    }

    /// Asserts that nothing more comes, and that the stream ends in order.
    pub fn assert_end(&mut self) {
        assert!(!self.fill(), "{:?}", String::from_utf8_lossy(&self.pending));
    }

    /// Reads on. `false` at the end of the stream.
    fn fill(&mut self) -> bool {
        let mut chunk = vec![0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(n) => {
                self.pending.extend_from_slice(&chunk[..n]);
                n > 0
            }
            Err(error) if is_timeout(&error) => panic!("nothing comes"),
            Err(error) => panic!("{error}"),
        }
    }
}
