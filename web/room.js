// One channel on the page: its session, what was said, and its place in the list of channels.

import { Feed } from "./feed.js";
import { Log } from "./log.js";
import { Session } from "./session.js";
import { invitation } from "./invitation.js";
import { timeElement } from "./text.js";

/** What the list says about states other than joined. */
const STATES = { joining: "joining", waiting: "not connected", refused: "not joined" };

/** A channel that the reader is in. */
export class Room {
  channel;
  log;
  /** Its element in the list of channels. */
  item;
  unread = 0;
  /** What has been typed and not been sent. */
  draft = "";
  #link;
  #badge;
  #condition;
  #session = null;
  #feed;
  #joinedBefore = false;
  #uid;
  #changed;

  /**
   * `changed(room, what)` is called when its `state`, `unread` or `newer` is another; `leave()` when the reader
   * wants to leave it while it is shown.
   */
  constructor(channel, changed, leave) {
    this.channel = channel;
    this.#changed = changed;
    this.log = new Log(invitation(channel), channel, () => changed(this, "newer"));
    this.#feed = new Feed(
      (entries, isHistory) => this.#show(entries, isHistory),
      () => this.#settled(),
    );
    this.#makeItem(leave);
  }

  get state() {
    return this.#session.state;
  }

  get href() {
    return `#${encodeURIComponent(this.channel)}`;
  }

  /** Joins, or joins again as someone else. `address` is the URL of the server. */
  join(address, { uid, key }) {
    this.#session?.stop();
    this.#uid = uid;
    this.#session = new Session(address, { uid, channel: this.channel, key }, {
      begin: (took) => {
        this.log.busy = true;
        this.#feed.begin(uid, took);
      },
      end: () => this.#feed.end(),
      message: (entry) => this.#feed.take(entry),
      state: (state) => this.#stateChanged(state),
    });
    this.#session.start();
  }

  retry() {
    this.#session.start();
  }

  hurry() {
    this.#session.hurry();
  }

  interrupt() {
    this.#session.interrupt();
  }

  leave() {
    this.#session.stop();
    this.item.remove();
    this.log.element.remove();
  }

  /** Publishes `text` and shows it: a server does not send it back. Throws an Error. */
  send(text) {
    const message = new TextEncoder().encode(text);
    this.#session.send(message);
    this.#feed.sent({ uid: this.#uid, message, own: true });
    this.log.toEnd();
  }

  /** Marks it in the list as the one that is shown, or not. */
  setCurrent(current) {
    this.log.element.hidden = !current;
    if (current) {
      this.#link.setAttribute("aria-current", "page");
      this.#link.scrollIntoView({ block: "nearest", inline: "nearest" });
      this.log.shown();
      this.read();
    } else {
      this.#link.removeAttribute("aria-current");
    }
  }

  /** Everything in it has been seen. */
  read() {
    this.#count(-this.unread);
  }

  #show(entries, isHistory) {
    const at = isHistory ? null : new Date();
    if (isHistory && entries.some(({ message }) => message.length > 0)) {
      // A server does not say when they were sent.
      this.log.note(this.#joinedBefore ? "While you were away" : "Before you joined");
    }
    for (const entry of entries) {
      // Anyone can have this name. What is said in it now, and not here, is someone else's.
      const own = entry.own ?? (isHistory && entry.uid === this.#uid);
      this.log.add({ ...entry, own }, at);
    }
    const news = entries.filter((entry) => entry.message.length > 0 && !entry.own);
    // What was there before one came is no news; what was missed is.
    if (!isHistory || this.#joinedBefore) {
      this.#count(news.length);
    }
  }

  #settled() {
    const words = this.#joinedBefore ? "Back at " : "You joined at ";
    this.#joinedBefore = true;
    this.log.note(words, timeElement(new Date()));
    this.log.settled();
  }

  #stateChanged(state) {
    const broke = this.#link.dataset.state === "joined" && state.name !== "joined";
    if (broke && state.reason) {
      // It may be the answer to what was said last.
      this.log.note("Disconnected at ", timeElement(new Date()), ": ", state.reason);
    }
    this.#link.dataset.state = state.name;
    this.#condition.textContent = STATES[state.name] ? `, ${STATES[state.name]}` : "";
    this.#changed(this, "state");
  }

  #count(more) {
    if (more !== 0) {
      this.unread += more;
      this.#badge.hidden = this.unread === 0;
      this.#badge.firstChild.textContent = this.unread > 99 ? "99+" : String(this.unread);
      this.#changed(this, "unread");
    }
  }

  #makeItem(leave) {
    const span = (className, text = "") => {
      const element = document.createElement("span");
      element.className = className;
      element.textContent = text;
      return element;
    };
    const name = document.createElement("bdi");
    name.textContent = this.channel;
    this.#badge = span("badge");
    this.#badge.append(span("number"), span("unseen", " unread"));
    this.#badge.hidden = true;
    this.#condition = span("unseen");
    this.#link = document.createElement("a");
    this.#link.href = this.href;
    this.#link.append(span("dot"), name, this.#condition, this.#badge);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "close";
    button.setAttribute("aria-label", `Leave ${this.channel}`);
    button.textContent = "×";
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      leave();
    });
    this.item = document.createElement("li");
    this.item.append(this.#link, button);
  }
}

/** What a state is, in a few words. `now` is in milliseconds. */
export function describe(state, now) {
  if (state.name === "waiting") {
    const seconds = Math.max(0, Math.ceil((state.until - now) / 1000));
    return `Reconnecting in ${seconds} s`;
  }
  return { joining: "Joining…", joined: "Joined", refused: "Not joined" }[state.name];
}
