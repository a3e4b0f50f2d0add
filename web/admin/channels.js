// All channels, and one of them.

import { get, query } from "./api.js";
import { CHANNEL_COLUMNS, channelHref, sessionColumns } from "./columns.js";
import { confirm, confirmEnd } from "./confirm.js";
import { make, setText } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

const PAGE = 50;
/** The server lists no more at once. */
const MOST = 1_000;

/** A button that shows more rows, where there are more. */
export function moreButton(onmore) {
  return make("button", { type: "button", class: "small more", hidden: true, onclick: onmore }, "Show more");
}

/** The view of all channels, in any order. */
export class Channels {
  title = "Channels";
  element;
  #order = "rate";
  #limit = PAGE;
  #table;
  #more;

  /** `refresh()` asks anew at once. */
  constructor(refresh) {
    this.#table = new Table({
      label: "Channels",
      columns: CHANNEL_COLUMNS,
      key: ({ name }) => name,
      empty: "No channels.",
      onsort: (order) => {
        this.#order = order;
        refresh();
      },
    });
    this.#more = moreButton(() => {
      this.#limit = Math.min(MOST, this.#limit + PAGE);
      refresh();
    });
    const input = make("input", { id: "find-channel", autocapitalize: "none", spellcheck: "false", placeholder: "Name of a channel" });
    const form = make(
      "form",
      { class: "find", role: "search" },
      make("label", { for: "find-channel", class: "unseen" }, "Name of a channel"),
      input,
      make("button", { type: "submit", class: "small" }, "Open"),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (input.value !== "") location.hash = channelHref(input.value);
    });
    this.element = make("div", { class: "view" }, form, make("section", {}, this.#table.element, this.#more));
  }

  async load() {
    const { channels, next } = await get(query("channels", { sort: this.#order, limit: this.#limit }));
    this.#table.sortedBy(this.#order);
    this.#table.show(channels);
    this.#more.hidden = !next || this.#limit === MOST;
  }
}

/** The figures of a channel that stand above its members. */
const FACTS = [
  ["Messages per second", ({ rate }) => format.rate(rate)],
  ["Bytes per second", ({ byte_rate }) => format.byteRate(byte_rate)],
  ["Members", ({ members }) => format.digits(members)],
  ["Messages so far", ({ messages }) => format.digits(messages)],
  ["History", (channel) => `${format.digits(channel.history_messages)}, ${format.bytes(channel.history_bytes)}`],
  ["Queued for members", ({ queued_bytes }) => format.bytes(queued_bytes)],
  ["Members with full sockets", ({ stalled }) => format.digits(stalled)],
  ["Publishers", ({ paused }) => (paused ? "paused" : "read")],
  ["Owner", ({ owner }) => `shard ${owner}`],
  ["Position", ({ position }) => (position ?? format.UNKNOWN)],
  ["Without members for", ({ idle_seconds }) => format.duration(idle_seconds)],
];

/** The view of one channel. */
export class ChannelView {
  title;
  element;
  #name;
  #facts = make("dl", { class: "facts" });
  #settings = make("dl", { class: "facts" });
  #sessions = new Table({
    label: "Members, slowest first",
    columns: sessionColumns(confirmEnd).map(({ sort: _, ...column }) => column).filter(({ title }) => title !== "Channel"),
    key: ({ id }) => id,
    empty: "No members.",
  });

  constructor(name) {
    this.#name = name;
    this.title = name;
    const clear = make("button", { type: "button", class: "small danger-line", onclick: () => this.#clear() }, "Clear the history");
    this.element = make(
      "div",
      { class: "view" },
      make("section", {}, this.#facts, make("p", { class: "buttons" }, clear)),
      make("section", { "aria-labelledby": "members-title" }, make("h2", { id: "members-title" }, "Members, slowest first"), this.#sessions.element),
      make("details", {}, make("summary", {}, "Settings of this channel"), this.#settings),
    );
  }

  async load() {
    const [channel, { sessions }] = await Promise.all([
      get(`channels/${encodeURIComponent(this.#name)}`),
      get(query("sessions", { sort: "queued", channel: this.#name, limit: PAGE })),
    ]);
    showFacts(this.#facts, FACTS.map(([title, value]) => [title, value(channel)]));
    showFacts(this.#settings, Object.entries(channel.settings ?? {}).map(([name, value]) => [format.words(name), String(value ?? "none")]));
    this.#sessions.show(sessions);
  }

  #clear() {
    confirm({
      title: "Clear the history?",
      lead: `New members of ${this.#name} get none of what was said before. This cannot be undone.`,
      does: "Clear the history",
      path: `channels/${encodeURIComponent(this.#name)}/clear`,
      done: () => [make("p", {}, "The history is empty.")],
    });
  }
}

/** Fills a list of names and values; what is there stays. */
function showFacts(list, facts) {
  if (list.children.length !== facts.length) {
    list.replaceChildren(...facts.map(() => make("div", {}, make("dt"), make("dd"))));
  }
  facts.forEach(([name, value], at) => {
    const [dt, dd] = list.children[at].children;
    setText(dt, name);
    setText(dd, value);
  });
}
