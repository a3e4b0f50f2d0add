// Links to the upstream server.

import { get } from "./api.js";
import { channelName } from "./columns.js";
import { make, setText } from "./dom.js";
import { duration, number, UNKNOWN } from "./format.js";
import { Table, figure, text } from "./table.js";

/** The links in a table. */
export class LinkTable {
  element;
  #table = new Table({
    label: "Links to the upstream server",
    columns: [
      channelName(({ channel }) => channel, { rowHeader: true }),
      {
        title: "State",
        show: (cell, { state }) => {
          setText(cell, state);
          cell.classList.toggle("worry", state === "waiting" || state === "refused");
        },
      },
      text("Upstream", ({ upstream }) => upstream),
      figure("Up for", ({ up_seconds }) => duration(up_seconds)),
      figure("Up", ({ counts }) => number(counts?.frames_up), { isMinor: true }),
      figure("Down", ({ counts }) => number(counts?.frames_down), { isMinor: true }),
      text("Last failure", ({ last_failure }) => last_failure ?? UNKNOWN, { isMinor: true }),
    ],
    key: ({ channel, upstream }) => JSON.stringify([channel, upstream]),
    empty: "No links: this server has no upstream, or no channel needs it now.",
  });

  constructor() {
    this.element = this.#table.element;
  }

  show({ links }) {
    this.#table.show(links);
  }
}

/** The view of all links. */
export class Links {
  title = "Links";
  element;
  #table = new LinkTable();

  constructor() {
    this.element = make("div", { class: "view" }, make("section", {}, this.#table.element));
  }

  async load() {
    this.#table.show(await get("links"));
  }
}
