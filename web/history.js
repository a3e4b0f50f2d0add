// Which messages of a replayed history are on the page already.
//
// Messages have no ids and no times. What can be relied on: a server replays the last messages of a
// channel, in the channel's order, without a gap. So what is known of a replay is its beginning, and
// that is the end of what is shown. Only messages of one's own are not in the channel's order on the
// page: a server does not send them back, so they stand where they were sent, and some may never
// have arrived.

/** Whether two entries are the same message, as far as that can be told. */
function same(a, b) {
  return (
    a.uid === b.uid &&
    a.message.length === b.message.length &&
    a.message.every((byte, at) => byte === b.message[at])
  );
}

/** Whether `run` is in `list` at `from`. */
function isAt(list, from, run) {
  return run.every((entry, at) => same(entry, list[from + at]));
}

/** How many of the first of `incoming` are the last of `shown`; both without one's own. */
function known(shown, incoming, { trimmed, partial }) {
  if (partial) {
    for (let from = 0; from + incoming.length <= shown.length; from += 1) {
      if (isAt(shown, from, incoming)) {
        return incoming.length;
      }
    }
  }
  // What was shown once and no longer is can be replayed as well.
  const most = trimmed ? incoming.length : Math.min(shown.length, incoming.length);
  for (let end = most; end > 0; end -= 1) {
    const overlap = Math.min(end, shown.length);
    const run = incoming.slice(end - overlap, end);
    if (overlap > 0 && isAt(shown, shown.length - overlap, run)) {
      return end;
    }
  }
  return 0;
}

/**
 * Those of `incoming`, which came first after a new connection, that are not in `shown`. Entries
 * have a `uid` and a `message` of bytes; `mine` is the set of one's own uids. `trimmed` says that
 * older entries are no longer in `shown`, `partial` that the replay may not be complete.
 */
export function unseen(shown, incoming, { mine, trimmed = false, partial = false }) {
  const isMine = (entry) => mine.has(entry.uid);
  const others = (entries) => entries.filter((entry) => !isMine(entry));
  const end = known(others(shown), others(incoming), { trimmed, partial });
  const own = shown.filter(isMine);
  let seen = 0;
  return incoming.filter((entry) => {
    if (!isMine(entry)) {
      seen += 1;
      return seen > end;
    }
    const at = own.findIndex((other) => same(other, entry));
    if (at >= 0) {
      own.splice(at, 1);
    }
    return at < 0 && seen >= end;
  });
}
