//! Reads the body of a request.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::sleep_until;

use super::problem::ApiProblem;
use crate::shard::allowance::{Overdrawn, Share, evicted};
use crate::shard::frame_deadline::{FrameDeadline, FrameProgress};
use crate::shard::refusal::Refusal;
use crate::shard::{BrokerPhase, Shard};

/// A body, as far as it has come. Its memory grows as bytes come, and is charged to what members may use for
/// incomplete messages until this is dropped: what is published of it may have to wait.
pub(super) struct HeldBody<'a> {
    shard: &'a Shard,
    pub(super) bytes: Vec<u8>,
    share: Share,
    limit: usize,
}

/// Reads a body of at most `limit` bytes. It has to go on as a frame has to.
pub(super) async fn read_body(
    shard: &Shard,
    mut body: Incoming,
    limit: usize,
) -> Result<HeldBody<'_>, ApiProblem> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let mut held = HeldBody {
        shard,
        bytes: Vec::new(),
        share: Share::default(),
        limit,
    };
    let mut deadline = FrameDeadline::default();
    let mut phase = shard.common.phase.subscribe();
    loop {
        let limit = shard.read_limits().frame_deadline;
        let due = deadline.due(Some(held.progress()), limit);
        let overdue = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            problem = held.evicted() => return Err(problem),
            _ = phase.wait_for(|&phase| phase >= BrokerPhase::Draining) => {
                return Err(Refusal::Stopping.into());
            }
            () = overdue => {
                if deadline.check(Some(held.progress())).is_err() {
                    return Err(ApiProblem::new(
                        StatusCode::REQUEST_TIMEOUT,
                        "the body did not go on within frame_deadline",
                    ));
                }
                continue;
            }
        };
        let Some(frame) = frame else {
            return Ok(held);
        };
        let frame = frame.map_err(|error| ApiProblem::bad_request(format!("the body: {error}")))?;
        // Trailers say nothing here.
        if let Ok(data) = frame.into_data() {
            held.append(&data)?;
        }
    }
}

impl HeldBody<'_> {
    fn progress(&self) -> FrameProgress {
        FrameProgress {
            frame: (0, 0),
            bytes: self.bytes.len(),
        }
    }

    /// Appends what has come. Room for it is made in steps that double.
    fn append(&mut self, data: &Bytes) -> Result<(), ApiProblem> {
        let len = self.bytes.len() + data.len();
        if len > self.limit {
            return Err(too_large(self.limit));
        }
        let scratch = &mut self.shard.scratch_of(true).borrow_mut();
        if len > self.bytes.capacity() {
            let capacity = len.max(2 * self.bytes.capacity());
            let held = scratch.allowance.hold(&mut self.share, capacity);
            held.map_err(|Overdrawn| overdrawn(self.shard))?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        scratch.allowance.progressed(&self.share);
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Waits until it has to give way to others, and returns what its client is told. Cancel safe.
    pub(super) async fn evicted(&self) -> ApiProblem {
        evicted(self.shard.scratch_of(true), [&self.share]).await;
        overdrawn(self.shard)
    }
}

impl Drop for HeldBody<'_> {
    fn drop(&mut self) {
        let scratch = &mut self.shard.scratch_of(true).borrow_mut();
        scratch.allowance.release(&mut self.share);
    }
}

fn overdrawn(shard: &Shard) -> ApiProblem {
    shard.stats().partials_evicted.add(1);
    Refusal::Overdrawn.into()
}

fn too_large(limit: usize) -> ApiProblem {
    let detail = format!("the body is over the limit of {limit} bytes");
    ApiProblem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}
