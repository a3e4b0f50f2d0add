//! Receipts of `mles pub --confirm`.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::timeout;

use super::duration::in_words;
use super::failure::{CommandFailure, explained};
use super::output::{print, say};
use super::subscriptions::Rights;
use crate::client::{Error, Event, Position, Publisher, Subscriber};

/// Counts receipts and prints positions, if the user wants messages confirmed.
pub(super) struct Receipts {
    is_wanted: bool,
    channel: String,
    /// Number of messages that were taken to be sent.
    sent: Cell<u64>,
    confirmed: Cell<u64>,
    /// Set while the connection is lost, as far as the user was told.
    is_lost: Cell<bool>,
}

impl Receipts {
    pub(super) fn new(is_wanted: bool, channel: &str) -> Self {
        Self {
            is_wanted,
            channel: channel.to_owned(),
            sent: Cell::new(0),
            confirmed: Cell::new(0),
            is_lost: Cell::new(false),
        }
    }

    /// Notes that so many more messages are to be confirmed.
    pub(super) fn expect(&self, count: u64) {
        self.sent.set(self.sent.get() + count);
    }

    /// Fails if receipts are wanted and the server gives none.
    pub(super) async fn are_offered(
        &self,
        publisher: &mut Publisher,
    ) -> Result<(), CommandFailure> {
        if self.is_wanted && !publisher.has_positions().await? {
            return Err(Error::NoPositions.into());
        }
        Ok(())
    }

    /// Receives until the session ends, which is a failure.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was received was printed.
    pub(super) async fn take_all(&self, subscriber: &mut Subscriber) -> Result<(), CommandFailure> {
        while let Some(event) = subscriber.next_event().await? {
            self.take(event)?;
        }
        Err(CommandFailure::ClosedByServer)
    }

    /// Receives until all messages are confirmed that were sent, if that is wanted.
    pub(super) async fn take_rest(
        &self,
        subscriber: &mut Subscriber,
    ) -> Result<(), CommandFailure> {
        while self.is_wanted && self.confirmed.get() < self.sent.get() {
            let event = subscriber.next_event().await?;
            self.take(event.ok_or(CommandFailure::ClosedByServer)?)?;
        }
        Ok(())
    }

    /// Takes what has come already.
    pub(super) async fn take_waiting(
        &self,
        subscriber: &mut Subscriber,
    ) -> Result<(), CommandFailure> {
        while let Ok(event) = timeout(Duration::ZERO, subscriber.next_event()).await {
            match event? {
                Some(event) => self.take(event)?,
                None => return Err(CommandFailure::ClosedByServer),
            }
        }
        Ok(())
    }

    /// Says how many messages were confirmed, if others were not.
    pub(super) fn explain(&self, result: Result<(), CommandFailure>) -> Result<(), CommandFailure> {
        match result {
            Err(cause @ (CommandFailure::Session(_) | CommandFailure::ClosedByServer))
                if self.sent.get() > self.confirmed.get()
                    && self.is_wanted
                    && !is_plain(&cause) =>
            {
                Err(CommandFailure::Unconfirmed {
                    cause: Box::new(cause),
                    confirmed: self.confirmed.get(),
                    sent: self.sent.get(),
                })
            }
            result => result,
        }
    }

    fn take(&self, event: Event) -> Result<(), CommandFailure> {
        match event {
            Event::Confirmed { count, position } if self.is_wanted => {
                self.confirmed.set(self.confirmed.get() + count);
                if self.is_lost.replace(false) {
                    say("mles: connected");
                }
                print(&positions(count, position)).map_err(CommandFailure::Output)
            }
            Event::Disconnected { error, retry_in } => {
                if !self.is_lost.replace(true) {
                    let (error, retry_in) = (explained(&error), in_words(retry_in));
                    say(format_args!(
                        "mles: {error}; trying again in {retry_in}, then less often"
                    ));
                }
                Ok(())
            }
            Event::Reconnected => Ok(()),
            Event::Unconfirmed { .. } => Err(Error::Unconfirmed.into()),
            Event::Rights { allowed } => {
                let channel = self.channel.clone();
                let lack = Rights { channel, allowed }.lack("publish");
                lack.map_or(Ok(()), |lack| Err(CommandFailure::Refused(lack)))
            }
            _ => Ok(()),
        }
    }
}

/// Returns `true` if nothing was published: the join was refused.
const fn is_plain(cause: &CommandFailure) -> bool {
    matches!(
        cause,
        CommandFailure::Session(Error::Refused { .. } | Error::Denied { .. } | Error::Message(_))
    )
}

/// Returns lines with the positions of `count` messages, of which the last is at `last`.
fn positions(count: u64, last: Position) -> String {
    let mut lines = String::new();
    for behind in (0..count).rev() {
        let position = Position {
            epoch: last.epoch,
            offset: last.offset.saturating_sub(behind),
        };
        // Writing to a String does not fail.
        let _ = writeln!(lines, "{position}");
    }
    lines
}
