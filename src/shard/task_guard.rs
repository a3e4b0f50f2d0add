//! Guards of the tasks of a shard: each is measured, and a panic in one stops the broker.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::watchdog::{TaskKind, TurnMark};
use super::{Shard, turn};

impl Shard {
    /// Runs a task on this shard. If it panics the broker stops: a shard that lost a task could
    /// serve its channels only in part.
    pub(crate) fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let kind = kind_of(&self.stats().turn, &task);
        let guard = PanicGuard {
            shard: self.clone(),
        };
        tokio::task::spawn_local(Guarded { task, guard, kind });
    }
}

/// Returns the kind of `task`, for the watchdog.
fn kind_of<F>(mark: &TurnMark, _task: &F) -> TaskKind {
    mark.kind_of::<F>()
}

pin_project! {
    /// A task and its guard. Not an `async` block, which would hold the task twice over.
    struct Guarded<F> {
        #[pin]
        task: F,
        guard: PanicGuard,
        kind: TaskKind,
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let stats = this.guard.shard.stats();
        stats.turn.begin(*this.kind);
        turn::begin();
        let polled = this.task.poll(cx);
        stats.turn.end();
        stats.longest_turn.raise(turn::spent().into());
        polled
    }
}

/// Stops the broker when it is dropped by a panic.
struct PanicGuard {
    shard: Rc<Shard>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                shard = self.shard.id.0,
                "a task of this shard panicked; stopping"
            );
            self.shard.common.fail();
        }
    }
}
