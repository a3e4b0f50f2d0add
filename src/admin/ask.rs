//! Questions to shards.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::problem::AdminProblem;
use super::server::AdminState;
use crate::shard::ShardId;
use crate::shard::inspect::{Answer, Inspection};

/// Longest wait for the answer of a shard.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answers of all shards.
#[derive(Debug)]
pub(super) struct Answers<T> {
    /// The answers that have come.
    pub(super) all: Vec<T>,
    /// The shards that have not answered in time: what they know is missing.
    pub(super) missing: Vec<usize>,
}

/// A question to a shard, on its way.
struct Question<T> {
    /// The way to the shard; `None` if it is stuck: who asks for the others should not wait for it.
    inspector: Option<mpsc::Sender<Inspection>>,
    question: Inspection,
    answer: oneshot::Receiver<T>,
}

impl<T> Question<T> {
    /// Returns the answer; `None` if it does not come in time.
    async fn answer(self) -> Option<T> {
        let inspector = self.inspector?;
        let exchange = async {
            inspector.send(self.question).await.ok()?;
            self.answer.await.ok()
        };
        timeout(PATIENCE, exchange).await.ok()?
    }
}

impl AdminState {
    /// Asks one shard.
    ///
    /// # Errors
    ///
    /// It does not answer in time.
    pub(super) async fn ask<T>(
        &self,
        shard: ShardId,
        question: impl FnOnce(Answer<T>) -> Inspection,
    ) -> Result<T, AdminProblem> {
        let answered = self.question(shard.index(), question).answer().await;
        answered.ok_or_else(|| AdminProblem::unanswered(shard.index()))
    }

    /// Asks all shards at the same time.
    pub(super) async fn ask_all<T: 'static>(
        &self,
        question: impl Fn(Answer<T>) -> Inspection,
    ) -> Answers<T> {
        let shards = 0..self.common.shards();
        let asked: Vec<_> = shards
            .map(|shard| spawn_local(self.question(shard, &question).answer()))
            .collect();
        let (mut all, mut missing) = (Vec::new(), Vec::new());
        for (shard, asked) in asked.into_iter().enumerate() {
            match asked.await {
                Ok(Some(answer)) => all.push(answer),
                _ => missing.push(shard),
            }
        }
        Answers { all, missing }
    }

    fn question<T>(
        &self,
        shard: usize,
        question: impl FnOnce(Answer<T>) -> Inspection,
    ) -> Question<T> {
        let (sender, answer) = oneshot::channel();
        let is_stuck = self.common.stats[shard].turn.is_stuck();
        let inspector = &self.common.inspectors[shard];
        Question {
            inspector: (!is_stuck).then(|| inspector.clone()),
            question: question(sender),
            answer,
        }
    }
}
