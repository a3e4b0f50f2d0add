//! HTTP/1.1 as far as it is needed, and a publisher that asks again until it has its receipt.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mles::protocol::Position;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::common::Rng;
use crate::log::Event;
use crate::notice;
use crate::payload::{Tag, is_binary};
use crate::proxy::Proxy;
use crate::shared::Shared;
use crate::wire::{CHANNEL, header, take_head, uid_of};

/// Most messages in one request.
const MOST_LINES: usize = 20;

/// A client of HTTP behind a proxy.
pub struct Http {
    pub proxy: Proxy,
    stream: Option<TcpStream>,
    /// It waits so long for an answer, and longer with each failure in a row.
    patience: Duration,
    /// Requests in a row that had no answer.
    failures: u32,
}

impl Http {
    pub fn new(proxy: Proxy, patience: Duration) -> Self {
        Self {
            proxy,
            stream: None,
            patience,
            failures: 0,
        }
    }

    /// Asks on the connection that there is, or a new one. Returns status and body of the answer; the error says
    /// why there was none.
    pub async fn ask(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let patience = self.patience * 2_u32.pow(self.failures.min(7));
        let answer = timeout(patience, self.exchange(request)).await;
        let answer = answer.unwrap_or_else(|_| Err("given up: nothing comes".to_owned()));
        if answer.is_err() {
            self.stream = None;
            self.failures += 1;
        } else {
            self.failures = 0;
        }
        answer
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let lost = |error: std::io::Error| error.to_string();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.proxy.address).await.map_err(lost)?;
                stream.set_nodelay(true).unwrap();
                none.insert(stream)
            }
        };
        stream.write_all(request).await.map_err(lost)?;
        let (mut bytes, mut head) = (Vec::new(), None);
        loop {
            if head.is_none() {
                head = take_head(&mut bytes);
            }
            if let Some(head) = &head {
                let len = header(head, "content-length").unwrap_or("0");
                let len: usize = len.parse().unwrap();
                if bytes.len() == len {
                    let status = head["http/1.1 ".len()..][..3].parse().unwrap();
                    if header(head, "connection") == Some("close") {
                        self.stream = None;
                    }
                    return Ok((status, bytes));
                }
            }
            if stream.read_buf(&mut bytes).await.map_err(lost)? == 0 {
                return Err("the end of the stream".to_owned());
            }
        }
    }
}

/// Publishes over HTTP, each message until it has its receipt.
pub struct HttpPublisher {
    pub shared: Rc<Shared>,
    pub actor: usize,
    pub http: Http,
    pub rng: Rng,
    pub quota: u32,
    /// Set if what has no answer is sent again, with the same key.
    pub asks_again: bool,
}

/// Returns `true` if the server says that it has not got the whole request.
fn is_cut(status: u16, body: &[u8]) -> bool {
    status == 400 && String::from_utf8_lossy(body).contains("error reading a body")
}

/// A receipt for one message or for many.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodedReceipt {
    #[serde(deserialize_with = "notice::position")]
    position: Position,
    epoch: String,
    offset: Option<u64>,
    first: Option<u64>,
    last: Option<u64>,
}

impl HttpPublisher {
    pub async fn run(mut self) {
        let mut next = 0;
        while next < self.quota {
            let most = (self.quota - next).min(u32::try_from(MOST_LINES).unwrap());
            let count = match self.rng.below(4) {
                0 => 1 + u32::try_from(self.rng.below(most as usize)).unwrap(),
                _ => 1,
            };
            let actor = self.actor;
            let tags = (next..next + count).map(|number| Tag { actor, number });
            self.publish(tags.collect()).await;
            next += count;
            self.shared.count_settled(count as usize);
            let rest = self.rng.below(12) as u64;
            sleep(Duration::from_millis(rest)).await;
        }
    }

    async fn publish(&mut self, tags: Vec<Tag>) {
        let request = self.request(&tags);
        loop {
            match self.http.ask(&request).await {
                Ok((status @ (200 | 201), body)) => {
                    let event = self.receipt(status, &body, tags);
                    return self.shared.log(self.actor, event);
                }
                // It stops, is asked too much, or the request was cut in the middle.
                Ok((status, body)) if status == 503 || is_cut(status, &body) => {
                    if !self.asks_again {
                        break;
                    }
                }
                Ok((status, body)) => {
                    let body = String::from_utf8_lossy(&body);
                    self.shared
                        .fail(self.actor, &format!("answered {status}: {body}"));
                }
                Err(why) => {
                    self.shared.log(self.actor, Event::End(why));
                    if !self.asks_again {
                        break;
                    }
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
        self.shared.log(self.actor, Event::Doubtful(tags));
    }

    fn request(&self, tags: &[Tag]) -> Vec<u8> {
        let (first, uid) = (tags[0], uid_of(self.actor));
        let payload = |tag| self.shared.lengths.payload(tag);
        let (content_type, body) = match tags {
            [one] if is_binary(*one) => ("application/octet-stream", payload(*one)),
            [one] => ("text/plain", payload(*one)),
            many => {
                let lines = many.iter().map(|&tag| {
                    let line = if is_binary(tag) {
                        json!({ "base64": STANDARD.encode(payload(tag)) })
                    } else {
                        json!({ "text": String::from_utf8(payload(tag)).unwrap() })
                    };
                    format!("{line}\n")
                });
                let lines: String = lines.collect();
                ("application/x-ndjson", lines.into_bytes())
            }
        };
        let key = format!("{}/{}", first.actor, first.number);
        let head = format!(
            "POST /channels/{CHANNEL}/messages HTTP/1.1\r\nHost: localhost\r\nMles-Uid: {uid}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\nIdempotency-Key: {key}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }

    fn receipt(&self, status: u16, body: &[u8], tags: Vec<Tag>) -> Event {
        let receipt: Result<EncodedReceipt, _> = serde_json::from_slice(body);
        let receipt = receipt.unwrap_or_else(|error| {
            let body = String::from_utf8_lossy(body);
            self.shared.fail(
                self.actor,
                &format!("no receipt ({status}, {error}): {body}"),
            )
        });
        let last = receipt.position;
        let offsets = match (receipt.offset, receipt.first, receipt.last) {
            (Some(offset), None, None) if tags.len() == 1 => Some((offset, offset)),
            (None, Some(first), Some(last)) if tags.len() > 1 => Some((first, last)),
            _ => None,
        };
        let first = offsets
            .filter(|&(_, end)| end == last.offset)
            .map(|(first, _)| first);
        let Some(offset) = first.filter(|_| receipt.epoch == last.epoch.to_string()) else {
            let body = String::from_utf8_lossy(body);
            self.shared
                .fail(self.actor, &format!("contradicts itself: {body}"));
        };
        self.shared.raise_floor(Some(last));
        let first = Position { offset, ..last };
        Event::Posted { tags, first, last }
    }
}
