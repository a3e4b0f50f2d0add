//! When a session shows another token, and which.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

use crate::client::token_source::{TokenFuture, TokenSource};

/// Longest time before a token expires at which another one is asked for.
const LONGEST_LEAD: Duration = Duration::from_secs(60);
/// Shortest time between two times that a source is asked that has no other token.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);

/// The token of a connection, and the next one.
///
/// The caller says for how long the token counts ([`counts_for`](Self::counts_for)), and asks for another one
/// ([`poll`](Self::poll)), which it then shows. The server's answer to that is the next time.
pub(super) struct TokenRefresh {
    source: TokenSource,
    /// The token that was shown last.
    shown: String,
    /// When it expires.
    end: Instant,
    step: Step,
}

enum Step {
    /// Nothing is known, or the server has to answer.
    Idle,
    /// The source is to be asked.
    Waits(Pin<Box<Sleep>>),
    /// The source was asked.
    Asks(TokenFuture),
}

impl TokenRefresh {
    /// Begins with the token that the join has shown.
    pub(super) fn new(source: TokenSource, shown: String) -> Self {
        Self {
            source,
            shown,
            end: Instant::now(),
            step: Step::Idle,
        }
    }

    /// Notes for how long the token counts: a quarter of that before its end, and not more than a minute, another one is
    /// asked for.
    pub(super) fn counts_for(&mut self, ttl: Duration) {
        // A token for ever needs no other.
        let Some(end) = Instant::now().checked_add(ttl) else {
            self.step = Step::Idle;
            return;
        };
        self.end = end;
        let lead = (ttl / 4).min(LONGEST_LEAD);
        self.step = Step::Waits(Box::pin(sleep(ttl - lead)));
    }

    /// Polls for another token than that which was shown last.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            match &mut self.step {
                Step::Idle => return Poll::Pending,
                Step::Waits(wait) => {
                    std::task::ready!(wait.as_mut().poll(cx));
                    self.step = Step::Asks(self.source.token());
                }
                Step::Asks(token) => {
                    let token = std::task::ready!(token.as_mut().poll(cx));
                    if let Ok(token) = token
                        && token != self.shown
                    {
                        self.step = Step::Idle;
                        self.shown.clone_from(&token);
                        return Poll::Ready(token);
                    }
                    // Without another one the server ends the session.
                    let left = self.end.saturating_duration_since(Instant::now());
                    self.step = if left.is_zero() {
                        Step::Idle
                    } else {
                        let wait = (left / 4).max(SHORTEST_WAIT);
                        Step::Waits(Box::pin(sleep(wait)))
                    };
                }
            }
        }
    }
}
