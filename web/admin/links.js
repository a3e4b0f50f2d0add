// Links to the upstream server.

import { get } from "./api.js";
import { channelName } from "./columns.js";
import { make, setText } from "./dom.js";
import { duration, UNKNOWN } from "./format.js";
import { Table, figure, text } from "./table.js";

/** A table of links. */
export function linkTable() {
  return new Table({
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
      figure("Up for", ({ connected_since }) => (connected_since ? duration(Date.now() / 1000 - connected_since) : UNKNOWN)),
      text("Last failure", ({ last_failure }) => last_failure ?? UNKNOWN, { isMinor: true }),
    ],
    key: ({ channel, upstream }) => JSON.stringify([channel, upstream]),
    empty: "No links: this server has no upstream, or no channel needs it now.",
  });
}

/** The view of all links. */
export class Links {
  title = "Links";
  element;
  #table = linkTable();

  constructor() {
    this.element = make("div", { class: "view" }, make("section", {}, this.#table.element));
  }

  async load() {
    const { links } = await get("links");
    this.#table.show(links);
  }
}
