// All sessions, those that are furthest behind first.

import { get, query } from "./api.js";
import { moreButton } from "./channels.js";
import { sessionColumns } from "./columns.js";
import { confirmEnd } from "./confirm.js";
import { make } from "./dom.js";
import { Table } from "./table.js";

const PAGE = 50;
/** The server lists no more at once. */
const MOST = 1_000;

/** The view of all sessions. */
export class Sessions {
  title = "Sessions";
  element;
  #order = "queued";
  #limit = PAGE;
  #table;
  #more;
  #fields;

  /** `refresh()` asks anew at once. */
  constructor(refresh) {
    this.#table = new Table({
      label: "Sessions",
      columns: sessionColumns(confirmEnd),
      key: ({ id }) => id,
      empty: "No sessions.",
      onsort: (order) => {
        this.#order = order;
        refresh();
      },
    });
    this.#more = moreButton(() => {
      this.#limit = Math.min(MOST, this.#limit + PAGE);
      refresh();
    });
    this.#fields = ["Channel", "Uid"].map((label) =>
      make("input", { "aria-label": label, placeholder: label, autocapitalize: "none", spellcheck: "false", oninput: refresh }),
    );
    const form = make("form", { class: "find", role: "search", "aria-label": "Which sessions" }, ...this.#fields);
    form.addEventListener("submit", (event) => event.preventDefault());
    this.element = make("div", { class: "view" }, form, make("section", {}, this.#table.element, this.#more));
  }

  async load() {
    const [channel, uid] = this.#fields.map(({ value }) => value);
    const { sessions, next } = await get(query("sessions", { sort: this.#order, channel, uid, limit: this.#limit }));
    this.#table.sortedBy(this.#order);
    this.#table.show(sessions);
    this.#more.hidden = !next || this.#limit === MOST;
  }
}
