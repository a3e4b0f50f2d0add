//! File descriptors: as many as the connections that are allowed, or fewer connections.

use crate::settings::Settings;

/// Descriptors that are not connections: standard streams, the signal runtime, log files.
const SPARE: u64 = 32;
/// Descriptors of each shard: poller, waker, timer, and one in hand while accepting.
const PER_SHARD: u64 = 8;

/// A message about [`make_room`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenFilesNotice {
    /// The default was lowered to what fits.
    Info(String),
    /// Somebody does not get what was asked for.
    Warning(String),
}

/// Raises the soft limit of open files to the hard one, and lowers `max_connections` to what fits.
/// Returns a message if it had to: a warning if somebody has asked for that many.
pub(super) fn make_room(settings: &mut Settings, is_asked_for: bool) -> Option<OpenFilesNotice> {
    let limit = match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(limit) => limit,
        Err(error) => {
            let text = format!("the limit of open files could not be raised: {error}");
            return Some(OpenFilesNotice::Warning(text));
        }
    };
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let shards = settings.shards.unwrap_or_else(cores);
    let room = room(limit, shards, settings.listen.len());
    // Each may be the only member of a channel, and that channel has a link.
    let room = if settings.peer.upstreams.is_empty() {
        room
    } else {
        (room / 2).max(1)
    };
    let wanted = settings.limits.max_connections;
    if wanted <= room {
        return None;
    }
    settings.limits.max_connections = room;
    Some(if is_asked_for {
        OpenFilesNotice::Warning(format!(
            "max_connections lowered from {wanted} to {room}: each needs an open file, with an \
             upstream two, and the hard limit of those is {limit}; raise it (ulimit -Hn, \
             LimitNOFILE=)"
        ))
    } else {
        OpenFilesNotice::Info(format!(
            "at most {room} connections: the hard limit of open files is {limit}"
        ))
    })
}

/// Returns how many connections fit into `limit` descriptors: at least one.
fn room(limit: u64, shards: usize, listeners: usize) -> usize {
    let per_shard = PER_SHARD + listeners as u64;
    let own = SPARE + (shards as u64).saturating_mul(per_shard);
    usize::try_from(limit.saturating_sub(own).max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_the_broker_itself_leaves() {
        assert_eq!(room(1024, 2, 1), 1024 - 32 - 2 * 9);
        assert_eq!(room(10, 2, 1), 1);
        assert_eq!(room(u64::MAX, 1, 1), usize::MAX - 32 - 9);
    }
}
