//! CPU time and memory of a process, from `/proc`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A process could not be looked at.
#[derive(Debug, Error)]
pub(crate) enum ProcError {
    /// A file of `/proc` cannot be read; the process has most likely ended.
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    /// A file of `/proc` does not hold what is looked for.
    #[error("{path} does not say {what}")]
    Missing {
        path: PathBuf,
        /// The fields that are looked for.
        what: &'static str,
    },
    /// There is no process id to look under.
    #[error("the broker's process is not known: give its id with --pid")]
    Unknown,
}

/// CPU time of all threads of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CpuTime {
    /// Time on a CPU, user and kernel: first number of `/proc/PID/task/*/schedstat`. Threads that ended
    /// are left out; brokers keep theirs.
    pub(crate) nanoseconds: u64,
    /// `utime` of `/proc/PID/stat`, in ticks of 10 ms; coarse, for the split.
    pub(crate) user_ticks: u64,
    /// `stime` likewise.
    pub(crate) system_ticks: u64,
}

impl CpuTime {
    /// Returns the CPU time of process `pid` up to now.
    ///
    /// # Errors
    /// The process is gone, or `/proc` is not what it is on Linux.
    pub(crate) fn of(pid: u32) -> Result<Self, ProcError> {
        Self::under(&PathBuf::from(format!("/proc/{pid}")))
    }

    /// Returns the CPU time of all of `pids` together up to now; `None` of none.
    ///
    /// # Errors
    /// As [`CpuTime::of`].
    pub(crate) fn of_all(pids: &[u32]) -> Result<Option<Self>, ProcError> {
        let mut all = None;
        for &pid in pids {
            let one = Self::of(pid)?;
            all = Some(all.map_or(one, |sum: Self| sum.and(one)));
        }
        Ok(all)
    }

    /// Returns the CPU time of this process up to now.
    ///
    /// # Errors
    /// `/proc` is not what it is on Linux.
    pub(crate) fn of_self() -> Result<Self, ProcError> {
        Self::under(Path::new("/proc/self"))
    }

    /// Returns the CPU time between `earlier` and `self`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            nanoseconds: self.nanoseconds + other.nanoseconds,
            user_ticks: self.user_ticks + other.user_ticks,
            system_ticks: self.system_ticks + other.system_ticks,
        }
    }

    fn under(process: &Path) -> Result<Self, ProcError> {
        let path = process.join("stat");
        let stat = read(&path)?;
        let (user_ticks, system_ticks) = ticks(&stat).ok_or(ProcError::Missing {
            path,
            what: "utime and stime",
        })?;
        Ok(Self {
            nanoseconds: scheduled(&process.join("task"))?,
            user_ticks,
            system_ticks,
        })
    }
}

/// Memory of a process, in bytes, from `/proc/PID/smaps_rollup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// `Anonymous`: heap, stacks, whatever is backed by no file.
    pub(crate) anonymous_bytes: u64,
    /// `Rss`: everything that is resident.
    pub(crate) rss_bytes: u64,
}

impl Memory {
    /// Returns the memory of all of `pids` together now.
    ///
    /// # Errors
    /// [`ProcError::Unknown`] of none; or a process is gone or another user's.
    pub(crate) fn of_all(pids: &[u32]) -> Result<Self, ProcError> {
        let (first, others) = pids.split_first().ok_or(ProcError::Unknown)?;
        let mut all = Self::of(*first)?;
        for &pid in others {
            let one = Self::of(pid)?;
            all.anonymous_bytes += one.anonymous_bytes;
            all.rss_bytes += one.rss_bytes;
        }
        Ok(all)
    }

    /// Returns the memory of process `pid` now.
    ///
    /// # Errors
    /// The process is gone or another user's.
    pub(crate) fn of(pid: u32) -> Result<Self, ProcError> {
        let path = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
        let rollup = read(&path)?;
        let field = |what| {
            kilobytes(&rollup, what)
                .map(|kilobytes| kilobytes * 1024)
                .ok_or_else(|| ProcError::Missing {
                    path: path.clone(),
                    what,
                })
        };
        Ok(Self {
            anonymous_bytes: field("Anonymous:")?,
            rss_bytes: field("Rss:")?,
        })
    }
}

impl Memory {
    /// Returns the resident bytes of all of `pids`, which cost the kernel less to tell than the other figures.
    ///
    /// # Errors
    /// [`ProcError::Unknown`] of none; or a process is gone.
    pub(crate) fn resident(pids: &[u32]) -> Result<u64, ProcError> {
        if pids.is_empty() {
            return Err(ProcError::Unknown);
        }
        pids.iter().copied().map(Self::resident_of).sum()
    }

    fn resident_of(pid: u32) -> Result<u64, ProcError> {
        let path = PathBuf::from(format!("/proc/{pid}/status"));
        let kilobytes = kilobytes(&read(&path)?, "VmRSS:");
        let what = "VmRSS";
        Ok(kilobytes.ok_or(ProcError::Missing { path, what })? * 1024)
    }
}

fn read(path: &Path) -> Result<String, ProcError> {
    fs::read_to_string(path).map_err(|source| ProcError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Nanoseconds on a CPU of all threads under a `task` directory.
fn scheduled(tasks: &Path) -> Result<u64, ProcError> {
    let unreadable = |source| ProcError::Read {
        path: tasks.to_owned(),
        source,
    };
    let mut sum = 0;
    for task in fs::read_dir(tasks).map_err(unreadable)? {
        let path = task.map_err(unreadable)?.path().join("schedstat");
        let schedstat = match read(&path) {
            // The thread ended after the directory was read.
            Err(ProcError::Read { source, .. }) if is_gone(&source) => continue,
            schedstat => schedstat?,
        };
        let on_cpu = schedstat
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<u64>().ok());
        sum += on_cpu.ok_or(ProcError::Missing {
            path,
            what: "time on CPU",
        })?;
    }
    Ok(sum)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Returns `utime` and `stime`: the 12th and 13th field after the name, which is in parentheses and may
/// hold anything.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn kilobytes(rollup: &str, field: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 9 0 0 0 123 45 0 0 20 0 1 0 99";
        assert_eq!(ticks(stat), Some((123, 45)));
    }

    #[test]
    fn the_exact_field_of_a_rollup_is_read() {
        let rollup = "00-ff ---p [rollup]\nRss:   2000 kB\nPss_Anon:  7 kB\nAnonymous:   1200 kB\n";
        assert_eq!(kilobytes(rollup, "Anonymous:"), Some(1200));
        assert_eq!(kilobytes(rollup, "Rss:"), Some(2000));
        assert_eq!(kilobytes(rollup, "Swap:"), None);
    }

    #[test]
    fn time_of_all_threads_counts_and_only_grows() {
        let before = CpuTime::of_self().expect("this process exists");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // This thread is alive while it is read.
                let mut now = before;
                while now.since(before).nanoseconds < 1_000_000 {
                    now = CpuTime::of_self().expect("this process exists");
                }
            });
        });
        assert!(
            Memory::of(std::process::id())
                .expect("this process exists")
                .anonymous_bytes
                > 0
        );
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(matches!(CpuTime::of(u32::MAX), Err(ProcError::Read { .. })));
    }
}
