//! A client that reads a channel over HTTP, page by page.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mles::protocol::{Epoch, Position};
use serde::Deserialize;
use tokio::time::sleep;

use crate::common::Rng;
use crate::http::Http;
use crate::log::{Event, Page};
use crate::notice;
use crate::shared::Shared;
use crate::wire::CHANNEL;

pub struct Reader {
    pub shared: Rc<Shared>,
    pub actor: usize,
    pub http: Http,
    pub rng: Rng,
    pub since: Option<Position>,
}

/// A page as it is encoded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodedPage {
    epoch: String,
    messages: Vec<EncodedMessage>,
    recovered: bool,
    missed: Option<u64>,
    #[serde(deserialize_with = "notice::position")]
    next: Position,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodedMessage {
    offset: u64,
    uid: String,
    text: Option<String>,
    base64: Option<String>,
}

impl Reader {
    /// Reads on until it has seen all that there is to be seen.
    pub async fn run(mut self) {
        while !self.shared.is_goal(self.since) {
            if let Some(page) = self.read().await {
                self.since = Some(page.next);
                self.shared.raise_floor(Some(page.next));
                self.shared.log(self.actor, Event::Page(page));
            }
            let rest = self.rng.below(20) as u64;
            sleep(Duration::from_millis(rest)).await;
        }
    }

    /// Reads a page; `None` if there was no answer.
    pub async fn read(&mut self) -> Option<Page> {
        let limit = 1 + self.rng.below(60);
        let since = self.since.map(|since| format!("&since={since}"));
        let since = since.unwrap_or_default();
        let request = format!(
            "GET /channels/{CHANNEL}/messages?limit={limit}{since} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        );
        let floor = self.shared.floor.get();
        let body = match self.http.ask(request.as_bytes()).await {
            Ok((200, body)) => body,
            Ok((503, _)) => return None,
            Ok((status, body)) => {
                let body = String::from_utf8_lossy(&body);
                self.fail(&format!("answered {status}: {body}"))
            }
            Err(why) => {
                self.shared.log(self.actor, Event::End(why));
                return None;
            }
        };
        let page: EncodedPage = serde_json::from_slice(&body)
            .unwrap_or_else(|error| self.fail(&format!("no page: {error}")));
        let epoch: Epoch = page.epoch.parse().unwrap();
        if epoch != page.next.epoch {
            self.fail(&format!("a page of {epoch} goes on at {}", page.next));
        }
        let messages = page.messages.into_iter().map(|message| {
            let payload = match (message.text, message.base64) {
                (Some(text), None) => text.into_bytes(),
                (None, Some(base64)) => STANDARD.decode(base64).unwrap(),
                _ => self.fail("a message that is not either text or base64"),
            };
            let body = self.shared.lengths.body(&payload, Some(&message.uid));
            let offset = message.offset;
            (Position { epoch, offset }, body)
        });
        Some(Page {
            since: self.since,
            limit,
            messages: messages.collect(),
            is_recovered: page.recovered,
            missed: page.missed,
            next: page.next,
            floor,
        })
    }

    fn fail(&self, fault: &str) -> ! {
        self.shared.fail(self.actor, fault)
    }
}
