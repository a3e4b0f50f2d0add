// Everything at a glance: rates, plots, shards side by side, busy channels, slow members, links.

import { get, query } from "./api.js";
import { CHANNEL_COLUMNS, bars, publisherColumns, sessionColumns } from "./columns.js";
import { confirmEnd } from "./confirm.js";
import { make, setBar, setText } from "./dom.js";
import * as format from "./format.js";
import { linkTable } from "./links.js";
import { Plot } from "./plot.js";
import { Table, figure, loadAll, text } from "./table.js";

const LISTED = 8;

/** Counters that grow when something is lost or refused, and what it means. */
const TROUBLES = {
  dropped_frames: "messages that a member did not get",
  slow_disconnects: "members disconnected because they could not keep up",
  refused: "joins refused",
  turned_away: "connections closed at once at a limit",
  protocol_errors: "sessions ended because of what their client sent",
  frames_overdue: "sessions ended because a message that had begun did not go on",
  partials_evicted: "connections closed because memory for incomplete messages was needed",
  joining_evicted: "connections let go before they joined, to make room",
  channels_evicted: "channels freed before their time",
  resumed_partly: "sessions that came back too late for all they had missed",
  publishers_forgotten: "publishers forgotten before their time",
  orphaned_frames: "messages of sessions that had just ended",
  fleet_disconnects: "sessions closed as this node was cut off from its fleet",
  fleet_undecided_frames: "messages of which it is not known whether the fleet has them",
  fleet_unkept_frames: "messages of other nodes that were not kept here",
  congestions: "times that one shard could not keep up with another",
  publishes_denied: "messages ignored because their sender may not publish",
  denied_disconnects: "sessions ended because they did what they have no right to",
  throttled: "times that something came too often, and was held or refused",
  bans: "addresses banned for wrong keys",
  accept_errors: "times that accepting a connection failed",
  stalls: "times that a shard did not turn its loop for a second",
};

/** Bytes that may be queued for a member which is not slow: what is to be written next. */
const IN_PASSING = 65_536;

/** Whether a session does not get what is queued for it. */
function isBehind({ queued_bytes, stalled }) {
  return stalled || queued_bytes >= IN_PASSING;
}

/** Share of the time without a processor from which on that is what is wrong with a shard. */
const STARVED = 0.3;
/** Share of a processor from which on a shard has hardly any left. */
const BUSY = 0.9;

/** How a shard is, in a few words, and whether that is a reason to worry. */
function conditionOf({ stuck, congested, waiting, task, tasks }) {
  if (stuck) return [`stuck: ${task ?? "no task"}`, true];
  if (congested) return ["congested", true];
  const parts = (tasks ?? []).map(({ task, share }) => `${task} ${format.percent(share)}`);
  const does = parts.join(", ") || "idle";
  if (waiting > STARVED) return [`waits for a processor ${format.percent(waiting)}; ${does}`, true];
  return [does, false];
}

/** How a node of a fleet is, in one line. */
function fleetText({ name, phase, trouble, sequence, epoch_number, lag }) {
  const why = trouble ? `: ${trouble}` : "";
  const behind = lag > 0 ? `, ${format.number(lag)} records behind` : "";
  return `Fleet ${name}: ${phase}${why}; record ${format.number(sequence)} of epoch ${epoch_number}${behind}.`;
}

/** A section with a heading. */
function section(title, ...content) {
  const id = `part-${title.toLowerCase().replaceAll(/\W+/g, "-")}`;
  return make("section", { "aria-labelledby": id }, make("h2", { id }, title), ...content);
}

const SHARD_COLUMNS = (rates) => [
  figure("Shard", ({ id }) => String(id), { rowHeader: true }),
  {
    title: "Busy",
    isNumber: true,
    show: (cell, { busy }) => {
      setBar(cell, format.percent(busy), busy, 1);
      cell.classList.toggle("worry", busy > BUSY);
    },
  },
  bars("Loop delay", ({ loop_delay_us }) => loop_delay_us, format.micros),
  bars("Published/s", ({ id }) => rates().get(id)?.published, format.rate),
  bars("Delivered/s", ({ id }) => rates().get(id)?.delivered, format.rate),
  bars("Sessions", ({ sessions }) => sessions, format.number),
  figure("Channels", ({ channels }) => format.number(channels), { isMinor: true }),
  bars("Queued", ({ queued_bytes }) => queued_bytes, format.bytes, { isMinor: true }),
  figure("Mailbox", ({ mailbox }) => format.number(mailbox.requests + mailbox.deliveries)),
  figure("Its age", ({ mailbox }) => format.micros(mailbox.age_us), { isMinor: true }),
  {
    title: "State",
    show: (cell, shard) => {
      const [condition, isBad] = conditionOf(shard);
      setText(cell, condition);
      cell.title = condition;
      cell.classList.toggle("worry", isBad);
    },
  },
];

/** The view that comes first. */
export class Overview {
  title = "Overview";
  element;
  #samples;
  #plots = {
    published: new Plot("Published", [{ name: "published", label: "messages per second" }], format.rate),
    delivered: new Plot("Delivered", [{ name: "delivered", label: "messages per second" }], format.rate),
    comings: new Plot(
      "Joins and requests",
      [{ name: "joined", label: "joins" }, { name: "requests", label: "HTTP requests" }],
      format.rate,
    ),
    traffic: new Plot(
      "Traffic",
      [{ name: "bytesIn", label: "in" }, { name: "bytesOut", label: "out" }],
      format.bytes,
      1024,
    ),
    sessions: new Plot(
      "Sessions",
      [{ name: "sessions", label: "sessions" }, { name: "connections", label: "connections" }],
      format.rate,
    ),
    busy: new Plot(
      "Processor",
      [{ name: "busiest", label: "busiest shard" }, { name: "meanBusy", label: "mean" }],
      format.percent,
    ),
    delay: new Plot(
      "Loop delay",
      [{ name: "slowest", label: "slowest shard" }, { name: "mean", label: "mean" }],
      format.micros,
    ),
    memory: new Plot(
      "Memory",
      [
        { name: "resident", label: "process" },
        { name: "history", label: "history" },
        { name: "queued", label: "queued" },
      ],
      format.bytes,
      1024,
    ),
  };
  #troubles = new Table({
    label: "Troubles since the start",
    columns: [
      text("What", ({ name }) => TROUBLES[name], { rowHeader: true }),
      {
        title: "Last minute",
        isNumber: true,
        show: (cell, { minute }) => {
          setText(cell, format.digits(minute));
          cell.classList.toggle("worry", minute > 0);
        },
      },
      figure("Ten minutes", ({ all }) => format.digits(all)),
      figure("Since the start", ({ total }) => format.digits(total)),
    ],
    key: ({ name }) => name,
    empty: "Nothing was lost or refused since the server was started.",
  });
  /** Says why the store cannot be written to, if it cannot. */
  #store = make("p", { role: "alert", hidden: true });
  /** Says how the node of a fleet is, if it is one. */
  #fleet = make("p", { hidden: true });
  #shards;
  #channels = new Table({
    label: "Busiest channels",
    columns: CHANNEL_COLUMNS.map(({ sort: _, ...column }) => column),
    key: ({ name }) => name,
    empty: "No channels.",
  });
  #publishers = new Table({
    label: "Busiest publishers",
    columns: publisherColumns(confirmEnd),
    key: ({ id }) => id,
    empty: "Nobody publishes.",
  });
  #sessions = new Table({
    label: "Slowest members",
    columns: sessionColumns(confirmEnd).map(({ sort: _, ...column }) => column),
    key: ({ id }) => id,
    empty: "Nobody is behind.",
  });
  #links = linkTable();

  constructor(samples) {
    this.#samples = samples;
    this.#shards = new Table({
      label: "Shards side by side",
      columns: SHARD_COLUMNS(() => samples.byShard),
      key: ({ id }) => id,
      empty: "No answer yet.",
    });
    const cards = make("div", { class: "cards" }, ...Object.values(this.#plots).map(({ element }) => element));
    this.element = make(
      "div",
      { class: "view" },
      section("Last ten minutes", cards),
      section("Troubles", this.#store, this.#fleet, this.#troubles.element),
      section("Shards", this.#shards.element),
      section("Busiest channels", this.#channels.element),
      section("Busiest publishers", this.#publishers.element),
      section("Slowest members", this.#sessions.element),
      section("Links", this.#links.element),
    );
  }

  load() {
    return loadAll([
      [get(query("channels", { sort: "rate", limit: LISTED })), this.#channels, ({ channels }) => channels],
      [get(query("sessions", { sort: "rate", limit: LISTED })), this.#publishers, ({ sessions }) => sessions.filter(({ rate }) => rate > 0)],
      [get(query("sessions", { sort: "queued", limit: LISTED })), this.#sessions, ({ sessions }) => sessions.filter(isBehind)],
      [get("links"), this.#links, ({ links }) => links],
    ]);
  }

  show(server, shards) {
    const { points } = this.#samples;
    const now = this.#samples.now ?? {};
    const { fleet, limits, memory, store } = server;
    const plot = (name, value, note) => this.#plots[name].show(points, value, note);
    plot("published", `${format.rate(now.published)}/s`, `${format.number(server.totals.frames_in)} since the start`);
    plot("delivered", `${format.rate(now.delivered)}/s`, `${format.number(server.totals.deliveries)} since the start`);
    plot("traffic", `${format.byteRate(now.bytesIn)} in`, `${format.byteRate(now.bytesOut)} out`);
    plot("comings", `${format.rate(now.joined)} joins/s`, `${format.rate(now.requests)} HTTP requests/s`);
    plot(
      "sessions",
      format.number(server.sessions),
      `${format.number(server.channels)} channels, ${format.number(server.connections)}/${format.number(limits.max_connections)} connections`,
    );
    plot("busy", format.percent(now.busiest), `busiest of ${shards.length} shards, mean ${format.percent(now.meanBusy)}`);
    plot("delay", format.micros(now.slowest), `slowest of ${shards.length} shards, mean ${format.micros(now.mean)}`);
    const onDisk = store ? `, ${format.bytes(store.disk_bytes)} on disk` : "";
    plot(
      "memory",
      format.bytes(memory.resident),
      `history ${format.bytes(memory.history)} of ${format.bytes(memory.history_limit)}${onDisk}`,
    );
    this.#store.hidden = !store?.failure;
    setText(this.#store, `Nothing can be written to the store in ${store?.dir}: ${store?.failure}`);
    this.#fleet.hidden = !fleet;
    this.#fleet.role = fleet?.phase === "serving" ? null : "alert";
    setText(this.#fleet, fleet ? fleetText(fleet) : "");
    this.#shards.show(shards);
    this.#showTroubles(server.totals);
  }

  #showTroubles(totals) {
    const grown = Object.keys(TROUBLES).map((name) => ({
      name,
      minute: this.#samples.growth(name, 60_000),
      all: this.#samples.growth(name),
      total: totals[name],
    }));
    const found = grown.filter(({ total }) => total > 0);
    found.sort((a, b) => b.minute - a.minute || b.all - a.all || b.total - a.total);
    this.#troubles.show(found);
  }
}
