// Addresses that are not let in for a while.

import { get } from "./api.js";
import { button } from "./columns.js";
import { confirm } from "./confirm.js";
import { make } from "./dom.js";
import { duration, number } from "./format.js";
import { Table, figure, text } from "./table.js";

/** Asks whether an address is to be let in again. */
function confirmLift({ address }) {
  confirm({
    title: "Lift this ban?",
    lead: `${address} may connect again at once.`,
    does: "Lift the ban",
    method: "DELETE",
    path: `bans/${encodeURIComponent(address)}`,
    done: () => [make("p", {}, "The ban is lifted.")],
  });
}

/** The view of all bans. */
export class Bans {
  title = "Bans";
  element;
  #table = new Table({
    label: "Banned addresses",
    columns: [
      text("Address", ({ address }) => address, { rowHeader: true }),
      figure("Ends in", ({ seconds_left }) => duration(seconds_left)),
      figure("Wrong keys", ({ failures }) => number(failures)),
      button("Lift", ({ address }) => `Lift the ban of ${address}`, confirmLift),
    ],
    key: ({ address }) => address,
    empty: "No address is banned.",
  });

  constructor() {
    this.element = make("div", { class: "view" }, make("section", {}, this.#table.element));
  }

  async load() {
    const { bans } = await get("bans");
    this.#table.show(bans);
  }
}
