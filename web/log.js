// The messages of one channel on the page. Whatever came from outside becomes text nodes.

import { linked } from "./links.js";
import { count, fold, hexDump, hueOf, nameOf, textOf, timeElement } from "./text.js";

/** How many messages of a channel are kept. */
const KEPT = 1_000;
/** How many bytes of messages are kept, if that is less: long ones are large in the page. */
const KEPT_BYTES = 8 << 20;
const BATCH = 30; // milliseconds for which rows are collected before the page changes
const NEAR_END = 48; // pixels from the end within which it follows what comes
const GROUP = 5 * 60_000; // milliseconds within which messages of one sender stand together
const NAMED = 4; // names in one line of those who have joined

/** A new element with a class and content: strings and nodes. */
function make(tag, className, ...content) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...content);
  return element;
}

/** A scrolling list of messages and notes. `element` is to be put into the page. */
export class Log {
  element;
  #pending = [];
  #timer = null;
  #rows = [];
  #bytes = 0;
  #last = null;
  #arrivals = null;
  #follows = true;
  #newer = 0;
  #changed;
  #older;
  #empty;
  #hasMessages = false;

  /** `empty` is an element to show in place of messages, see `settled`; `changed()` is called when `newer` changes. */
  constructor(empty, channel, changed) {
    this.#changed = changed;
    this.element = make("div", "log");
    this.element.setAttribute("role", "log");
    this.element.tabIndex = 0;
    this.element.hidden = true;
    this.element.setAttribute("aria-label", `Messages in ${channel}`);
    this.#older = make("p", "note older", "Older messages are no longer shown.");
    this.#older.hidden = true;
    this.#empty = empty;
    empty.hidden = true;
    this.element.append(this.#older, empty);
    this.element.addEventListener("scroll", () => this.#scrolled());
    // A banner or a keyboard that takes room away must not cover the last message.
    new ResizeObserver(() => this.#follows && this.toEnd()).observe(this.element);
  }

  /** How many messages have come below what can be seen. */
  get newer() {
    return this.#newer;
  }

  /** While a history comes, nothing is read out. */
  set busy(busy) {
    this.element.setAttribute("aria-busy", String(busy));
  }

  /**
   * Shows `{ uid, message, own }`; without `at` it is not known when it was sent. With `sent`, a promise, it is pale until
   * that is settled, and says why if it is rejected.
   */
  add(entry, at, sent = null) {
    this.#queue({ entry, at, sent });
  }

  /** Shows a line between the messages. */
  note(...content) {
    this.#queue({ note: content });
  }

  /** A history is over: without a message there is an invitation to write one. */
  settled() {
    this.#flush();
    this.#empty.hidden = this.#hasMessages;
    this.busy = false;
  }

  /** Goes to the last message and stays with it. */
  toEnd() {
    this.#follows = true;
    this.element.scrollTop = this.element.scrollHeight;
    this.#setNewer(0);
  }

  /** It has become visible. */
  shown() {
    this.#flush();
    if (this.#follows) {
      this.toEnd();
    }
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    // A hidden element has no height and says nothing about where the reader is.
    if (clientHeight > 0) {
      this.#follows = scrollHeight - scrollTop - clientHeight < NEAR_END;
      if (this.#follows) {
        this.#setNewer(0);
      }
    }
  }

  #setNewer(newer) {
    if (newer !== this.#newer) {
      this.#newer = newer;
      this.#changed();
    }
  }

  /** One change of the page for many messages: a busy channel brings thousands each second. */
  #queue(item) {
    this.#pending.push(item);
    if (this.#pending.length > 2 * KEPT) {
      this.#pending.splice(0, KEPT);
      this.#older.hidden = false;
    }
    this.#timer ??= setTimeout(() => this.#flush(), BATCH);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const items = this.#pending;
    this.#pending = [];
    let added = 0;
    const rows = document.createDocumentFragment();
    for (const item of items) {
      const row = this.#row(item);
      if (row !== null) {
        const bytes = item.entry?.message.length ?? 0;
        this.#rows.push({ row, bytes });
        this.#bytes += bytes;
        added += bytes > 0 ? 1 : 0; // notes are no messages
        rows.append(row);
      }
    }
    this.#hasMessages ||= added > 0;
    this.#empty.hidden ||= this.#hasMessages;
    this.element.append(rows);
    this.#trim();
    if (this.#follows) {
      this.element.scrollTop = this.element.scrollHeight;
    } else {
      this.#setNewer(this.#newer + added);
    }
  }

  #trim() {
    let excess = Math.max(0, this.#rows.length - KEPT);
    let bytes = this.#bytes;
    for (let at = 0; at < this.#rows.length - 1 && (at < excess || bytes > KEPT_BYTES); at += 1) {
      bytes -= this.#rows[at].bytes;
      excess = Math.max(excess, at + 1);
    }
    for (const { row } of this.#rows.splice(0, excess)) {
      row.remove();
    }
    this.#bytes = bytes;
    if (excess > 0) {
      this.#older.hidden = false;
    }
  }

  /** The element for an item; null if an earlier one takes it in. */
  #row({ entry, at, sent, note }) {
    if (note) {
      this.#last = null;
      this.#arrivals = null;
      return make("p", "note", ...note);
    }
    if (entry.message.length === 0) {
      this.#last = null;
      return this.#arrival(entry.uid);
    }
    this.#arrivals = null;
    const last = this.#last;
    const together =
      last?.entry.uid === entry.uid &&
      last.entry.own === entry.own &&
      Boolean(last.at) === Boolean(at) &&
      (!at || at - last.at < GROUP);
    this.#last = { entry, at };
    const row = messageRow(entry, at, together);
    if (sent) this.#followUp(row, sent);
    return row;
  }

  /** Shows what becomes of a message of one's own. */
  async #followUp(row, sent) {
    row.classList.add("unconfirmed");
    try {
      await sent;
    } catch (error) {
      row.querySelector(".bubble").append(make("p", "failed", explain(error)));
      if (this.#follows) this.toEnd();
    }
    row.classList.remove("unconfirmed");
  }

  /** An empty message tells that someone has joined; several in a row share a line. */
  #arrival(uid) {
    if (this.#arrivals !== null) {
      this.#arrivals.add(uid);
      return null;
    }
    const names = make("span", "names");
    const uids = new Set();
    this.#arrivals = {
      add(name) {
        uids.add(name);
        const first = [...uids].slice(0, NAMED).flatMap((text, at) => {
          const bdi = make("bdi", "", nameOf(text));
          return at === 0 ? [bdi] : [", ", bdi];
        });
        const more = uids.size > NAMED ? [` and ${uids.size - NAMED} more`] : [];
        names.replaceChildren(...first, ...more);
      },
    };
    this.#arrivals.add(uid);
    return make("p", "note arrival", names, " joined");
  }
}

/** Why a message may not be with the others, for who has written it. */
function explain({ code, message }) {
  const isOpen = code === "unconfirmed" || code === "closed" || code === "refused";
  return isOpen ? "It is not known whether the others got this." : `Not delivered. ${message}`;
}

function messageRow({ uid, message, own }, at, together) {
  const name = nameOf(uid);
  const avatar = make("span", "avatar", Array.from(name)[0].toUpperCase());
  avatar.setAttribute("aria-hidden", "true");
  const from = make("span", "from", make("bdi", "", own ? "You" : name));
  const time = at ? [timeElement(at)] : [];
  const bubble = make("div", "bubble", from, contentOf(message), ...time);
  const row = make("div", `message${own ? " own" : ""}${together ? " together" : ""}`, avatar, bubble);
  row.style.setProperty("--hue", hueOf(uid));
  return row;
}

/** What a message says, or what it is. */
function contentOf(message) {
  const text = textOf(message);
  if (text === null) {
    const size = make("p", "size", `binary, ${count(message.length, "byte")}`);
    return make("div", "binary", size, make("pre", "hex", hexDump(message)));
  }
  const content = make("div", "text");
  content.dir = "auto";
  const start = fold(text);
  const show = (words) => content.replaceChildren(...linked(words));
  if (start === null) {
    show(text);
    return content;
  }
  show(start);
  const button = make("button", "fold", "");
  button.type = "button";
  const label = (open) => {
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Show less" : `Show all ${count(text.length, "character")}`;
  };
  label(false);
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    show(open ? text : start);
    label(open);
  });
  return make("div", "long", content, button);
}
