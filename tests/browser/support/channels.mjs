// Channels of web/mles.js in Node, and what they tell.

import { WebSocket } from "ws";
import { Channel, join } from "../../../web/mles.js";

/** Reads the events of a channel, and waits for some. */
export class Reader {
  /** Those that have come, in order. */
  events = [];
  /** What the loop over the events has thrown. */
  error = null;
  isOver = false;

  constructor(channel) {
    this.channel = channel;
    this.#read();
  }

  async #read() {
    try {
      for await (const event of this.channel) this.events.push(event);
    } catch (error) {
      this.error = error;
    }
    this.isOver = true;
  }

  all(type) {
    return this.events.filter((event) => event.type === type);
  }

  /** The messages that have come, as `uid: text`. */
  get messages() {
    return this.all("message").map(({ uid, text }) => `${uid}: ${text}`);
  }

  /** Waits until `condition(this)` holds, and returns what it returned. */
  async until(condition, within = 20_000) {
    const deadline = Date.now() + within;
    for (;;) {
      const found = condition(this);
      if (found) return found;
      if (Date.now() > deadline) {
        throw new Error(`not within ${within} ms: ${condition}, but ${JSON.stringify(this.events.slice(-20))}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Waits for so many events of a type, and returns the last of them. */
  async nth(type, count) {
    return this.until(() => this.all(type)[count - 1]);
  }
}

/** The options of a member of a channel at `address` (`host:port`). */
const optionsOf = (address, options) => ({ url: `ws://${address}`, channel: "room", uid: "alice", WebSocket, ...options });

/** Joins, and leaves when the test is over. */
export async function member(t, address, options) {
  const channel = await join(optionsOf(address, options));
  t.after(() => channel.close());
  return channel;
}

/** Begins to join, and leaves when the test is over. */
export function joining(t, address, options) {
  const channel = new Channel(optionsOf(address, options));
  t.after(() => channel.close());
  return channel;
}
