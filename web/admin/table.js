// A table whose rows stay what they are from one answer to the next.

import { make, setText } from "./dom.js";

/** A table in a frame that scrolls sideways where it has to. `element` is to be put into the page. */
export class Table {
  element;
  #columns;
  #key;
  #body = make("tbody");
  #empty;
  #emptyText;
  #table;
  #rows = new Map();
  #headers = new Map();

  /**
   * `columns` are `{ title, show(cell, row, all), isNumber, isMinor, sort, rowHeader }`: `show` fills a cell, `sort` is what the
   * server calls the order by this column. `key(row)` tells rows apart. `onsort(order)` is called when a heading is pressed.
   */
  constructor({ label, columns, key, empty, onsort }) {
    this.#columns = columns;
    this.#key = key;
    const heads = columns.map((column) => this.#head(column, onsort));
    this.#table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), this.#body);
    this.#emptyText = empty;
    this.#empty = make("p", { class: "nothing" });
    this.element = make("div", { class: "table", tabindex: "0", role: "group", "aria-label": label }, this.#table, this.#empty);
    this.show([]);
  }

  /** Marks the heading of the order that the rows are in. */
  sortedBy(order) {
    for (const [name, head] of this.#headers) {
      if (name === order) head.setAttribute("aria-sort", name === "name" ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  /** Shows these rows, in this order; or, without any, why there are none. */
  show(rows, whyNone = this.#emptyText) {
    const known = new Map();
    const focused = document.activeElement;
    let previous = null;
    for (const row of rows) {
      const key = this.#key(row);
      const line = this.#rows.get(key) ?? this.#line();
      known.set(key, line);
      this.#columns.forEach((column, at) => column.show(line.cells[at], row, rows));
      const place = previous === null ? this.#body.firstChild : previous.nextSibling;
      if (line.element !== place) this.#body.insertBefore(line.element, place);
      previous = line.element;
    }
    for (const [key, { element }] of this.#rows) {
      if (!known.has(key)) element.remove();
    }
    this.#rows = known;
    setText(this.#empty, whyNone);
    this.#table.hidden = rows.length === 0;
    this.#empty.hidden = rows.length > 0;
    if (this.#body.contains(focused)) focused.focus({ preventScroll: true }); // its row has moved
  }

  #line() {
    const cells = this.#columns.map((column) =>
      make(column.rowHeader ? "th" : "td", { class: classes(column), scope: column.rowHeader ? "row" : null }),
    );
    return { element: make("tr", {}, ...cells), cells };
  }

  #head(column, onsort) {
    const head = make("th", { class: classes(column), scope: "col" });
    if (column.sort && onsort) {
      head.append(make("button", { type: "button", class: "sort", onclick: () => onsort(column.sort) }, column.title));
      this.#headers.set(column.sort, head);
    } else {
      head.append(column.isAction ? make("span", { class: "unseen" }, column.title) : column.title);
    }
    return head;
  }
}

function classes({ isNumber, isMinor }) {
  return [isNumber ? "number" : "", isMinor ? "minor" : ""].join(" ").trim() || null;
}

/**
 * Fills tables, each by itself: `parts` are `[answer, table, rows]`, a promise, a table, and what makes rows of the answer. What
 * the server does not have is told in the table's place; any other failure is thrown.
 */
export async function loadAll(parts) {
  const outcomes = await Promise.allSettled(parts.map(([answer]) => answer));
  outcomes.forEach(({ status, value, reason }, at) => {
    const [, table, rows] = parts[at];
    if (status === "fulfilled") table.show(rows(value));
    else if (reason.status === 404 || reason.status === 501) table.show([], reason.message);
    else throw reason;
  });
}

/** A column of text. */
export function text(title, value, more = {}) {
  return { title, show: (cell, row) => setText(cell, value(row)), ...more };
}

/** A column of figures. */
export function figure(title, value, more = {}) {
  return text(title, value, { isNumber: true, ...more });
}
