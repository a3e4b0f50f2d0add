//! The count of positions that a session keeps which has asked for them.

use mles::protocol::{Position, Welcome};

use super::WireError;

/// What a broker says about positions, between messages or before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PositionNotice {
    /// The session has joined; what it missed follows.
    Welcome(Welcome),
    /// Messages of the session itself have taken their place: how many, and the position of the last.
    Receipt { count: u64, position: Position },
    /// So many messages were left out.
    Gap { missed: u64 },
    /// The message that follows has this position.
    Next(Position),
}

/// Where a session is in the order of its channel, counted by itself and compared with whatever the
/// broker says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PositionCount {
    welcome: Option<Welcome>,
    /// The position of the last message; `None` before the welcome.
    at: Option<Position>,
    /// Number of messages of the replay that have not come.
    replay_left: u64,
}

impl PositionCount {
    /// Returns the answer to the wish for positions, once it has come.
    pub(crate) fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// Returns the position of the last message, from which the session would go on.
    pub(crate) fn at(&self) -> Option<Position> {
        self.at
    }

    /// Returns `true` if all that was replayed has come.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.welcome.is_some() && self.replay_left == 0
    }

    /// Counts a message.
    #[inline]
    pub(super) fn count(&mut self) {
        if let Some(at) = &mut self.at {
            at.offset += 1;
        }
        self.replay_left = self.replay_left.saturating_sub(1);
    }

    /// Takes a notice into account.
    ///
    /// # Errors
    /// It does not fit what was counted, or comes where it has no business.
    pub(super) fn note(&mut self, notice: PositionNotice) -> Result<(), WireError> {
        if let PositionNotice::Welcome(welcome) = notice {
            let is_possible = welcome.position.offset >= welcome.replay;
            if self.welcome.is_some() || !is_possible {
                return Err(misfit(&format!("{welcome:?}")));
            }
            self.welcome = Some(welcome);
            self.replay_left = welcome.replay;
            self.at = Some(welcome.begins_at());
            return Ok(());
        }
        let Some(at) = &mut self.at else {
            return Err(misfit(&format!("{notice:?} before the welcome")));
        };
        let (advance, said, is_ahead) = match notice {
            PositionNotice::Receipt { count, position } => (count, Some(position), false),
            PositionNotice::Gap { missed } => (missed, None, false),
            PositionNotice::Next(position) => (1, Some(position), true),
            PositionNotice::Welcome(_) => (0, None, false),
        };
        let next = Position {
            offset: at.offset.saturating_add(advance),
            ..*at
        };
        // In a fleet offsets rise, but need not follow one another.
        let jumps = self.welcome.is_some_and(|welcome| welcome.start.is_some());
        let fits = |said: Position| said == next || (jumps && said.offset >= next.offset);
        if said.is_some_and(|said| !fits(said)) {
            return Err(misfit(&format!("{notice:?} where {next} was counted")));
        }
        *at = said.unwrap_or(next);
        // The message itself is counted when it has come.
        if is_ahead {
            at.offset -= 1;
        }
        if let PositionNotice::Gap { missed } = notice {
            self.replay_left = self.replay_left.saturating_sub(missed);
        }
        Ok(())
    }
}

fn misfit(what: &str) -> WireError {
    WireError::Unexpected(format!("a position that does not fit: {what}"))
}

#[cfg(test)]
mod tests {
    use mles::protocol::Epoch;

    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn at(offset: u64) -> Position {
        Position {
            epoch: EPOCH,
            offset,
        }
    }

    fn welcomed(offset: u64, replay: u64) -> PositionCount {
        let mut count = PositionCount::default();
        let welcome = Welcome {
            position: at(offset),
            start: None,
            replay,
            recovered: true,
            missed: Some(0),
            published: None,
        };
        count
            .note(PositionNotice::Welcome(welcome))
            .expect("the first");
        count
    }

    #[test]
    fn messages_receipts_and_gaps_move_it_on() {
        let mut count = welcomed(5, 2);
        assert_eq!((count.at(), count.is_caught_up()), (Some(at(3)), false));
        count.note(PositionNotice::Next(at(4))).expect("it fits");
        count.count();
        count.count();
        assert_eq!((count.at(), count.is_caught_up()), (Some(at(5)), true));
        let receipt = PositionNotice::Receipt {
            count: 3,
            position: at(8),
        };
        count.note(receipt).expect("it fits");
        count
            .note(PositionNotice::Gap { missed: 2 })
            .expect("it fits");
        count.count();
        assert_eq!(count.at(), Some(at(11)));
    }

    #[test]
    fn whatever_does_not_fit_is_an_error() {
        let elsewhere = Position {
            epoch: Epoch(8),
            offset: 6,
        };
        for (what, notice) in [
            ("before the welcome", PositionNotice::Gap { missed: 1 }),
            ("where", PositionNotice::Next(at(7))),
            ("where", PositionNotice::Next(elsewhere)),
            (
                "where",
                PositionNotice::Receipt {
                    count: 2,
                    position: at(6),
                },
            ),
        ] {
            let mut count = match what {
                "where" => welcomed(5, 0),
                _ => PositionCount::default(),
            };
            let error = count.note(notice).expect_err("it does not fit");
            assert!(error.to_string().contains(what), "{error}");
        }
        let mut twice = welcomed(5, 0);
        let again = *twice.welcome().expect("it came");
        assert!(twice.note(PositionNotice::Welcome(again)).is_err());
        let mut short = PositionCount::default();
        let replay = 6;
        let more = PositionNotice::Welcome(Welcome { replay, ..again });
        assert!(short.note(more).is_err(), "more than there ever was");
    }
}
