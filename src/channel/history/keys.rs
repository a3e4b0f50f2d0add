//! Clearing the session keys that frames in a history have kept.

use bytes::Bytes;

use super::History;
use crate::channel::run::FrameRun;

/// Bytes of runs that are cleared at once, but for one that is longer.
const STEP: usize = 64 << 10;

/// The outcome of clearing the keys of some runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClearedKeys {
    /// Number of runs that are left, the oldest ones; 0 when all are cleared.
    pub(crate) left: usize,
    /// Bytes of the runs that were cleared.
    pub(crate) bytes: usize,
}

impl History {
    /// Puts zeros in the place of the keys in the headers of some frames, and says how many runs are left. Of those, `left`
    /// were left before; at first it is `usize::MAX`.
    ///
    /// It goes from the newest run to the oldest. What is pushed and dropped in between changes nothing about that: runs
    /// that are merged have the place of the oldest of them, and those that are dropped move others towards the front.
    pub(in crate::channel) fn clear_keys(&mut self, left: usize) -> ClearedKeys {
        let mut cleared = ClearedKeys {
            left: left.min(self.runs.len()),
            bytes: 0,
        };
        while cleared.left > 0 && cleared.bytes < STEP {
            cleared.left -= 1;
            let stored = &mut self.runs[cleared.left];
            let cost = stored.cost();
            cleared.bytes += stored.run.bytes().len();
            // Taken out, so that it is not copied for being held twice.
            let run = std::mem::replace(&mut stored.run, FrameRun::exact(Bytes::new(), 0));
            stored.run = run.without_keys();
            let now = stored.cost();
            self.account.set(self.account.used() - cost + now);
        }
        cleared
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::channel::HistoryMemory;
    use crate::channel::history::Origin;
    use crate::channel::settings::ChannelSettings;
    use crate::protocol::{Cid, FrameHeader, Key, Message, encode_frame, frames};

    fn run(n: u64, len: usize) -> FrameRun {
        let message = vec![b'.'; len];
        let message = Message {
            uid: "alice",
            channel: "room",
            message: &message,
        };
        let frame = encode_frame(Cid(1), Key(n + 1), &message).unwrap();
        FrameRun::exact(frame, 1)
    }

    fn keys(history: &History, settings: &ChannelSettings) -> Vec<Key> {
        let runs = history.replay(Instant::now(), settings);
        let key = |frame: &[u8]| FrameHeader::decode(frame).unwrap().unwrap().key;
        runs.iter().flat_map(|run| frames(run).map(key)).collect()
    }

    #[test]
    fn all_keys_are_cleared_in_steps_while_the_history_goes_on() {
        let settings = ChannelSettings {
            history_frames: 300,
            ..ChannelSettings::default()
        };
        let mut history = History::new(HistoryMemory::new(64 << 20));
        let now = Instant::now();
        let push = |history: &mut History, n: u64, len| {
            history.push(&run(n, len), Origin::Member, n, now, &settings);
        };
        for n in 0..300 {
            push(&mut history, n, if n % 3 == 0 { 2000 } else { 40 });
        }
        // Shared with somebody who reads it.
        let replay = history.replay(now, &settings);
        let (mut left, mut steps) = (usize::MAX, 0);
        while left > 0 {
            left = history.clear_keys(left).left;
            steps += 1;
            for n in 0..10 {
                let cleared = run(300 + 10 * steps + n, 40).without_keys();
                history.push(&cleared, Origin::Member, 0, now, &settings);
            }
        }
        assert!(steps > 2, "{steps}");
        let keys = keys(&history, &settings);
        assert_eq!(keys.len(), 300);
        assert!(keys.iter().all(|key| *key == Key(0)), "{keys:?}");
        assert_eq!(history.cost(), history.recounted());
        let before = frames(&replay[0]).next().unwrap();
        assert_ne!(FrameHeader::decode(before).unwrap().unwrap().key, Key(0));
    }
}
