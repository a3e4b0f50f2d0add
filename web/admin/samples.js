// The last ten minutes as this page has seen them: what the counters have grown by, second by second.

/** Milliseconds that are kept. */
export const SPAN = 600_000;
/** Milliseconds without a sample after which a line is broken. */
const GAP = 5_000;
/** Milliseconds between two samples: over less than that, chance makes the rates. */
const LEAST = 700;

/** Figures over time. Pure: the time comes with each sample. */
export class Samples {
  /** `{ at, values, totals }`, oldest first. `values` is null where samples are missing. */
  points = [];
  /** What each shard has done per second, by its id. */
  byShard = new Map();
  #last = null;

  /** Takes the answers of /api/server and /api/shards that came at `at`, in milliseconds. */
  add(at, server, shards) {
    const last = this.#last;
    if (last !== null && at - last.at < LEAST) return; // somebody pressed a button in between
    const isSame = last !== null && last.server.started === server.started && last.server.pid === server.pid;
    if (last !== null && (!isSame || at - last.at > GAP)) this.points.push({ at: last.at + 1, values: null });
    const seconds = last === null ? 0 : (at - last.at) / 1000;
    const grown = (now, before) => (isSame && seconds > 0 && before !== undefined ? Math.max(0, now - before) / seconds : null);
    const rate = (name) => grown(server.totals[name], last?.server.totals[name]);
    this.points.push({ at, values: valuesOf(server, shards, rate), totals: server.totals });
    this.byShard = new Map(
      shards.map((shard) => {
        const before = last?.shards.find(({ id }) => id === shard.id)?.counters;
        const of = (name) => grown(shard.counters[name], before?.[name]);
        return [shard.id, { published: of("frames_in"), delivered: of("deliveries") }];
      }),
    );
    this.#last = { at, server, shards };
    const first = this.points.findIndex((point) => point.at >= at - SPAN);
    this.points.splice(0, first);
  }

  /** The newest figures; null before the first. */
  get now() {
    return this.points.at(-1)?.values ?? null;
  }

  /** How much a counter has grown in the last `milliseconds`, as far as this page knows. */
  growth(name, milliseconds = SPAN) {
    const end = this.points.at(-1);
    if (!end) return 0;
    let oldest = end;
    for (let at = this.points.length - 1; at >= 0 && this.points[at].at >= end.at - milliseconds; at -= 1) {
      // Before a restart the counters were others.
      if (this.points[at].totals && (this.points[at].totals[name] ?? 0) > (oldest.totals[name] ?? 0)) break;
      if (this.points[at].totals) oldest = this.points[at];
    }
    return (end.totals[name] ?? 0) - (oldest.totals[name] ?? 0);
  }
}

function valuesOf(server, shards, rate) {
  const { memory } = server;
  const delays = shards.map(({ loop_delay_us }) => loop_delay_us);
  const busy = shards.map(({ busy }) => busy ?? 0);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return {
    published: rate("frames_in"),
    delivered: rate("deliveries"),
    bytesIn: rate("bytes_in"),
    bytesOut: rate("bytes_out"),
    sessions: server.sessions,
    connections: server.connections,
    resident: memory.resident,
    history: memory.history,
    queued: memory.queued,
    slowest: Math.max(0, ...delays),
    joined: rate("joined"),
    requests: rate("requests"),
    busiest: Math.max(0, ...busy),
    meanBusy: mean(busy),
    mean: mean(delays),
  };
}
