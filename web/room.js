// One channel on the page: its session, what was said, and its place in the list of channels.

import { Log } from "./log.js";
import { Channel } from "./mles.js";
import { invitation } from "./invitation.js";
import { count, timeElement } from "./text.js";

/** What the list says about states other than joined. */
const STATES = { joining: "joining", waiting: "not connected", refused: "not joined" };
/** How many of those who are there are named. */
const NAMED = 100;
const WRONG_KEY = 4401;

/** A channel that the reader is in. */
export class Room {
  channel;
  log;
  /** Its element in the list of channels. */
  item;
  unread = 0;
  /** What has been typed and not been sent. */
  draft = "";
  /** `name` is joining, joined, waiting or refused, and `until` is when the next attempt is made. */
  state = { name: "joining" };
  #link;
  #badge;
  #condition;
  #address;
  #identity;
  /** Its member of the channel, by the module that is there for everyone. */
  #member = null;
  #position = null;
  #joinedBefore = false;
  /** Whether a replay has a line before it. */
  #isReplayNoted = false;
  #changed;

  /**
   * `changed(room, what)` is called when its `state`, `members`, `unread` or `newer` is another; `leave()` when the
   * reader wants to leave it while it is shown.
   */
  constructor(channel, changed, leave) {
    this.channel = channel;
    this.#changed = changed;
    this.log = new Log(invitation(channel), channel, () => changed(this, "newer"));
    this.#makeItem(leave);
  }

  get href() {
    return `#${encodeURIComponent(this.channel)}`;
  }

  /** Who is there, as the module has it; null if it is not known. */
  get members() {
    return this.#member.members;
  }

  /** Joins, or joins again as someone else. `address` is the URL of the server. */
  join(address, identity) {
    this.#address = address;
    this.#identity = identity;
    this.#start();
  }

  /** Tries again, whatever was planned. */
  retry() {
    if (this.state.name === "refused") {
      this.#start();
    } else {
      this.hurry();
    }
  }

  hurry() {
    this.#member.reconnect();
  }

  leave() {
    this.#member.close();
    this.item.remove();
    this.log.element.remove();
  }

  /** Publishes `text` and shows it: a server does not send it back. Throws an Error. */
  send(text) {
    if (this.state.name !== "joined") {
      throw new Error("Not connected. Your message stays here until you are back.");
    }
    const message = new TextEncoder().encode(text);
    const sent = this.#member.publish(message);
    this.log.add({ uid: this.#identity.uid, message, own: true }, new Date(), sent);
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

  #start() {
    this.#position = this.#member?.position ?? this.#position;
    this.#member?.close();
    const { uid, key } = this.#identity;
    const { channel } = this;
    this.#member = new Channel({ url: this.#address, channel, uid, key, since: this.#position, members: NAMED });
    this.#follow(this.#member);
  }

  async #follow(member) {
    try {
      for await (const event of member) {
        if (member !== this.#member) return;
        this.#take(event);
      }
    } catch ({ message, closeCode }) {
      if (member === this.#member) {
        this.#setState({ name: "refused", reason: message, needsKey: closeCode === WRONG_KEY });
      }
    }
  }

  #take(event) {
    switch (event.type) {
      case "connecting":
        // Why the connection before is gone stays true until this one is there.
        this.#setState({ name: "joining", reason: this.state.reason });
        break;
      case "disconnected":
        this.#setState({ name: "waiting", reason: event.reason, until: event.retryAt });
        break;
      case "joined":
        this.#joined(event);
        break;
      case "message":
        this.#show(event);
        break;
      case "presence":
        this.log.add({ uid: event.uid, message: new Uint8Array() }, new Date());
        break;
      case "gap":
        this.#noteMissing(event.missed, "this browser was too slow");
        break;
      case "live":
        this.#settled();
        break;
      case "members":
        this.#changed(this, "members");
        break;
    }
  }

  #joined({ replay, recovered, missed }) {
    this.log.busy = true;
    this.#isReplayNoted = false;
    this.#setState({ name: "joined" });
    if (recovered === false) {
      this.#noteMissing(missed, "the server no longer has them");
    }
    if (replay === null) {
      this.#settled(); // where a history ends is not known
    }
  }

  /** One line that says how many messages are gone. */
  #noteMissing(missed, why) {
    const what = missed === null ? "Messages may be missing here" : `${count(missed, "message")} missing here`;
    this.log.note(`${what}: ${why}.`);
  }

  #show({ uid, data: message, replayed, own: isShown }) {
    if (isShown) {
      return; // since it was sent; its receipt was lost
    }
    // A server does not say when they were sent.
    const at = replayed ? null : new Date();
    if (replayed && !this.#isReplayNoted) {
      this.#isReplayNoted = true;
      this.log.note(this.#joinedBefore ? "While you were away" : "Before you joined");
    }
    // Anyone can have this name. What is said in it now, and not here, is someone else's.
    this.log.add({ uid, message, own: Boolean(replayed) && uid === this.#identity.uid }, at);
    // What was there before one came is no news; what was missed is.
    if (!replayed || this.#joinedBefore) {
      this.#count(1);
    }
  }

  #settled() {
    const words = this.#joinedBefore ? "Back at " : "You joined at ";
    this.#joinedBefore = true;
    this.log.note(words, timeElement(new Date()));
    this.log.settled();
  }

  #setState(state) {
    const broke = this.state.name === "joined" && state.name !== "joined";
    if (broke && state.reason) {
      // It may be the answer to what was said last.
      this.log.note("Disconnected at ", timeElement(new Date()), ": ", state.reason);
    }
    this.state = state;
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
