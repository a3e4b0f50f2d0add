//! `POST /channels/{channel}/messages`: publishes a message, or many at once, and answers with their place.

use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::timeout;

use super::body::read_body;
use super::message_lines::{LineMessage, lines};
use super::problem::ApiProblem;
use super::{Admitted, Caller};
use crate::channel::{FrameRun, PublisherId};
use crate::gateway::response::json;
use crate::protocol::Position;
use crate::protocol::{BodyPrefix, Cid, Key};
use crate::shard::ask::{Idempotency, Publication, Receipt};
use crate::shard::refusal::Refusal;
use crate::shard::turn;
use crate::websocket::{HttpRequest, Kind, max_payload, put_message_start};

/// Most messages of one request: each may be much larger as a frame, with its names, than as a line.
const MAX_LINES: usize = 1000;
/// Longest `Idempotency-Key`, in bytes.
const MAX_KEY: usize = 255;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum BodyForm {
    /// It is one message of that kind.
    Message(Kind),
    /// A message in each line.
    Lines,
}

/// Frames that are put together for one publication.
struct Frames<'a> {
    bytes: Vec<u8>,
    count: u32,
    holder: (Cid, Key),
    names: &'a BodyPrefix,
    /// Largest message in bytes.
    max_message: usize,
}

/// The answer to one message.
#[derive(Serialize)]
struct MessageReceipt {
    position: String,
    epoch: String,
    offset: u64,
}

/// The answer to messages in lines.
#[derive(Serialize)]
struct LinesReceipt {
    position: String,
    epoch: String,
    first: u64,
    last: u64,
}

impl Caller<'_> {
    /// Publishes what a request holds.
    pub(super) async fn publish(
        &self,
        request: &HttpRequest<'_>,
        admitted: &Admitted<'_>,
        body: Incoming,
    ) -> Result<Response<Bytes>, ApiProblem> {
        let (shard, Admitted { names, rights }) = (self.shard, admitted);
        if !shard.is_running() {
            return Err(Refusal::Stopping.into());
        }
        let form = form(request)?;
        let sampled = shard.sample_publication();
        let publisher = idempotency_key(request)?.map(|key| {
            let common = &shard.common;
            common.publisher_id(admitted.rights.subject(), &names.uid, key)
        });
        let prefix = BodyPrefix::new(&names.uid, &names.channel);
        let limits = shard.read_limits();
        let max_message = max_payload(limits.max_body, &prefix).min(limits.max_message);
        let limit = match form {
            BodyForm::Message(_) => max_message,
            BodyForm::Lines => limits.max_message,
        };
        let mut body = read_body(shard, body, limit).await?;
        let mut frames = Frames {
            bytes: Vec::new(),
            count: 0,
            holder: (
                Cid(rand::random()),
                shard
                    .common
                    .access()
                    .frame_key(self.client, &names.uid, &names.channel),
            ),
            names: &prefix,
            max_message,
        };
        match form {
            BodyForm::Message(kind) => {
                check_message(kind, &body.bytes)?;
                frames.push(kind, &body.bytes)?;
            }
            BodyForm::Lines => self.push_lines(&mut frames, &body.bytes).await?,
        }
        let who = (&*names.uid, &*names.channel);
        let count = frames.count.into();
        let allowed = shard
            .common
            .publish_without_session(self.client, rights, who, count);
        allowed.map_err(Refusal::TooOften)?;
        let idempotency = publisher.map(|publisher| Idempotency {
            publisher: PublisherId(publisher),
            content: shard.common.content_hash(&(form, &body.bytes)),
        });
        // The frames stand for it now: they take about as much.
        body.bytes = Vec::new();
        let publication = Publication {
            channel: names.channel.as_ref().into(),
            run: frames.into_run(),
            peer: self.client,
            idempotency,
            sampled,
        };
        let deadline = limits.frame_deadline;
        let receipt = tokio::select! {
            biased;
            receipt = timeout(deadline, shard.publish_confirmed(publication)) => receipt,
            problem = body.evicted() => return Err(problem),
        };
        let receipt = receipt.map_err(|_| unconfirmed())??;
        Ok(answer(form, &receipt))
    }

    /// Puts a message in for each line. Others have their turn in between.
    async fn push_lines(&self, frames: &mut Frames<'_>, body: &[u8]) -> Result<(), ApiProblem> {
        for (number, line) in lines(body) {
            let message = LineMessage::parse(line);
            let message =
                message.map_err(|bad| ApiProblem::bad_request(bad.to_string()).at_line(number))?;
            if frames.count as usize == MAX_LINES {
                let detail = format!("more than {MAX_LINES} messages");
                let problem = ApiProblem::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
                return Err(problem.at_line(number));
            }
            let pushed = frames.push(message.kind, &message.payload);
            pushed.map_err(|problem| problem.at_line(number))?;
            turn::spend_bytes(line.len());
            if turn::spent() >= turn::BUDGET / 2 {
                self.shard.yield_turn().await;
            }
        }
        if frames.count == 0 {
            return Err(ApiProblem::bad_request("the body has no messages"));
        }
        Ok(())
    }
}

impl Frames<'_> {
    /// Appends a frame with a message.
    fn push(&mut self, kind: Kind, payload: &[u8]) -> Result<(), ApiProblem> {
        let too_large = || {
            let detail = format!(
                "the message is over the limit of {} bytes",
                self.max_message
            );
            ApiProblem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        };
        if payload.len() > self.max_message {
            return Err(too_large());
        }
        put_message_start(
            &mut self.bytes,
            self.holder,
            self.names,
            kind,
            payload.len(),
        )
        .map_err(|_| too_large())?;
        self.bytes.extend_from_slice(payload);
        self.count += 1;
        turn::spend(1);
        turn::spend_bytes(payload.len());
        Ok(())
    }

    fn into_run(mut self) -> FrameRun {
        // Queues count lengths, so no run may keep much more alive than it holds.
        self.bytes.shrink_to_fit();
        let capacity = self.bytes.capacity();
        FrameRun::slice_of(self.bytes.into(), self.count, capacity)
    }
}

/// Returns the form of a body by its `Content-Type`.
fn form(request: &HttpRequest<'_>) -> Result<BodyForm, ApiProblem> {
    let unsupported =
        |detail: &'static str| ApiProblem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    if request
        .only("Content-Encoding")?
        .is_some_and(|coding| coding != "identity")
    {
        return Err(unsupported(
            "bodies are taken as they are: no Content-Encoding",
        ));
    }
    let content_type = request.only("Content-Type")?.unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let form = match media.as_str() {
        "application/x-ndjson" | "application/ndjson" => BodyForm::Lines,
        // What curl -d says of whatever it sends.
        "application/x-www-form-urlencoded" | "application/json" => BodyForm::Message(Kind::Text),
        media if media.starts_with("text/") || media.ends_with("+json") => {
            BodyForm::Message(Kind::Text)
        }
        media if media.starts_with("multipart/") => {
            return Err(unsupported(
                "the body is the message: no multipart (with curl, --data-binary @FILE and not -F)",
            ));
        }
        _ => BodyForm::Message(Kind::Binary),
    };
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("charset")
            .then(|| value.trim_matches('"'))
    });
    let is_utf8 = |charset: &str| {
        ["utf-8", "utf8", "us-ascii"]
            .iter()
            .any(|known| charset.eq_ignore_ascii_case(known))
    };
    if form != BodyForm::Message(Kind::Binary) && !charset.is_none_or(is_utf8) {
        return Err(unsupported("text is UTF-8 here"));
    }
    Ok(form)
}

fn check_message(kind: Kind, body: &[u8]) -> Result<(), ApiProblem> {
    if body.is_empty() {
        return Err(ApiProblem::bad_request(
            "the body is empty: it is the message",
        ));
    }
    if kind == Kind::Text && std::str::from_utf8(body).is_err() {
        return Err(ApiProblem::bad_request(
            "the body is not UTF-8, as text is; other bytes are application/octet-stream",
        ));
    }
    Ok(())
}

fn idempotency_key<'a>(request: &HttpRequest<'a>) -> Result<Option<&'a str>, ApiProblem> {
    let key = request.only("Idempotency-Key")?;
    if key.is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
        let detail = format!("Idempotency-Key has 1 to {MAX_KEY} characters");
        return Err(ApiProblem::bad_request(detail));
    }
    Ok(key)
}

fn unconfirmed() -> ApiProblem {
    ApiProblem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "the channel did not take it within frame_deadline; it may still do so: with an \
         Idempotency-Key it is safe to send it again",
    )
}

/// Answers with the place of what was published: 200 if it was published before.
fn answer(form: BodyForm, receipt: &Receipt) -> Response<Bytes> {
    let epoch = receipt.epoch;
    let position = Position {
        epoch,
        offset: receipt.last,
    };
    let (position, epoch) = (position.to_string(), epoch.to_string());
    let status = if receipt.is_repeat {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    match form {
        BodyForm::Message(_) => {
            let offset = receipt.last;
            let receipt = MessageReceipt {
                position,
                epoch,
                offset,
            };
            json(status, "application/json", &receipt)
        }
        BodyForm::Lines => {
            let (first, last) = (receipt.first, receipt.last);
            let receipt = LinesReceipt {
                position,
                epoch,
                first,
                last,
            };
            json(status, "application/json", &receipt)
        }
    }
}
