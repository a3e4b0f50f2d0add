//! Merging the small runs that members have queued who are behind.

use bytes::Bytes;

/// Merges small runs for the members of one fan-out: those that have the same ones share the result.
#[derive(Debug, Default)]
pub struct Merger {
    merged: Vec<Merged>,
}

/// Runs that were merged, and the result.
#[derive(Debug)]
struct Merged {
    of: Vec<Bytes>,
    run: Bytes,
}

impl Merger {
    /// Most results that are kept. Queues differ: a publisher's lacks what it has sent itself.
    const MOST: usize = 4;

    /// Returns `runs` as one run.
    pub(super) fn merge<'a>(&mut self, runs: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
        let is_same = |merged: &&Merged| {
            let pairs = merged.of.iter().zip(runs.clone());
            merged.of.len() == runs.clone().count()
                && pairs
                    .clone()
                    .all(|(a, b)| (a.as_ptr(), a.len()) == (b.as_ptr(), b.len()))
        };
        if let Some(merged) = self.merged.iter().find(is_same) {
            return merged.run.clone();
        }
        let mut run = Vec::with_capacity(runs.clone().map(Bytes::len).sum());
        runs.clone().for_each(|small| run.extend_from_slice(small));
        let run = Bytes::from(run);
        if self.merged.len() < Self::MOST {
            self.merged.push(Merged {
                of: runs.cloned().collect(),
                run: run.clone(),
            });
        }
        run
    }
}
