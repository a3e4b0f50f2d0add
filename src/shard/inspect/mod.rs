//! Questions of the admin listener to a shard, and what it has a shard do.
//!
//! A question comes by a short queue of its own, never by the mailboxes, and its answer goes back the way that came with
//! it. One task answers, one question after the other.
//!
//! Invariants:
//!
//! * A look at channels or sessions, however many there are, is divided into steps ([`STEP`]) with a pause after each,
//!   so all that is ever asked takes a small, fixed part of the shard's time.
//! * What comes and goes between two steps may be missing in the answer. Nothing is in it twice.
//! * An answer is as long as was asked for, not as long as there are channels or sessions.
//! * Messages pay one addition for each run ([`Traffic`](super::traffic::Traffic)); rates are made of that here.
//!
//! It must not know HTTP or JSON.

mod act;
mod channels;
mod load;
mod ranking;
mod sessions;
mod walk;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

pub(crate) use act::ClearedHistory;
pub(crate) use channels::{ChannelOrder, ChannelPart, ChannelQuery, OwnedPart};
pub(crate) use load::ShardLoad;
pub(crate) use ranking::{Cursor, Ranked};
pub(crate) use sessions::{SessionOrder, SessionQuery, SessionReport};

use super::ids::ChannelId;
use super::{Shard, turn};
use crate::channel::SessionId;

/// Questions that wait for a shard at most.
pub(crate) const WAITING: usize = 16;
/// Units of a turn that one step may cost: about 60 µs.
const STEP: u32 = 2 * turn::EXPENSIVE;
/// Pause after each step. With it, all looks together take about 5 % of a shard's time at most.
const PAUSE: Duration = Duration::from_millis(1);

/// The way back to who asks. Nobody waits for the answer when it is closed.
pub(crate) type Answer<T> = oneshot::Sender<T>;

/// A question to a shard, or something that it is to do.
#[derive(Debug)]
pub(crate) enum Inspection {
    /// The channel of that name, if the shard owns it.
    FindChannel(Box<str>, Answer<Option<ChannelId>>),
    /// The first channels in an order.
    RankChannels(Arc<ChannelQuery>, Answer<Vec<Ranked<Box<str>, ChannelId>>>),
    /// State of these channels on the shard, with so many of its slowest members each.
    DescribeChannels(Arc<[ChannelId]>, usize, Answer<Vec<ChannelPart>>),
    /// The first sessions in an order.
    RankSessions(Arc<SessionQuery>, Answer<Vec<Ranked<u64, SessionReport>>>),
    /// Ends a session. Answers whether it is one of the shard.
    EndSession(SessionId, Answer<bool>),
    /// Clears the history of a channel; `None` if the shard does not own it.
    ClearHistory(Box<str>, Answer<Option<ClearedHistory>>),
}

impl Shard {
    /// Answers the admin listener until that is gone.
    pub(super) async fn inspect_forever(
        self: Rc<Self>,
        mut inspections: mpsc::Receiver<Inspection>,
    ) {
        while let Some(inspection) = inspections.recv().await {
            self.inspect(inspection).await;
            self.rest().await;
        }
    }

    async fn inspect(self: &Rc<Self>, inspection: Inspection) {
        // Who has asked may be gone.
        match inspection {
            Inspection::FindChannel(name, answer) => _ = answer.send(self.find_channel(&name)),
            Inspection::RankChannels(query, answer) => {
                _ = answer.send(self.rank_channels(&query).await);
            }
            Inspection::DescribeChannels(ids, slowest, answer) => {
                _ = answer.send(self.describe_channels(&ids, slowest).await);
            }
            Inspection::RankSessions(query, answer) => {
                _ = answer.send(self.rank_sessions(&query).await);
            }
            Inspection::EndSession(session, answer) => {
                _ = answer.send(self.end_by_operator(session).await);
            }
            Inspection::ClearHistory(name, answer) => {
                _ = answer.send(self.clear_history(&name).await);
            }
        }
    }

    /// Lets everybody else have their turn after a step.
    async fn rest(&self) {
        sleep(PAUSE).await;
    }
}
