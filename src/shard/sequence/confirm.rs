//! Publications that are confirmed: somebody without a seat waits for the receipt, and may publish again by the same name.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{CommitOutcome, Proposed, Source};
use crate::channel::{PublisherId, SessionId};
use crate::shard::Shard;
use crate::shard::ask::{Idempotency, Publication, Receipt, Reply};
use crate::shard::dirty::DirtyChannels;
use crate::shard::ids::{ChannelId, Home};
use crate::shard::labels::Transport;
use crate::shard::refusal::Refusal;
use crate::shard::room::Room;

/// Somebody without a seat who waits for a receipt.
#[derive(Debug)]
pub(in crate::shard) struct Confirm {
    /// The name of the publication, if it has one.
    idempotency: Option<Idempotency>,
    /// When it was read, if its latency is to be sampled once it is committed.
    pub(in crate::shard) sampled: Option<Instant>,
    /// The way back; `None` once it has its answer.
    reply: Option<Reply<Receipt>>,
}

impl Confirm {
    /// Returns the name of the publication, if it has one.
    pub(in crate::shard) fn idempotency(&self) -> Option<Idempotency> {
        self.idempotency
    }

    /// Returns what the name of the publication stands for among publishers.
    pub(in crate::shard) fn publisher(&self) -> Option<PublisherId> {
        self.idempotency.map(|named| named.publisher)
    }

    /// Gives the answer. Does nothing if there was one.
    pub(in crate::shard) fn answer(&mut self, answer: Result<Receipt, Refusal>) {
        if let Some(reply) = self.reply.take() {
            // Nobody waits for it when the connection is gone.
            let _ = reply.send(answer);
        }
    }
}

/// Returns why a run without messages has no receipt.
pub(in crate::shard) fn no_message() -> Refusal {
    Refusal::Fault("nothing of it is a message".into())
}

impl Shard {
    /// Proposes what somebody without a seat has published, and confirms it when it is committed. What `publisher`
    /// has published before is confirmed once more, and not there twice; something else by the same name is refused.
    pub(in crate::shard) fn propose_confirmed(
        self: &Rc<Self>,
        at: u32,
        publication: Publication,
        reply: Reply<Receipt>,
        now: Instant,
    ) {
        let mut registry = self.registry.borrow_mut();
        let Some((room, dirty)) = registry.room_and_dirty(at) else {
            return;
        };
        if let Some(answer) = known_answer(room, publication.idempotency, now) {
            // Nobody waits for it when the connection is gone.
            let _ = reply.send(answer);
            return;
        }
        if let Some(Idempotency { publisher, .. }) = publication.idempotency
            && room.holds_of(publisher)
            && let Some(turn) = room.turn()
        {
            let (channel, limit) = (room.id, room.channel.settings().write_deadline);
            let again = self.clone();
            return self.spawn(again.propose_in_turn(channel, publication, turn, limit, reply));
        }
        let Publication {
            run,
            idempotency,
            sampled,
            ..
        } = publication;
        self.count_received(Transport::Http, &run);
        let (from, source) = (SessionId::NONE, Source::Member);
        let proposed = Proposed { run, from, source };
        let mut confirm = Confirm {
            idempotency,
            sampled,
            reply: Some(reply),
        };
        if !room.commits_at_once() {
            let outcome = self.hold(room, dirty, proposed, Some(confirm), now);
            drop(registry);
            return self.after_commit(at, outcome, now);
        }
        let outcome = self.commit_confirmed(room, dirty, &proposed, &mut confirm, now);
        drop(registry);
        self.after_commit(at, outcome, now);
        if let Some(read) = sampled {
            self.follow(Home::Owned(at), read);
        }
    }

    /// Commits a run, remembers its name, and gives the receipt.
    pub(in crate::shard) fn commit_confirmed(
        &self,
        room: &mut Room,
        dirty: &mut DirtyChannels,
        proposed: &Proposed,
        confirm: &mut Confirm,
        now: Instant,
    ) -> CommitOutcome {
        let before = room.channel.newest();
        let is_suspect = self.commit_next(room, proposed, now);
        let receipt =
            before.and_then(|before| room.channel.confirm(before, confirm.publisher(), now));
        if let Some(Idempotency { publisher, content }) = confirm.idempotency {
            room.channel.remember_content(publisher, content);
        }
        self.count_forgotten(room);
        confirm.answer(receipt.ok_or_else(no_message));
        self.tend_members(room, dirty, is_suspect)
    }

    /// Counts the publishers that a channel has forgotten to have memory for others.
    pub(in crate::shard) fn count_forgotten(&self, room: &mut Room) {
        let forgotten = room.channel.take_forgotten() as u64;
        self.stats().publishers_forgotten.add(forgotten);
    }

    /// Proposes once more what is held already under the same name, when that has its place: it is confirmed then, and
    /// not there twice.
    async fn propose_in_turn(
        self: Rc<Self>,
        channel: ChannelId,
        publication: Publication,
        turn: oneshot::Receiver<()>,
        limit: Duration,
        mut reply: Reply<Receipt>,
    ) {
        tokio::select! {
            () = reply.closed() => return,
            // A room that is closed holds nothing any more.
            _ = turn => {}
            () = sleep(limit) => {
                let _ = reply.send(Err(self.why_undecided()));
                return;
            }
        }
        let is_open = self.registry.borrow_mut().room_of(channel).is_some();
        if is_open {
            self.propose_confirmed(channel.index, publication, reply, Instant::now());
        }
    }
}

/// Returns the answer to a publication that is known without proposing it: its name has its place already, or stands for
/// something else, or the channel has no positions.
fn known_answer(
    room: &mut Room,
    idempotency: Option<Idempotency>,
    now: Instant,
) -> Option<Result<Receipt, Refusal>> {
    if let Some(Idempotency { publisher, content }) = idempotency
        && let Some(receipt) = room.channel.first_receipt(publisher, now)
    {
        let is_other = room.channel.is_other_content(publisher, content);
        return Some(if is_other {
            Err(Refusal::OtherContent)
        } else {
            Ok(receipt)
        });
    }
    // Nothing numbers it any more.
    let is_numbered = room.channel.newest().is_some();
    (!is_numbered).then_some(Err(Refusal::Stopping))
}
